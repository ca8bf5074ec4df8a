from pathlib import Path

import pytest

from studio.core.conversation import Conversation, Kind, Message, ToolCall, as_chat, read_jsonl, write_jsonl

ASK, SAY = Message("user", "Weather in Rome?"), Message("assistant", "Sunny.")
CALL = Message("assistant", "", learn=False, tool_calls=(ToolCall("weather", '{"city": "Rome"}', "c1"),))
TOLD = Message("tool", "31 degrees", name="weather", tool_call_id="c1")

EXAMPLES: list[tuple[Kind, Conversation]] = [
    ("chat", Conversation((Message("system", "Be brief"), ASK, SAY), 2)),
    ("chat", Conversation((ASK, CALL, TOLD, SAY), 3, "b.jsonl", tools=('{"name": "weather"}',))),
    ("preference", Conversation((ASK, SAY), 4, rejected=(Message("assistant", "Who knows."),))),
    ("verdict", Conversation((ASK, SAY), 5, verdict=False)),
    ("text", Conversation((), 6, text="Once upon a time.")),
]


@pytest.mark.parametrize(("kind", "conversation"), EXAMPLES)
def test_every_kind_is_kept_whole(tmp_path: Path, kind: Kind, conversation: Conversation) -> None:
    write_jsonl(tmp_path / "examples.jsonl", [conversation])
    assert list(read_jsonl(tmp_path / "examples.jsonl")) == [conversation]
    assert conversation.kind == kind


def test_files_written_before_are_read(tmp_path: Path) -> None:
    old = '{"row": 7, "messages": [{"role": "user", "content": "Hi"}, '
    (tmp_path / "old.jsonl").write_text(old + '{"role": "assistant", "content": "Hello", "weight": 0}]}\n')
    assert list(read_jsonl(tmp_path / "old.jsonl")) == [
        Conversation((Message("user", "Hi"), Message("assistant", "Hello", learn=False)), 7)
    ]


def test_templates_see_arguments_as_objects() -> None:
    assert as_chat([CALL])[0]["tool_calls"] == [
        {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}, "id": "c1"}
    ]


def test_plain_text_asks_nothing() -> None:
    text = EXAMPLES[-1][1]
    assert (text.question, text.answer) == ("", "Once upon a time.")
