"""Conversations as others write them, in the studio's own form.

Understood are OpenAI's messages with tools, ShareGPT's from and value, lists of texts that take turns, one text with
Anthropic's `Human:` and `Assistant:`, and any of these as JSON in a cell.
"""

import re
from ast import literal_eval
from collections.abc import Sequence
from contextlib import suppress
from json import dumps
from typing import Any

from studio.core.conversation import Message, Role, ToolCall
from studio.data.readers.json import parse

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user", "customer": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "ai": "assistant", "chatbot": "assistant", "agent": "assistant",
    "function_call": "assistant", "tool_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "ipython": "tool", "function_response": "tool",
    "tool_response": "tool",
}  # fmt: skip
_SPEAKER = ("role", "from", "speaker")
_SPOKEN = re.compile(r"(?:\A\s*|\n\n|### )(Human|Assistant|System):")
_UNLEARNED = frozenset({"0", "0.0", "false"})


class Unusable(Exception):
    """Why one row cannot be learned from."""


def text_of(value: Any) -> str:
    """A cell as text. Raises Unusable for half of a surrogate pair, which no file could keep."""
    if isinstance(value, str):
        text = value
    elif value is None:
        return ""
    else:
        text = dumps(value, ensure_ascii=False)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unusable("has a broken character (half of a pair, \\ud800 to \\udfff)") from None
    return text.replace("\x00", "").strip()


def is_turns(value: Any) -> bool:
    """Whether a cell holds a conversation rather than a text."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(turn, dict) and not turn.keys().isdisjoint(_SPEAKER) for turn in value)
    if isinstance(value, dict):
        return "messages" in value
    return isinstance(value, str) and (is_spoken(value) or value.lstrip()[:20].startswith(("[{", '{"mess')))


def is_spoken(text: str) -> bool:
    """Whether somebody asks and somebody answers in a text, as in Anthropic's files."""
    return "Human:" in text and {"Human", "Assistant"} <= set(_SPOKEN.findall(text))


def turns_of(value: Any) -> list[Message]:
    """The messages in a cell, as they stand there. Raises Unusable, in words."""
    if isinstance(value, str):
        if is_spoken(value):
            return _spoken(_SPOKEN.split(value)[1:])
        value = _parsed(value)
    if isinstance(value, dict):
        value = value.get("messages")
    if not isinstance(value, list) or not value:
        raise Unusable("has no messages")
    if all(isinstance(turn, str) for turn in value):
        return [_filled(Message(("user", "assistant")[place % 2], text_of(turn))) for place, turn in enumerate(value)]
    return [message for turn in value if (message := _message(turn))]


def heard(value: Any) -> list[Message]:
    """The messages that can be made out in a cell of which `turns_of` says that it cannot be learned from."""
    if isinstance(value, str):
        try:
            value = _parsed(value)
        except Unusable:
            return []
    if isinstance(value, dict):
        value = value.get("messages")
    found = []
    for turn in value if isinstance(value, list) else []:
        with suppress(Unusable):
            found.append(_message(turn))
    return [message for message in found if message]


def tools_of(value: Any) -> tuple[str, ...]:
    """Definitions of functions, each as JSON."""
    if isinstance(value, str) and value.strip():
        try:
            value = parse(value)
        except (ValueError, RecursionError):
            raise Unusable("has tools that are not valid JSON") from None
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise Unusable("has tools that are not a list of definitions")
    return tuple(dumps(tool, ensure_ascii=False) for tool in value)


def check_order(messages: Sequence[Message]) -> None:
    """Raises Unusable unless user and assistant take turns, with the tools' answers in between."""
    before = ""
    for message in messages:
        role = message.role
        if role == "system" and before:
            raise Unusable("has a system text in the middle of the conversation")
        if role == before and role != "tool":
            raise Unusable("has two turns of the same speaker in a row")
        if role == "tool" and before not in {"called", "tool"}:
            raise Unusable("has an answer of a tool that nobody called")
        if before == "called" and role != "tool":
            raise Unusable("calls a tool that does not answer")
        if role == "user" and before == "tool":
            raise Unusable("has a tool's answer that the assistant says nothing about")
        before = "called" if message.tool_calls else role


def split_answer(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """(up to and with the last user message, what the assistant does then)."""
    asked = max((place for place, m in enumerate(messages) if m.role == "user"), default=-1) + 1
    return list(messages[:asked]), list(messages[asked:])


def _spoken(parts: list[str]) -> list[Message]:
    said = [Message(_ROLES[who.lower()], text_of(what)) for who, what in zip(parts[::2], parts[1::2], strict=True)]
    if said and said[-1].role == "assistant" and not said[-1].content:
        said.pop()  # a prompt ends with an open “Assistant:”
    return [_filled(message) for message in said]


def _parsed(text: str) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError):
        pass
    try:
        return literal_eval(text)  # as pandas writes a list into a CSV file: plain values in Python's quotes
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise Unusable("has a conversation that is not valid JSON") from None


def _message(turn: Any) -> Message | None:
    """None for a system text that is empty, which many files begin with."""
    if not isinstance(turn, dict):
        raise Unusable("has a message without a role")
    name = next((turn[k] for k in _SPEAKER if turn.get(k) is not None), None)
    role = _ROLES.get(str(name).strip().lower())
    if role is None:
        raise Unusable(f"has a speaker the studio does not know (“{str(name)[:30]}”)")
    content = _content(next((turn[k] for k in ("content", "value", "text") if turn.get(k) is not None), None))
    if role == "system" and not content:
        return None
    calls = _calls(turn)
    if str(name).strip().lower() in {"function_call", "tool_call"}:  # ShareGPT writes the call as the message's text
        calls, content = (_call(content),), ""
    learn = str(turn.get("weight", 1)).lower() not in _UNLEARNED
    tool = text_of(turn.get("name")) if role == "tool" else ""
    return _filled(Message(role, content, learn, calls, tool, text_of(turn.get("tool_call_id"))))


def _filled(message: Message) -> Message:
    if not message.content and not message.tool_calls:
        raise Unusable("has an empty message")
    return message


def _content(value: Any) -> str:
    """A message's text; OpenAI's files may have it in parts, some of which are pictures."""
    if not isinstance(value, list):
        return text_of(value)
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value):
        raise Unusable("has a message with a picture or a sound in it")
    return text_of("".join(part["text"] for part in value))


def _calls(turn: dict[str, Any]) -> tuple[ToolCall, ...]:
    calls = turn.get("tool_calls") or ([turn["function_call"]] if turn.get("function_call") else [])
    if not isinstance(calls, list):
        raise Unusable("has tool calls that are not a list")
    return tuple(_call(call) for call in calls)


def _call(call: Any) -> ToolCall:
    """From OpenAI's form, in which the arguments are JSON in a string, or a plain object of name and arguments."""
    try:
        call = parse(call) if isinstance(call, str) else call
        function = call.get("function", call)
        name, arguments = function["name"], function.get("arguments") or {}
        arguments = parse(arguments) if isinstance(arguments, str) else arguments
        if not isinstance(name, str) or not name or not isinstance(arguments, dict):
            raise ValueError
    except (ValueError, RecursionError, KeyError, AttributeError, TypeError):
        raise Unusable("has a tool call without a name or with arguments that are not a JSON object") from None
    return ToolCall(name, dumps(arguments, ensure_ascii=False), text_of(call.get("id")))
