"""Conversations in which the assistant calls functions, for base models whose chat template knows of none.

They get the words of the Hermes models, which others took over: the functions in the system text between <tools> tags,
a call as JSON between <tool_call> tags, and what came back as the user's words between <tool_response> tags.
Source: https://github.com/NousResearch/Hermes-Function-Calling
"""

import json
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from studio.core.conversation import Conversation, Message, ToolCall

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tools = list[Any] | None  # definitions of functions, as `apply_chat_template` takes them

_INTRODUCTION = (
    "You may call functions. They are described as JSON between <tools> tags:\n<tools>\n{}\n</tools>\n"
    "To call one, write its name and arguments as JSON between <tool_call> tags."
)


def for_template(tokenizer: "PreTrainedTokenizerBase", conversation: Conversation) -> tuple[tuple[Message, ...], Tools]:
    """The messages and the functions as this tokenizer's chat template takes them."""
    if not conversation.uses_tools:
        return conversation.messages, None
    tools: Tools = [json.loads(tool) for tool in conversation.tools] or None
    template = tokenizer.get_chat_template(tools=tools)
    if "tool_calls" in template and ("tools" in template or not tools):
        return conversation.messages, tools
    return _in_words(conversation), None


def _in_words(conversation: Conversation) -> tuple[Message, ...]:
    messages = list[Message]()
    for answers, group in groupby(conversation.messages, lambda m: m.role == "tool"):
        if answers:  # several in one message: many templates want user and assistant to take turns
            messages.append(Message("user", "\n".join(_tagged("tool_response", m.content) for m in group)))
        else:
            messages += [_with_calls(m) for m in group]
    if not conversation.tools:
        return tuple(messages)
    told = _INTRODUCTION.format("\n".join(conversation.tools))
    if messages[0].role == "system":
        return (replace(messages[0], content=f"{messages[0].content}\n\n{told}"), *messages[1:])
    return (Message("system", told), *messages)


def _with_calls(message: Message) -> Message:
    calls = [_tagged("tool_call", _as_json(call)) for call in message.tool_calls]
    return replace(message, content="\n".join(filter(None, [message.content, *calls])), tool_calls=())


def _as_json(call: ToolCall) -> str:
    return json.dumps({"name": call.name, "arguments": json.loads(call.arguments)}, ensure_ascii=False)


def _tagged(tag: str, text: str) -> str:
    return f"<{tag}>\n{text}\n</{tag}>"
