"""What a row that was left out still says, and what it becomes once it is completed."""

import pytest

from studio.core.conversation import Message
from studio.core.errors import DataError
from studio.core.mapping import Mapping
from studio.data.by_hand import Draft, completed, draft
from studio.data.readers.table import Broken, Row

COLUMNS = Mapping(question="q", answer="a", context="c", system_text="Be brief.")
TALK = Mapping(shape="messages", messages="m")


def turns(*said: tuple[str, str]) -> Row:
    return Row(7, {"m": [{"role": role, "content": text} for role, text in said]})


@pytest.mark.parametrize(
    ("row", "mapping", "question", "answer"),
    [
        (Row(7, {"q": "Why?", "a": "", "c": "At noon."}), COLUMNS, "Why?\n\nAt noon.", ""),
        (Row(7, {"q": None, "a": "So.", "c": "At noon."}), COLUMNS, "", "So."),
        (Row(7, {"p": "Bell", "a": ""}), Mapping(question_template="About {p}", answer="a"), "About Bell", ""),
        (Row(7, {"q": [{"role": "user", "content": "Why?"}], "a": None}), COLUMNS, "Why?", ""),
        (Row(7, {"q": "Broken \ud800", "a": "So."}), COLUMNS, "", ""),
        (turns(("user", "Why?"), ("assistant", "")), TALK, "Why?", ""),
        (turns(("user", "Why?"), ("user", "And how?"), ("assistant", "So.")), TALK, "Why?\n\nAnd how?", "So."),
        (turns(("user", "1"), ("assistant", "2"), ("user", "3"), ("nobody", "4"), ("user", "5")), TALK, "", ""),
        (Row(7, {"m": '[{"role": "user", "content": "Why?"}]'}), TALK, "Why?", ""),
        (Row(7, {"m": "no JSON"}), TALK, "", ""),
    ],
)
def test_what_is_there_is_taken_over(row: Row, mapping: Mapping, question: str, answer: str) -> None:
    found = draft(row, mapping)
    assert (found.question, found.answer) == (question, answer) and found.shown


def test_a_row_that_could_not_be_read_is_shown_as_it_stands() -> None:
    assert draft(Broken(7, "has 3 cells", cells=("Why", " said he?", "So.")), COLUMNS) == Draft(
        shown="Why\n said he?\nSo."
    )
    assert draft(Broken(7, "is not quite JSON", raw="{'q': 1}"), COLUMNS).shown == "{'q': 1}"


def test_a_completed_row_is_told_what_all_others_are_told() -> None:
    made = completed(Row(7, {"q": "", "c": "not asked for twice"}, "b.csv"), COLUMNS, "Why?", "So.", 100)
    assert made.messages == (Message("system", "Be brief."), Message("user", "Why?"), Message("assistant", "So."))
    assert (made.row, made.file) == (7, "b.csv")
    labels = Mapping(shape="labels", question="q", answer="a", labels=("late", "lost"))
    assert "late, lost" in completed(Row(7, {}), labels, "Where is it?", "lost", 100).messages[0].content
    assert completed(turns(("user", "x")), TALK, "Why?", "So.", 100).answer == "So."


@pytest.mark.parametrize(
    ("question", "answer", "sentence"),
    [
        ("Why?", " ", "Row 7: has a question but no answer."),
        ("", "So.", "has an answer but no question"),
        ("", "", "is blank"),
        ("Why?", "So. " * 100, "has a text longer than 100 characters"),
    ],
)
def test_half_of_an_example_is_refused(question: str, answer: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        completed(Row(7, {}), COLUMNS, question, answer, 100)
