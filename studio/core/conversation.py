"""The one internal shape of a training example. Readers make it, everything downstream sees only it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str
    learn: bool = True  # False: an assistant message the model sees but is not trained on


@dataclass(frozen=True, slots=True)
class Conversation:
    """A system message at most, then user and assistant in turn; the last message is the assistant's.

    `row` is the example's number in the user's own file, as they would count it.
    """

    messages: tuple[Message, ...]
    row: int

    @property
    def question(self) -> str:
        """What the user said last before the final answer."""
        return next(m.content for m in reversed(self.messages) if m.role == "user")

    @property
    def answer(self) -> str:
        return self.messages[-1].content


def as_chat(messages: Iterable[Message]) -> list[dict[str, str]]:
    """The role/content dictionaries that chat templates and OpenAI's API take."""
    return [{"role": m.role, "content": m.content} for m in messages]


def write_jsonl(path: Path, conversations: Iterable[Conversation]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for conversation in conversations:
            messages = [
                {"role": m.role, "content": m.content} | ({} if m.learn else {"weight": 0})
                for m in conversation.messages
            ]
            file.write(dumps({"row": conversation.row, "messages": messages}, ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> Iterator[Conversation]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = loads(line)
            yield Conversation(
                tuple(Message(m["role"], m["content"], m.get("weight", 1) != 0) for m in record["messages"]),
                record["row"],
            )
