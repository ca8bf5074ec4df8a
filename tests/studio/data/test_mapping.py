import pytest

from studio.core.mapping import Mapping
from studio.data.detect import guess
from studio.data.mapping import convert
from studio.data.readers.table import Row, Table


def table(*rows: dict[str, object]) -> Table:
    return Table(list(rows[0]), [Row(n, row) for n, row in enumerate(rows, 2)])


@pytest.mark.parametrize(
    ("columns", "question", "answer"),
    [
        (["question", "answer"], "question", "answer"),
        (["Answer", "Question"], "Question", "Answer"),
        (["instruction", "output"], "instruction", "output"),
        (["prompt", "completion"], "prompt", "completion"),
        (["id", "customer question", "our answer"], "customer question", "our answer"),
        (["Frage", "Antwort"], "Frage", "Antwort"),
        (["what they say", "what we say"], "what they say", "what we say"),
        (["prompt", "anything"], "prompt", "anything"),
    ],
)
def test_question_and_answer_are_guessed(columns: list[str], question: str, answer: str) -> None:
    rows = [{c: ("17" if c == "id" else f"some text {n}") for c in columns} for n in range(5)]
    found = guess(table(*rows))
    assert (found.question, found.answer) == (question, answer)


def test_numbers_and_ids_are_no_answer() -> None:
    assert not guess(table({"id": "1", "price": "3.50", "date": "2024-01-02"})).complete


def test_alpaca_input_belongs_to_the_question() -> None:
    rows = table(
        {"instruction": "Translate", "input": "dog", "output": "Hund"},
        {"instruction": "Hi", "input": "", "output": "Ho"},
    )
    conversations, _ = convert(rows, guess(rows), 1000)
    assert [c.question for c in conversations] == ["Translate\n\ndog", "Hi"]


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_chats_are_read_whatever_their_roles_are_called(column: str) -> None:
    names = ("role", "content") if column == "messages" else ("from", "value")
    turns = [("system", "Be kind"), ("human", "Hi"), ("gpt", "Hello"), ("user", "Bye"), ("assistant", "Ciao")]
    rows = table({column: [dict(zip(names, turn, strict=True)) for turn in turns]})
    conversations, skipped = convert(rows, guess(rows), 1000)
    assert not skipped
    assert [m.role for m in conversations[0].messages] == ["system", "user", "assistant", "user", "assistant"]


def test_a_message_of_weight_zero_is_not_learned_from() -> None:
    turns = [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"},
    ]  # fmt: skip
    conversations, _ = convert(table({"messages": turns}), Mapping(shape="messages", messages="messages"), 1000)
    assert [m.learn for m in conversations[0].messages] == [True, False, True, True]


def test_rows_that_cannot_be_learned_from_are_counted_with_their_numbers() -> None:
    rows = table(
        {"question": "Hi", "answer": "Hello"},
        {"question": "Why?", "answer": " "},
        {"question": None, "answer": "Because"},
        {"question": "", "answer": ""},
        {"question": "Long", "answer": "x" * 101},
        {"question": "How?", "answer": None},
    )
    conversations, skipped = convert(rows, Mapping(question="question", answer="answer"), 100)
    assert [c.row for c in conversations] == [2]
    assert {s.reason: s.rows for s in skipped} == {
        "has a question but no answer": [3, 7],
        "has an answer but no question": [4],
        "is blank": [5],
        "has a text longer than 100 characters": [6],
    }
    assert skipped[0].words == "Rows 3, 7: has a question but no answer"


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "has no messages"),
        ("{", "not valid JSON"),
        ([{"role": "user", "content": "a"}], "has a question but no answer"),
        ([{"role": "wizard", "content": "a"}], "a speaker the studio does not know"),
        (["text"], "without a role"),
        ([{"role": role, "content": "a"} for role in ("user", "user", "assistant")], "two turns"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}], "empty message"),
    ],
)  # fmt: skip
def test_broken_chats_are_skipped_with_the_reason(turns: object, reason: str) -> None:
    conversations, skipped = convert(table({"messages": turns}), Mapping(shape="messages", messages="messages"), 1000)
    assert not conversations
    assert reason in skipped[0].reason
