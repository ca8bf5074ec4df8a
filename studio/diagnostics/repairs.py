"""Repairs a person can press a button for: each takes one example and gives it back better, or None to leave it out."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from studio.core.conversation import Conversation, Message
from studio.diagnostics.texts import CHECKS

Apply = Callable[[Conversation], Conversation | None]


@dataclass(frozen=True)
class Repair:
    """`label` is on the button, `done` is what the new version is called."""

    label: str
    done: str
    apply: Apply


def texts(conversation: Conversation) -> list[str]:
    """Every text of an example that a person wrote."""
    said = [m.content for m in conversation.messages] + [m.content for m in conversation.rejected]
    return [*said, conversation.text] if conversation.text else said


def with_texts(conversation: Conversation, change: Callable[[str], str]) -> Conversation:
    """The same example with each text changed; a text of which nothing would be left stays as it was."""

    def changed(messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return tuple(replace(m, content=change(m.content) or m.content) for m in messages)

    return replace(
        conversation,
        messages=changed(conversation.messages),
        rejected=changed(conversation.rejected),
        text=change(conversation.text) or conversation.text,
    )


def _in_texts(check: str) -> Apply:
    fix = CHECKS[check].fix
    assert fix is not None
    return lambda conversation: with_texts(conversation, fix)


def _leave_out(_: Conversation) -> None:
    return None


REPAIRS: dict[str, Repair] = {
    "duplicates": Repair("Keep one of each", "Repeats left out", _leave_out),
    "near_duplicates": Repair("Keep one of each", "Near repeats left out", _leave_out),
    "placeholders": Repair("Leave these rows out", "Rows with {{…}} left out", _leave_out),
    "mojibake": Repair("Put the letters right", "Broken letters put right", _in_texts("mojibake")),
    "html": Repair("Turn it into plain text", "HTML turned into plain text", _in_texts("html")),
    "template_tokens": Repair("Remove the marks", "Chat marks removed", _in_texts("template_tokens")),
    "secrets": Repair("Mask them", "Secrets masked", _in_texts("secrets")),
    "emails": Repair("Mask them", "E-mail addresses masked", _in_texts("emails")),
    "phones": Repair("Mask them", "Phone numbers masked", _in_texts("phones")),
    "cards": Repair("Mask them", "Card numbers masked", _in_texts("cards")),
}
