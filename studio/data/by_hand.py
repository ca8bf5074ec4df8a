"""A row that became no example: what it says in the user's file, and the example it is once somebody completes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

from studio.core.conversation import Conversation, Message
from studio.core.errors import DataError
from studio.core.mapping import Mapping
from studio.data.mapping import Tally, convert, part_of, with_context
from studio.data.readers.table import Broken, Row, Table
from studio.data.turns import Unusable, heard

COMPLETED = frozenset({"columns", "messages", "labels"})  # shapes whose examples are a question and an answer
_QUESTION, _ANSWER = "\x00question", "\x00answer"  # which no column of a file is called
_SHOWN_CHARS = 4000


@dataclass(frozen=True, slots=True)
class Draft:
    """What is there of an example; "" for what is missing, or is not to be told from the rest."""

    question: str = ""
    answer: str = ""
    shown: str = ""  # the row as it stands in the file


def draft(row: Row | Broken, mapping: Mapping) -> Draft:
    if isinstance(row, Broken):
        return Draft(shown=_plain(row.raw or "\n".join(row.cells)))
    shown = _plain(
        "\n".join(f"{name}: {_text(value)}" for name, value in row.values.items() if value not in ("", None))
    )
    question, answer = "", ""
    try:
        if mapping.shape == "messages":
            question, answer = _asked_and_answered(heard(row.values.get(mapping.messages)))
        elif mapping.shape in COMPLETED:
            asked = part_of(row, mapping.question, mapping.question_template, Tally())
            if isinstance(asked, str) and asked:
                asked = with_context(asked, row, mapping)
            question, answer = _said(asked), _said(part_of(row, mapping.answer, mapping.answer_template, Tally()))
    except Unusable:
        pass  # a broken character: it is shown, and typed anew
    return Draft(question, answer, shown)


def completed(row: Row, mapping: Mapping, question: str, answer: str, max_cell_chars: int) -> Conversation:
    """The row's example with these two texts. What else the mapping adds, such as a system text, is as in other rows.

    Raises DataError if that cannot be learned from.
    """
    shape = "labels" if mapping.shape == "labels" else "columns"
    parts = {"question": _QUESTION, "answer": _ANSWER, "question_template": "", "answer_template": "", "context": ""}
    filled = row._replace(values=row.values | {_QUESTION: question, _ANSWER: answer})
    table, tally = Table([], lambda tick: iter([filled])), Tally()
    made = list(convert(table, mapping.model_copy(update={"shape": shape, **parts}), max_cell_chars, tally))
    if not made:
        raise DataError(f"{tally.skipped[0].words}.", "Type both a question and an answer.")
    return made[0]


def _asked_and_answered(messages: Sequence[Message]) -> tuple[str, str]:
    """Of a conversation that is no longer than one question and one answer; else it is not to be told."""
    roles = [m.role for m in messages if m.role != "system"]
    if any(m.tool_calls for m in messages) or roles != sorted(roles, reverse=True) or "tool" in roles:
        return "", ""
    question, answer = ("\n\n".join(m.content for m in messages if m.role == role) for role in ("user", "assistant"))
    return question, answer


def _said(part: Any) -> str:
    return part if isinstance(part, str) else "\n\n".join(m.content for m in heard(part))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value, ensure_ascii=False, default=str)


def _plain(text: str) -> str:
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:_SHOWN_CHARS].strip()
