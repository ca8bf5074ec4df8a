"""Every shape that people's files have: recognised, with a reason, and turned into what it means."""

import json
from typing import Any

import pytest

from studio.core.conversation import Conversation, Message, ToolCall
from studio.core.mapping import Mapping, Reading, Shape
from studio.data.detect import guess
from studio.data.mapping import labels_in
from tests.studio.data.conftest import Read, table_of, understood

ASK, SAY = Message("user", "Why?"), Message("assistant", "Because.")
WORSE = Message("assistant", "No idea.")
OPENAI = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
SHAREGPT = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]
HUMAN = "\n\nHuman: Why?\n\nAssistant:"

SHAPES: list[tuple[str, Shape, dict[str, Any], Conversation]] = [
    ("OpenAI's chat", "messages", {"messages": OPENAI}, Conversation((ASK, SAY), 2)),
    ("the same in a CSV cell", "messages", {"messages": json.dumps(OPENAI)}, Conversation((ASK, SAY), 2)),
    ("ShareGPT", "messages", {"id": "x", "conversations": SHAREGPT}, Conversation((ASK, SAY), 2)),
    ("ShareGPT with a system text", "messages", {"system": "Be brief", "conversations": SHAREGPT},
     Conversation((Message("system", "Be brief"), ASK, SAY), 2)),
    ("texts that take turns", "messages", {"conversations": ["Why?", "Because."]}, Conversation((ASK, SAY), 2)),
    ("Anthropic's text", "messages", {"transcript": HUMAN + " Because."}, Conversation((ASK, SAY), 2)),
    ("the same in pandas' quotes", "messages", {"messages": str(OPENAI)}, Conversation((ASK, SAY), 2)),
    ("an empty system text", "messages", {"messages": [{"role": "system", "content": ""}, *OPENAI]},
     Conversation((ASK, SAY), 2)),
    ("Guanaco's text", "messages", {"text": "### Human: Why?### Assistant: Because."}, Conversation((ASK, SAY), 2)),
    ("an answer that is a number", "columns", {"question": "Two and two?", "answer": 4},
     Conversation((Message("user", "Two and two?"), Message("assistant", "4")), 2)),
    ("Alpaca", "columns", {"instruction": "Why?", "input": "<noinput>", "output": "Because."},
     Conversation((ASK, SAY), 2)),
    ("Alpaca with an input", "columns", {"instruction": "Translate", "input": "dog", "output": "Hund"},
     Conversation((Message("user", "Translate\n\ndog"), Message("assistant", "Hund")), 2)),
    ("prompt and completion", "columns", {"prompt": "Why?", "completion": "Because."}, Conversation((ASK, SAY), 2)),
    ("the same as messages", "columns", {"prompt": OPENAI[:1], "completion": OPENAI[1:]},
     Conversation((ASK, SAY), 2)),
    ("a preference", "preference", {"prompt": "Why?", "chosen": "Because.", "rejected": "No idea."},
     Conversation((ASK, SAY), 2, rejected=(WORSE,))),
    ("a preference of messages", "preference", {"chosen": OPENAI, "rejected": [OPENAI[0], OPENAI[1] | {
        "content": "No idea."}]}, Conversation((ASK, SAY), 2, rejected=(WORSE,))),
    ("a preference that repeats the prompt", "preference", {"prompt": "Why?", "chosen": OPENAI, "rejected": [
        OPENAI[0], OPENAI[1] | {"content": "No idea."}]}, Conversation((ASK, SAY), 2, rejected=(WORSE,))),
    ("OpenAI's preference", "preference", {
        "input": {"messages": OPENAI[:1], "tools": [{"type": "function"}]}, "preferred_output": OPENAI[1:],
        "non_preferred_output": [{"role": "assistant", "content": "No idea."}]},
     Conversation((ASK, SAY), 2, tools=('{"type": "function"}',), rejected=(WORSE,))),
    ("Anthropic's preference", "preference", {"chosen": HUMAN + " Because.", "rejected": HUMAN + " No idea."},
     Conversation((ASK, SAY), 2, rejected=(WORSE,))),
    ("a verdict", "verdict", {"prompt": "Why?", "completion": "Because.", "label": False},
     Conversation((ASK, SAY), 2, verdict=False)),
    ("a verdict of messages", "verdict", {"prompt": OPENAI[:1], "completion": OPENAI[1:], "label": "true"},
     Conversation((ASK, SAY), 2, verdict=True)),
    ("text", "text", {"id": 7, "text": "Once upon a time."}, Conversation((), 2, text="Once upon a time.")),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "row", "meant"), [pytest.param(*rest, id=name) for name, *rest in SHAPES])
def test_a_shape_is_recognised_and_understood(shape: Shape, row: dict[str, Any], meant: Conversation) -> None:
    conversations, skipped, found = understood(table_of([row] * 3))
    assert (found.mapping.shape, skipped) == (shape, [])
    assert found.confidence >= 0.7 and found.reason.endswith(".")
    assert conversations[0] == meant


