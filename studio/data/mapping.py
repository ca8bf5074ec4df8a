"""Rows of a file turned into conversations by a mapping."""

from collections.abc import Callable
from dataclasses import dataclass
from json import JSONDecodeError, dumps, loads
from typing import Any

from studio.core.conversation import Conversation, Message, Role
from studio.core.mapping import Mapping
from studio.data.readers.table import Row, Table

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user", "customer": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Skipped:
    """Rows that are left out, and why. `rows` are numbered as in the user's own file."""

    reason: str
    count: int
    rows: list[int]

    @property
    def words(self) -> str:
        shown = ", ".join(str(row) for row in self.rows[:5]) + (" …" if self.count > 5 else "")
        return f"{'Row' if self.count == 1 else 'Rows'} {shown}: {self.reason}"


class Unusable(Exception):
    """Why one row cannot be learned from."""


def convert(table: Table, mapping: Mapping, max_cell_chars: int) -> tuple[list[Conversation], list[Skipped]]:
    """The table's rows as conversations, and what had to be left out."""
    one: Callable[[Row, Mapping], tuple[Message, ...]] = (
        _from_messages if mapping.shape == "messages" else _from_columns
    )
    skipped = {reason: list(numbers) for reason, numbers in table.broken.items()}
    conversations = []
    for row in table.rows:
        try:
            messages = one(row, mapping)
            if any(len(m.content) > max_cell_chars for m in messages):
                raise Unusable(f"has a text longer than {max_cell_chars:,} characters")
            conversations.append(Conversation(messages, row.number))
        except Unusable as why:
            skipped.setdefault(str(why), []).append(row.number)
    return conversations, [Skipped(reason, len(rows), rows) for reason, rows in skipped.items()]


def _from_columns(row: Row, mapping: Mapping) -> tuple[Message, ...]:
    question, answer = _text(row.values.get(mapping.question)), _text(row.values.get(mapping.answer))
    context = _text(row.values.get(mapping.context)) if mapping.context else ""
    system = _text(row.values.get(mapping.system)) if mapping.system else ""
    if not question and not answer:
        raise Unusable("is blank")
    if not answer:
        raise Unusable("has a question but no answer")
    if not question:
        raise Unusable("has an answer but no question")
    if context and context.lower() not in {"null", "<noinput>"}:
        question = f"{question}\n\n{context}"
    start = (Message("system", system),) if system else ()
    return (*start, Message("user", question), Message("assistant", answer))


def _from_messages(row: Row, mapping: Mapping) -> tuple[Message, ...]:
    turns = row.values.get(mapping.messages)
    if isinstance(turns, str):  # a CSV cell that holds JSON
        try:
            turns = loads(turns)
        except (JSONDecodeError, RecursionError):
            raise Unusable("has a conversation that is not valid JSON") from None
    if not isinstance(turns, list) or not turns:
        raise Unusable("has no messages")
    messages = [_message(turn) for turn in turns]
    system, talk = (messages[:1], messages[1:]) if messages[0].role == "system" else ([], messages)
    if talk and talk[0].role == "assistant":
        talk = talk[1:]  # a greeting before anybody asked teaches nothing
    while talk and talk[-1].role != "assistant":
        talk = talk[:-1]
    if not talk:
        raise Unusable("has a question but no answer")
    if any(m.role != ("user", "assistant")[i % 2] for i, m in enumerate(talk)):
        raise Unusable("has two turns of the same speaker in a row")
    if not any(m.learn for m in talk if m.role == "assistant"):
        raise Unusable("has no answer that may be learned from")
    return (*system, *talk)


def _message(turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise Unusable("has a message without a role")
    name = turn.get("role", turn.get("from"))
    role = _ROLES.get(str(name).lower())
    if role is None:
        raise Unusable(f"has a speaker the studio does not know (“{str(name)[:30]}”)")
    content = _text(turn.get("content", turn.get("value")))
    if not content:
        raise Unusable("has an empty message")
    return Message(role, content, turn.get("weight", 1) != 0)


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else dumps(value, ensure_ascii=False)
    # a lone surrogate cannot be written as UTF-8, and a zero byte ends texts early elsewhere
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "").strip()
