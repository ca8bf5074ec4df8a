from typing import Any

import pytest

from studio.core.conversation import Message
from studio.core.mapping import Mapping
from studio.data.mapping import Tally, convert
from studio.data.readers.documents import PIECE_CHARS
from studio.data.readers.table import Broken, Table
from tests.studio.data.conftest import table_of, understood

CHAT = Mapping(shape="messages", messages="messages")
PAIR = Mapping(shape="preference", question="prompt", answer="chosen", rejected="rejected")


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_chats_are_read_whatever_their_roles_are_called(column: str) -> None:
    names = ("role", "content") if column == "messages" else ("from", "value")
    turns = [("system", "Be kind"), ("human", "Hi"), ("gpt", "Hello"), ("user", "Bye"), ("assistant", "Ciao")]
    rows = table_of([{column: [dict(zip(names, turn, strict=True)) for turn in turns]}])
    conversations, skipped, _ = understood(rows)
    assert not skipped
    assert [m.role for m in conversations[0].messages] == ["system", "user", "assistant", "user", "assistant"]


def test_a_message_of_weight_zero_is_not_learned_from() -> None:
    turns = [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"},
    ]  # fmt: skip
    conversations, _, _ = understood(table_of([{"messages": turns}]), CHAT)
    assert [m.learn for m in conversations[0].messages] == [True, False, True, True]


def test_rows_that_cannot_be_learned_from_are_counted_with_their_numbers() -> None:
    rows = table_of(
        [
            {"question": "Hi", "answer": "Hello"},
            {"question": "Why?", "answer": " "},
            {"question": None, "answer": "Because"},
            {"question": "", "answer": ""},
            {"question": "Long", "answer": "x" * 101},
            {"question": "How?", "answer": None},
            {"question": "Odd", "answer": "half \ud83d"},
        ]
    )
    conversations, skipped, _ = understood(rows, Mapping(question="question", answer="answer"), 100)
    assert [c.row for c in conversations] == [2]
    assert {s.reason: s.rows for s in skipped} == {
        "has a question but no answer": [3, 7],
        "has an answer but no question": [4],
        "is blank": [5],
        "has a text longer than 100 characters": [6],
        "has a broken character (half of a pair, \\ud800 to \\udfff)": [8],
    }
    assert skipped[0].words == "Rows 3, 7: has a question but no answer"


def test_rows_of_several_files_are_told_with_their_file() -> None:
    table = Table(["q"], lambda tick: iter([Broken(3, "is odd", "a.csv"), Broken(3, "is odd", "b.csv")]))
    tally = Tally()
    assert list(convert(table, Mapping(question="q", answer="q"), 100, tally)) == []
    assert [s.words for s in tally.skipped] == ["Row 3 of a.csv: is odd", "Row 3 of b.csv: is odd"]


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "has no messages"),
        ("{", "not valid JSON"),
        ([{"role": "user", "content": "a"}], "has a question but no answer"),
        ([{"role": "wizard", "content": "a"}], "a speaker the studio does not know (“wizard”)"),
        ([{"role": "user", "content": "a"}, 5], "without a role"),
        ([{"role": role, "content": "a"} for role in ("user", "user", "assistant")], "two turns"),
        ([{"role": role, "content": "a"} for role in ("user", "system", "assistant")], "system text in the middle"),
        ([{"role": role, "content": "a"} for role in ("user", "tool", "assistant")], "a tool that nobody called"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}], "empty message"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "picture"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"function": {
            "name": "f", "arguments": "[1]"}}]}], "arguments that are not a JSON object"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}], "may be learned"),
    ],
)  # fmt: skip
def test_broken_chats_are_skipped_with_the_reason(turns: object, reason: str) -> None:
    conversations, skipped, _ = understood(table_of([{"messages": turns}]), CHAT)
    assert not conversations
    assert reason in skipped[0].reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "the same text as the better and the worse"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "lacks one of the two answers"),
        ({"prompt": "", "chosen": "b", "rejected": "c"}, "answers but no question"),
        ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: x\n\nAssistant: c"}, "two different"),
    ],
)
def test_broken_pairs_are_skipped_with_the_reason(row: dict[str, Any], reason: str) -> None:
    conversations, skipped, _ = understood(table_of([row]), PAIR)
    assert not conversations
    assert reason in skipped[0].reason


def test_what_was_changed_is_told() -> None:
    roles = ("assistant", "user", "assistant", "user")
    table, tally = table_of([{"messages": [{"role": role, "content": role} for role in roles]}]), Tally()
    assert [len(c.messages) for c in convert(table, CHAT, 100, tally)] == [2]
    assert [(told.reason, told.rows) for told in tally.changed] == [
        ("starts with the assistant; its opening line was dropped", [2]),
        ("ends with a message that nobody answers; it was left off", [2]),
    ]


def test_templates_put_columns_together() -> None:
    mapping = Mapping(question_template="{product}: { question }", answer="answer", system_text="Be brief.")
    rows = [{"product": "Bell", "question": "Loud?", "answer": "Yes."}, {"product": "", "question": "", "answer": "x"}]
    conversations, skipped, _ = understood(table_of(rows), mapping)
    assert [m.content for m in conversations[0].messages] == ["Be brief.", "Bell: Loud?", "Yes."]
    assert skipped[0].reason == "has an answer but no question"


def test_a_row_s_own_system_text_goes_before_the_common_one() -> None:
    mapping = Mapping(question="q", answer="a", system="s", system_text="common")
    rows = [{"q": "x", "a": "y", "s": "own"}, {"q": "x", "a": "y", "s": ""}]
    conversations, _, _ = understood(table_of(rows), mapping)
    assert [c.messages[0] for c in conversations] == [Message("system", "own"), Message("system", "common")]


def test_long_texts_become_pieces() -> None:
    text = "\n\n".join(["A sentence about clocks. " * 20] * 20)
    conversations, _, _ = understood(table_of([{"text": text}]), Mapping(shape="text", text="text"), 1000)
    assert len(conversations) > 1 and {c.row for c in conversations} == {2}
    assert all(len(c.text) <= PIECE_CHARS for c in conversations)
    assert [c.piece for c in conversations] == list(range(1, len(conversations) + 1))
    assert [c.goes_on for c in conversations] == [True] * (len(conversations) - 1) + [False]
