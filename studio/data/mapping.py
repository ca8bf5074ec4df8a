"""Rows of a file turned into conversations by a mapping."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from studio.core.conversation import Conversation, Message
from studio.core.mapping import Mapping, Shape
from studio.data.readers.documents import PIECE_CHARS, pieces
from studio.data.readers.table import Broken, Row, Table, Tick, no_tick
from studio.data.turns import Unusable, check_order, is_spoken, is_turns, split_answer, text_of, tools_of, turns_of

MOST_LABELS = 100
ROWS_KEPT = 1000
_BLANKS = frozenset({"null", "<noinput>", "none", "n/a"})
_GOOD = frozenset({"true", "1", "1.0", "yes", "good", "up", "thumbs_up", "thumbs up", "👍", "like", "desirable", "+1"})
_BAD = frozenset({"false", "0", "0.0", "no", "bad", "down", "thumbs_down", "thumbs down", "👎", "dislike",
                  "undesirable", "-1"})  # fmt: skip
_PLACE = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Skipped:
    """Rows that share a reason. `rows` are the first of them, numbered as in the user's own file."""

    reason: str
    count: int
    rows: list[int]
    file: str = ""

    @property
    def words(self) -> str:
        shown = ", ".join(str(row) for row in self.rows[:5]) + (" …" if self.count > 5 else "")
        where = f" of {self.file}" if self.file else ""
        return f"{'Row' if self.count == 1 else 'Rows'} {shown}{where}: {self.reason}"


@dataclass(slots=True)
class _Rows:
    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, row: int) -> None:
        self.count += 1
        if len(self.first) < ROWS_KEPT:
            self.first.append(row)


@dataclass(slots=True)
class Tally:
    """What happened to a file's rows: those left out, and those used but not as they stood there."""

    rows: int = 0
    unquoted: list[Broken] = field(default_factory=list)  # the first lines that a repair might mend
    mendable: int = 0
    _skipped: dict[tuple[str, str], _Rows] = field(default_factory=dict)
    _changed: dict[tuple[str, str], _Rows] = field(default_factory=dict)

    def skip(self, reason: str, row: Row | Broken) -> None:
        self._skipped.setdefault((row.file, reason), _Rows()).add(row.number)

    def change(self, what: str, row: Row) -> None:
        self._changed.setdefault((row.file, what), _Rows()).add(row.number)

    def broken(self, row: Broken) -> None:
        self.skip(row.reason, row)
        if row.raw:
            self.mendable += 1
            if len(self.unquoted) < 3:
                self.unquoted.append(row)

    @property
    def skipped(self) -> list[Skipped]:
        return _told(self._skipped)

    @property
    def changed(self) -> list[Skipped]:
        return _told(self._changed)


def convert(
    table: Table, mapping: Mapping, max_cell_chars: int, tally: Tally, tick: Tick = no_tick
) -> Iterator[Conversation]:
    """The table's rows as conversations, one at a time; what had to be left out is in `tally` when they are through."""
    one = _SHAPES[mapping.shape]
    for row in table.read(tick):
        tally.rows += 1
        if isinstance(row, Broken):
            tally.broken(row)
            continue
        try:
            made = one(row, mapping, tally)
            for message in (*made.messages, *made.rejected) if made.rejected else made.messages:
                if len(message.content) > max_cell_chars:
                    raise Unusable(f"has a text longer than {max_cell_chars:,} characters")
        except Unusable as why:
            tally.skip(str(why), row)
            continue
        if len(made.text) <= PIECE_CHARS:
            yield made
        else:
            paragraphs = ((row.number, part) for part in made.text.split("\n\n") if part.strip())
            for piece in pieces(paragraphs):
                yield replace(made, text=piece.values["text"], piece=piece.piece, goes_on=piece.goes_on)