@pytest.mark.parametrize(
    ("columns", "question", "answer"),
    [
        (["question", "answer"], "question", "answer"),
        (["Answer", "Question"], "Question", "Answer"),
        (["prompt", "completion"], "prompt", "completion"),
        (["id", "customer question", "our answer"], "customer question", "our answer"),
        (["Frage", "Antwort"], "Frage", "Antwort"),
        (["pregunta", "respuesta"], "pregunta", "respuesta"),
        (["Question du client", "Réponse"], "Question du client", "Réponse"),
        (["вопрос", "ответ"], "вопрос", "ответ"),
        (["用户问题", "标准答案"], "用户问题", "标准答案"),
        (["质問", "回答"], "质問", "回答"),
        (["what they say", "what we say"], "what they say", "what we say"),
        (["prompt", "anything"], "prompt", "anything"),
        (["question", "answer", "category"], "question", "answer"),
        (["Title", "Body", "Reply"], "Title", "Reply"),
    ],
)
def test_question_and_answer_are_guessed(columns: list[str], question: str, answer: str) -> None:
    rows = [{c: ("17" if c == "id" else f"some text {n}") for c in columns} for n in range(5)]
    found = guess(table_of(rows))
    assert (found.mapping.question, found.mapping.answer) == (question, answer)


def test_how_sure_the_guess_is_is_told() -> None:
    def words(**row: str) -> str:
        return guess(table_of([row] * 3)).words

    assert words(question="Why?", answer="Because.") == "Sure"
    assert words(prompt="Why?", notes="Because.") == "Quite sure"
    assert words(left="Why?", right="Because.") == "Not sure"
    assert words(id="1", price="3.50") == "Not sure"


def test_numbers_and_ids_are_no_answer() -> None:
    assert not guess(table_of([{"id": "1", "price": "3.50", "date": "2024-01-02"}])).mapping.complete


def test_questions_alone_are_no_examples() -> None:
    assert not guess(table_of([{"prompt": "Why?"}, {"prompt": "How?"}])).mapping.complete


def test_labels_are_listed_in_the_prompt() -> None:
    rows = [{"text": f"Mail {n} about money", "category": ("refund", "delay", "praise")[n % 3]} for n in range(30)]
    table = table_of(rows)
    mapping = guess(table).mapping
    assert (mapping.shape, mapping.question, mapping.answer) == ("labels", "text", "category")
    mapping = mapping.model_copy(update={"labels": labels_in(table, "category")})
    conversations, _, _ = understood(table, mapping)
    assert conversations[0].messages == (
        Message("system", "Answer with one of these labels: refund, delay, praise."),
        Message("user", "Mail 0 about money"),
        Message("assistant", "refund"),
    )


def test_labels_that_are_numbers_are_labels() -> None:
    rows = [{"text": f"Mail {n} about money", "label": n % 2} for n in range(30)]
    assert guess(table_of(rows)).mapping.shape == "labels"


def test_another_shape_is_one_word_away() -> None:
    table = table_of([{"question": "Why?", "answer": "Because."}] * 3)
    found = guess(table, Mapping(shape="labels", system_text="Be brief", reading=Reading(header=True)))
    assert (found.mapping.shape, found.mapping.system_text, found.mapping.reading.header) == (
        "labels",
        "Be brief",
        True,
    )
    assert not guess(table, Mapping(shape="preference")).mapping.complete


def test_a_shape_that_was_chosen_is_filled_as_far_as_the_columns_tell() -> None:
    table = table_of([{"text": f"Mail {n}", "category": "late"} for n in range(20)])
    assert guess(table, Mapping(shape="text")).mapping.text == "text"
    assert guess(table, Mapping(shape="columns")).mapping.question == "text"
    assert guess(table, Mapping(shape="messages")).mapping.missing == ("conversation",)


def test_tools_and_calls_are_understood() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    turns = [
        {"role": "user", "content": "Weather in Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [call], "weight": 0},
        {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "31 degrees"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hot."}]},
    ]
    tools = [{"type": "function", "function": {"name": "weather"}}]
    conversations, skipped, _ = understood(table_of([{"messages": turns, "tools": tools}]))
    assert not skipped
    assert conversations[0] == Conversation(
        (
            Message("user", "Weather in Rome?"),
            Message("assistant", "", False, (ToolCall("weather", '{"city": "Rome"}', "c1"),)),
            Message("tool", "31 degrees", name="weather", tool_call_id="c1"),
            Message("assistant", "Hot."),
        ),
        2,
        tools=(json.dumps(tools[0]),),
    )


def test_calls_in_sharegpt_files_are_understood() -> None:
    turns = [
        {"from": "human", "value": "Weather?"},
        {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Rome"}}'},
        {"from": "observation", "value": "31 degrees"},
        {"from": "gpt", "value": "Hot."},
    ]
    conversations, skipped, _ = understood(table_of([{"conversations": turns, "tools": '[{"name": "weather"}]'}]))
    assert not skipped
    assert [m.role for m in conversations[0].messages] == ["user", "assistant", "tool", "assistant"]
    assert conversations[0].messages[1].tool_calls == (ToolCall("weather", '{"city": "Rome"}'),)


def test_a_csv_of_conversations_goes_through_the_file(read: Read) -> None:
    cell = json.dumps(OPENAI).replace('"', '""')
    conversations, _, found = understood(read("a.csv", f'id,messages\n1,"{cell}"\n'))
    assert found.mapping.messages == "messages" and conversations == [Conversation((ASK, SAY), 2)]
