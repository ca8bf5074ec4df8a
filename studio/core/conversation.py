"""The one internal shape of an example. Readers make it, everything downstream sees only it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from json import JSONEncoder, dumps, loads
from pathlib import Path
from typing import Any, Literal

_encode = JSONEncoder(ensure_ascii=False).encode  # `dumps` would make an encoder for every row
Role = Literal["system", "user", "assistant", "tool"]
Kind = Literal["chat", "preference", "verdict", "text"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: str = "{}"  # a JSON object
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str  # may be empty where the assistant calls a tool instead of speaking
    learn: bool = True  # False: an assistant message the model sees but is not trained on
    tool_calls: tuple[ToolCall, ...] = ()  # of an assistant message
    name: str = ""  # of the tool that answers
    tool_call_id: str = ""  # of the call that a tool answers


@dataclass(frozen=True, slots=True)
class Conversation:
    """A system message at most, then user and assistant in turn; the last message is the assistant's.

    Between a message that calls tools and the next one of the assistant stand the tools' answers. Plain text has no
    messages, only `text`. Which of `text`, `rejected` and `verdict` is filled decides the `kind`; at most one is.

    `row` is the example's number in the user's own file, as they would count it; pieces of one page share it.
    """

    messages: tuple[Message, ...]
    row: int
    file: str = ""  # which of several files the row is in
    tools: tuple[str, ...] = ()  # definitions of functions the assistant may call, each a JSON object
    rejected: tuple[Message, ...] = ()  # what stands after the last user message in the worse answer
    verdict: bool | None = None  # whether the answer is a good one, where no better or worse one is known
    text: str = ""
    piece: int = 0  # which piece of its document a text is, from 1; 0 if it is all of it
    goes_on: bool = False  # whether the document goes on in the next piece

    @property
    def kind(self) -> Kind:
        if self.text:
            return "text"
        return "preference" if self.rejected else "chat" if self.verdict is None else "verdict"

    @property
    def question(self) -> str:
        """What the user said last before the final answer."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def answer(self) -> str:
        """The final answer, of two the better one; of plain text, all of it."""
        return self.messages[-1].content if self.messages else self.text

    @property
    def uses_tools(self) -> bool:
        return bool(self.tools) or any(m.tool_calls or m.role == "tool" for m in self.messages)


def as_chat(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The dictionaries that chat templates take. Arguments of tool calls are objects, as templates expect them."""
    return [_as_dict(m) for m in messages]


def write_jsonl(path: Path, conversations: Iterable[Conversation]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for conversation in conversations:
            file.write(_encode(as_record(conversation)) + "\n")


def read_jsonl(path: Path) -> Iterator[Conversation]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield from_record(loads(line))


def as_record(conversation: Conversation) -> dict[str, Any]:
    """What is kept of an example: OpenAI's `messages` and `tools`, and beside them what only other kinds have."""
    record: dict[str, Any] = {"row": conversation.row}
    if conversation.file:
        record["file"] = conversation.file
    if conversation.text:
        place = {"piece": conversation.piece} if conversation.piece else {}
        return record | {"text": conversation.text} | place | ({"goes_on": True} if conversation.goes_on else {})
    record["messages"] = [_as_dict(m) | ({} if m.learn else {"weight": 0}) for m in conversation.messages]
    if conversation.tools:
        record["tools"] = [loads(tool) for tool in conversation.tools]
    if conversation.rejected:
        record["rejected"] = as_chat(conversation.rejected)
    if conversation.verdict is not None:
        record["label"] = conversation.verdict
    return record


def from_record(record: dict[str, Any]) -> Conversation:
    return Conversation(
        messages=tuple(_from_dict(m) for m in record.get("messages", ())),
        row=record["row"],
        file=record.get("file", ""),
        tools=tuple(dumps(tool, ensure_ascii=False) for tool in record.get("tools", ())),
        rejected=tuple(_from_dict(m) for m in record.get("rejected", ())),
        verdict=record.get("label"),
        text=record.get("text", ""),
        piece=record.get("piece", 0),
        goes_on=record.get("goes_on", False),
    )


def _as_dict(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        made["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": loads(call.arguments)}}
            | ({"id": call.id} if call.id else {})
            for call in message.tool_calls
        ]
    if message.name:
        made["name"] = message.name
    if message.tool_call_id:
        made["tool_call_id"] = message.tool_call_id
    return made


def _from_dict(record: dict[str, Any]) -> Message:
    calls = tuple(
        ToolCall(call["function"]["name"], dumps(call["function"]["arguments"], ensure_ascii=False), call.get("id", ""))
        for call in record.get("tool_calls", ())
    )
    return Message(
        record["role"], record["content"], record.get("weight", 1) != 0, calls,
        record.get("name", ""), record.get("tool_call_id", ""),
    )  # fmt: skip