def labels_in(table: Table, column: str) -> tuple[str, ...]:
    """Every label of a column, the most frequent first; at most one more than can be listed."""
    counts: dict[str, int] = {}
    for row in table.read(no_tick):
        if isinstance(row, Row) and isinstance(value := row.values.get(column), (str, int, float)):
            label = str(value).strip()
            if label and (label in counts or len(counts) <= MOST_LABELS):
                counts[label] = counts.get(label, 0) + 1
    return tuple(sorted(counts, key=lambda label: -counts[label]))


def places_in(template: str) -> list[str]:
    """The columns that a template names."""
    return [name.strip() for name in _PLACE.findall(template)]


def _from_columns(row: Row, mapping: Mapping, tally: Tally) -> Conversation:
    asked = _part(row, mapping.question, mapping.question_template, tally)
    answered = _part(row, mapping.answer, mapping.answer_template, tally)
    if not asked and not answered:
        raise Unusable("is blank")
    if not answered:
        raise Unusable("has a question but no answer")
    if not asked:
        raise Unusable("has an answer but no question")
    if isinstance(asked, str) and isinstance(answered, str):
        if mapping.context:
            asked = _with_context(asked, row, mapping)
        said = Message("user", asked), Message("assistant", answered)
        if mapping.system or mapping.system_text:
            return Conversation((*_system(row, mapping), *said), row.number, row.file)
        return Conversation(said, row.number, row.file)
    messages = [*_as_turns(asked, "user"), *_as_turns(answered, "assistant")]
    return Conversation(_chat(messages, row, mapping, tally), row.number, row.file, _tools(row, mapping))


def _from_messages(row: Row, mapping: Mapping, tally: Tally) -> Conversation:
    messages = turns_of(row.values.get(mapping.messages))
    return Conversation(_chat(messages, row, mapping, tally), row.number, row.file, _tools(row, mapping))


def _from_labels(row: Row, mapping: Mapping, tally: Tally) -> Conversation:
    made = _from_columns(row, mapping, tally)
    if not 1 < len(mapping.labels) <= MOST_LABELS:
        return made
    listed = f"Answer with one of these labels: {', '.join(mapping.labels)}."
    told = [m.content for m in made.messages if m.role == "system"]
    rest = tuple(m for m in made.messages if m.role != "system")
    return Conversation((Message("system", "\n\n".join([*told, listed])), *rest), made.row, made.file)


def _from_preference(row: Row, mapping: Mapping, tally: Tally) -> Conversation:
    better, worse = row.values.get(mapping.answer), row.values.get(mapping.rejected)
    if not better or not worse:
        raise Unusable("lacks one of the two answers")
    asked = _part(row, mapping.question, mapping.question_template, tally)
    start = _as_turns(_with_context(asked, row, mapping) if isinstance(asked, str) else asked, "user")
    question, chosen = _compared(start, better)
    other_question, rejected = _compared(start, worse)
    if _spoken(question) != _spoken(other_question):
        raise Unusable("compares answers to two different questions")
    if not chosen or not rejected:
        raise Unusable("lacks one of the two answers")
    if _spoken(chosen) == _spoken(rejected):
        raise Unusable("has the same text as the better and the worse answer")
    messages = _chat([*question, *chosen], row, mapping, tally)
    check_order([question[-1], *rejected])
    tools = tools_of(asked.get("tools")) if isinstance(asked := row.values.get(mapping.question), dict) else ()
    return Conversation(messages, row.number, row.file, tools or _tools(row, mapping), tuple(rejected))


def _from_verdict(row: Row, mapping: Mapping, tally: Tally) -> Conversation:
    made = _from_columns(row, mapping, tally)
    said = text_of(row.values.get(mapping.verdict)).lower()
    if said not in _GOOD | _BAD:
        raise Unusable(
            "does not say whether its answer is good" if not said else f"has the unknown verdict “{said[:30]}”"
        )
    return Conversation(made.messages, made.row, made.file, made.tools, verdict=said in _GOOD)


def _from_text(row: Row, mapping: Mapping, tally: Tally) -> Conversation:
    text = text_of(row.values.get(mapping.text))
    if not text:
        raise Unusable("is blank")
    return Conversation((), row.number, row.file, text=text, piece=row.piece, goes_on=row.goes_on)


