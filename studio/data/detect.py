"""A guess at what shape a file's examples have and which column plays which part, made on its first rows."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from studio.core.mapping import Mapping, Shape
from studio.data import names
from studio.data.names import key
from studio.data.readers.table import Table
from studio.data.turns import is_turns

_SURE, _LIKELY, _VAGUE = 0.95, 0.75, 0.5
_LABEL_CHARS = 60
_FEW_LABELS = 20
_TEXT_CHARS = 60


@dataclass(frozen=True, slots=True)
class Guess:
    """`confidence` from 0 to 1; `reason` is a sentence for the person who can change it."""

    mapping: Mapping
    confidence: float
    reason: str

    @property
    def words(self) -> str:
        if not self.mapping.complete:
            return "Not sure"
        return "Sure" if self.confidence >= _SURE else "Quite sure" if self.confidence >= _LIKELY else "Not sure"


def guess(table: Table, wanted: Mapping | None = None) -> Guess:
    """The likeliest mapping; a part that no column seems to play stays empty.

    If `wanted` names a shape already, only columns that it lacks are guessed; all it says is kept.
    """
    wanted = wanted or Mapping(shape="")
    if wanted.shape:
        found = _GUESSERS[wanted.shape](table) or Guess(_as_far_as_told(table, wanted.shape), 0.0, "")
    else:
        found = next((f for g in _IN_ORDER if (f := g(table))), None) or _columns_in_part(table)
    kept = {name: value for name, value in wanted.model_dump(exclude_defaults=True).items() if name != "shape"}
    mapping = Mapping.model_validate(found.mapping.model_dump() | kept | {"reading": wanted.reading})
    return Guess(mapping, found.confidence, found.reason)


def _preference(table: Table) -> Guess | None:
    chosen = _named(table.columns, names.CHOSEN, whole=True)
    rejected = _named(table.columns, names.REJECTED, whole=True)
    if not chosen or not rejected:
        return None
    rest = [c for c in table.columns if c not in (chosen, rejected) and (_is_text(table, c) or _is_turns(table, c))]
    question = _named(rest, names.QUESTION, whole=True)
    tools = _named(table.columns, names.TOOLS, whole=True)
    system = _named(rest, names.SYSTEM, whole=True)
    mapping = Mapping(
        shape="preference", question=question, answer=chosen, rejected=rejected, tools=tools, system=system
    )
    if not question and not any(is_turns(value) for value in table.values(chosen)):
        return Guess(mapping, _VAGUE, f"“{chosen}” and “{rejected}” are named like a better and a worse answer.")
    kind = {"preferred_output": ", as in OpenAI's files", "chosen": ", as in TRL's and Anthropic's files"}
    reason = f"“{chosen}” and “{rejected}” hold a better and a worse answer{kind.get(key(chosen), '')}."
    return Guess(mapping, _SURE, reason)


def _verdict(table: Table) -> Guess | None:
    for column in _candidates(table.columns, names.VERDICT):
        said = {str(value).strip().lower() for value in table.values(column)}
        if not said or not said <= {"true", "false", "0", "1", "good", "bad", "👍", "👎", "thumbs_up", "thumbs_down"}:
            continue
        found = _columns(_without(table, column))
        if found and found.confidence >= _LIKELY:
            mapping = found.mapping.model_copy(update={"shape": "verdict", "verdict": column})
            return Guess(mapping, found.confidence, f"“{column}” says of each answer whether it is a good one.")
    return None


def _messages(table: Table) -> Guess | None:
    named = _candidates(table.columns, names.MESSAGES)
    others = [c for c in table.columns if c not in named and _is_turns(table, c)]
    for column in [*named, *(others if len(others) == 1 else [])]:  # several are a prompt and its completion
        values = table.values(column)
        turns = [value for value in values if is_turns(value) or (column in named and _takes_turns(value))]
        if len(turns) * 2 <= len(values):
            continue
        tools = _named([c for c in table.columns if c != column], names.TOOLS, whole=True)
        system = _named([c for c in table.columns if c != column], names.SYSTEM, whole=True)
        mapping = Mapping(shape="messages", messages=column, tools=tools, system=system)
        return Guess(
            mapping, _LIKELY if _takes_turns(turns[0]) else _SURE, f"“{column}” holds {_kind_of_turns(turns)}."
        )
    return None


def _columns(table: Table) -> Guess | None:
    answers = _candidates(table.columns, names.ANSWER)  # under such a name numbers are answers too
    texts = [c for c in table.columns if _is_text(table, c) or _is_turns(table, c) or c in answers]
    if "instruction" in texts and "output" in texts:
        context = "input" if "input" in table.columns else ""
        system = _named(texts, names.SYSTEM, whole=True)
        mapping = Mapping(question="instruction", answer="output", context=context, system=system)
        return Guess(mapping, _SURE, "“instruction” and “output” are the columns of Alpaca's files.")
    answer = _named(texts, names.ANSWER)
    question = _named([c for c in texts if c != answer], names.QUESTION)
    system = _named([c for c in texts if c not in (question, answer)], names.SYSTEM)
    if question and answer:
        exact = key(question) in names.QUESTION and key(answer) in names.ANSWER
        return Guess(
            Mapping(question=question, answer=answer, system=system),
            _SURE if exact else _LIKELY + 0.1,
            f"“{question}” is named like a question and “{answer}” like an answer.",
        )
    left = [c for c in texts if c not in (question, answer, system) and table.values(c)]
    if question and len(left) == 1:
        mapping, by = Mapping(question=question, answer=left[0], system=system), question
    elif answer and len(left) == 1:
        mapping, by = Mapping(question=left[0], answer=answer, system=system), answer
    elif len(left) == 2 and not question and not answer:
        # two columns of text without telling names: in the order in which people write
        reason = "There are two columns of text; the first is taken for the question."
        return Guess(Mapping(question=left[0], answer=left[1], system=system), _VAGUE, reason)
    else:
        return None
    return Guess(mapping, _LIKELY, f"“{by}” tells its part by its name, and one other column holds text.")


def _labels(table: Table) -> Guess | None:
    named = [c for c in _candidates(table.columns, names.LABEL) if _are_labels(table, c)]
    answers = {key(name) for name in names.ANSWER}
    if any(key(c) in answers for c in table.columns if c not in named and _is_text(table, c)):
        return None  # a column of answers beside it: the label is an extra
    others = [c for c in table.columns if _is_text(table, c)]
    if not named and len(others) == 2 and not any(key(c) in names.ALL for c in others):
        named = [c for c in others if _are_labels(table, c) and len(set(map(str, table.values(c)))) <= _FEW_LABELS]
        if len(named) != 1 or len(table.values(named[0])) < 10:
            return None
    if not named:
        return None
    label = named[0]
    texts = [c for c in others if c != label]
    text = _named(texts, (*names.TEXT, *names.QUESTION)) or (texts[0] if len(texts) == 1 else "")
    if not text:
        return None
    different = len({str(value) for value in table.values(label)})
    sure = _SURE if _candidates([label], names.LABEL) else _VAGUE
    mapping = Mapping(shape="labels", question=text, answer=label)
    return Guess(mapping, sure, f"“{label}” holds {different} different short labels in the first rows.")


def _text(table: Table) -> Guess | None:
    texts = [c for c in table.columns if _is_text(table, c) and table.values(c)]
    if len(texts) != 1 or (key(texts[0]) in names.QUESTION and key(texts[0]) not in names.TEXT):
        return None
    sure = _SURE if key(texts[0]) in names.TEXT else _VAGUE
    values = table.values(texts[0])
    if sure == _VAGUE and sum(len(str(value)) for value in values) < _TEXT_CHARS * len(values):
        return None  # names of things, rather than something to read
    return Guess(Mapping(shape="text", text=texts[0]), sure, f"“{texts[0]}” is the only column with text.")


def _columns_in_part(table: Table) -> Guess:
    """Whichever of question and answer can be told; the other is asked for."""
    texts = [column for column in table.columns if _is_text(table, column)]
    answer = _named(texts, names.ANSWER)
    question = _named([c for c in texts if c != answer], names.QUESTION)
    return Guess(Mapping(question=question, answer=answer), 0.0, "The names of the columns do not tell their parts.")


def _as_far_as_told(table: Table, shape: Shape) -> Mapping:
    """A shape that somebody chose although the columns do not look like it: what can be told of its parts."""
    texts = [column for column in table.columns if _is_text(table, column)]
    if shape == "text":
        return Mapping(shape="text", text=_named(texts, names.TEXT) or next(iter(texts), ""))
    if shape in {"messages", "preference"}:
        return Mapping(shape=shape)
    found = (_columns(table) or _columns_in_part(table)).mapping
    return found.model_copy(update={"shape": shape})


_GUESSERS: dict[Shape, Callable[[Table], Guess | None]] = {
    "columns": _columns, "messages": _messages, "labels": _labels, "preference": _preference, "verdict": _verdict,
    "text": _text,
}  # fmt: skip
_IN_ORDER = (_preference, _verdict, _messages, _labels, _columns, _text)


def _candidates(columns: Iterable[str], known: Sequence[str]) -> list[str]:
    """The columns with one of the names, the likeliest first."""
    return sorted((c for c in columns if key(c) in known), key=lambda c: known.index(key(c)))


def _named(columns: Sequence[str], known: Sequence[str], whole: bool = False) -> str:
    """The column with the likeliest name: a whole match before one in which the name is a word."""
    if found := _candidates(columns, known):
        return found[0]
    if whole:
        return ""
    for name in known:
        for column in columns:
            words = re.split(r"[_\W]+", key(column))
            if (len(name) > 2 and name in words) or (not name.isascii() and name in key(column)):
                return column
    return ""


def _is_text(table: Table, column: str) -> bool:
    """Most values are text with a letter in them, not numbers, dates or ids. An empty column may become text yet."""
    values = table.values(column)
    wordy = [v for v in values if isinstance(v, str) and any(c.isalpha() for c in v) and not is_turns(v)]
    return not values or len(wordy) * 2 > len(values)


def _is_turns(table: Table, column: str) -> bool:
    """Most values are conversations."""
    values = table.values(column)
    return sum(is_turns(value) for value in values) * 2 > len(values)


def _are_labels(table: Table, column: str) -> bool:
    """Short values, some of which come more than once."""
    values = [v.strip() if isinstance(v, str) else v for v in table.values(column)]
    short = all(isinstance(v, (str, int, float)) and len(str(v)) <= _LABEL_CHARS and "\n" not in str(v) for v in values)
    return bool(values) and short and (len(set(values)) < len(values) or len(values) < _FEW_LABELS)


def _without(table: Table, column: str) -> Table:
    """The same table as if that column were not there."""
    other = Table([c for c in table.columns if c != column], table.read)
    other.head = table.head
    return other


def _takes_turns(value: Any) -> bool:
    """Texts without a speaker, as chatterbot's files have them."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(turn, str) for turn in value)


def _kind_of_turns(turns: list[Any]) -> str:
    first = turns[0]
    if isinstance(first, str):
        return "conversations written as text"
    if isinstance(first, list) and isinstance(first[0], dict):
        if "from" in first[0]:
            return "lists of “from” and “value”, as ShareGPT's files do"
        return "lists of “role” and “content”, as OpenAI's files do"
    return "lists of texts that take turns"