_SHAPES: dict[Shape, Callable[[Row, Mapping, Tally], Conversation]] = {
    "columns": _from_columns, "messages": _from_messages, "labels": _from_labels, "preference": _from_preference,
    "verdict": _from_verdict, "text": _from_text,
}  # fmt: skip


def _part(row: Row, column: str, template: str, tally: Tally) -> Any:
    """A text, or the list of messages that prompt/completion files may hold."""
    if template:
        values = {place: text_of(row.values.get(place.strip())) for place in _PLACE.findall(template)}
        if values and not any(values.values()):
            return ""
        return _PLACE.sub(lambda found: values[found[1]], template).strip()
    value = row.values.get(column)
    if isinstance(value, str):
        return value if "Human:" in value and is_spoken(value) else text_of(value)
    if isinstance(value, (list, dict)):
        if is_turns(value):
            return value
        tally.change("has a list or an object where a text belongs; it was written as JSON", row)
    return text_of(value)


def _as_turns(value: Any, role: str) -> list[Message]:
    if not value:
        return []
    if is_turns(value):
        return turns_of(value)
    return [Message("user" if role == "user" else "assistant", text_of(value))]


def _compared(start: list[Message], value: Any) -> tuple[list[Message], list[Message]]:
    """(question, answer): an answer that brings its own question, as Anthropic's and TRL's files do, stands alone."""
    turns = _as_turns(value, "assistant")
    if any(m.role == "user" for m in turns):
        return split_answer(turns)
    if not start:
        raise Unusable("has answers but no question")
    return start, turns


def _spoken(messages: list[Message]) -> list[tuple[str, str, Any]]:
    return [(m.role, m.content, m.tool_calls) for m in messages]


def _with_context(question: str, row: Row, mapping: Mapping) -> str:
    context = text_of(row.values.get(mapping.context)) if mapping.context else ""
    return f"{question}\n\n{context}" if context and context.lower() not in _BLANKS else question


def _system(row: Row, mapping: Mapping, own: str = "") -> tuple[Message, ...]:
    """What the row is told at its start: its own text, its column's, or the common one."""
    text = own or (text_of(row.values.get(mapping.system)) if mapping.system else "") or mapping.system_text.strip()
    return (Message("system", text),) if text else ()


def _tools(row: Row, mapping: Mapping) -> tuple[str, ...]:
    return tools_of(row.values.get(mapping.tools)) if mapping.tools else ()


def _chat(messages: list[Message], row: Row, mapping: Mapping, tally: Tally) -> tuple[Message, ...]:
    """The conversation in order: told once at the start, and ending with something to learn."""
    told = [m.content for m in messages if m.role == "system"] if _told_first(messages) else []
    talk = messages[len(told) :]
    if talk and talk[0].role == "assistant" and not talk[0].tool_calls:
        talk = talk[1:]  # a greeting before anybody asked teaches nothing
        tally.change("starts with the assistant; its opening line was dropped", row)
    if not any(m.role == "assistant" for m in talk):
        raise Unusable("has a question but no answer")
    while talk[-1].role != "assistant":
        talk = talk[:-1]
    if len(talk) + len(told) < len(messages) and messages[-1].role != "assistant":
        tally.change("ends with a message that nobody answers; it was left off", row)
    check_order(talk)
    if talk[0].role != "user":
        raise Unusable("does not begin with a question")
    if not any(m.learn for m in talk if m.role == "assistant"):
        raise Unusable("has no answer that may be learned from")
    return (*_system(row, mapping, "\n\n".join(told)), *talk)


def _told_first(messages: list[Message]) -> bool:
    """Whether what the system says comes before everything else."""
    roles = [m.role for m in messages]
    return roles[: roles.count("system")] == ["system"] * roles.count("system")


def _told(rows: dict[tuple[str, str], _Rows]) -> list[Skipped]:
    return [Skipped(reason, found.count, found.first, file) for (file, reason), found in rows.items()]
