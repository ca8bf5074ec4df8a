from collections.abc import Callable

import pytest

from studio.core.conversation import Conversation, Message
from studio.core.finding import Finding, from_dict
from studio.diagnostics import left_out
from studio.diagnostics.dataset import Report, examine


def qa(question: str, answer: str, row: int = 0) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), row)


def fill(*extra: Conversation, count: int = 60) -> list[Conversation]:
    """`count` rows without fault, then `extra`; rows are numbered from 1."""
    good = [qa(f"Where is item {n} kept?", f"You find item {n} on shelf {n * 7}.") for n in range(count)]
    return [Conversation(c.messages, row, rejected=c.rejected, text=c.text) for row, c in enumerate([*good, *extra], 1)]


def look(examples: list[Conversation], held_back: Callable[[int], list[int]] = lambda rows: []) -> Report:
    return examine(enumerate(examples), lambda positions: {p: examples[p] for p in positions}, held_back)


def found(*extra: Conversation, count: int = 60) -> dict[str, Finding]:
    return {finding.kind: finding for finding in look(fill(*extra, count=count)).findings}


def test_rows_without_fault_give_only_what_to_expect() -> None:
    assert set(found()) == {"too_few"}
    assert found(count=600) == {}


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        ("duplicates", qa("Where is item 3 kept?", "You find item 3 on shelf 21.")),
        ("near_duplicates", qa("where is Item 3 kept", "You find item 3, on shelf 21")),
        ("mojibake", qa("CafÃ© ouvert?", "Yes.")),
        ("html", qa("Open?", "Yes.<br>Always.")),
        ("placeholders", qa("Dear {{name}}?", "Yes.")),
        ("template_tokens", qa("Open?", "Yes.<|im_end|>")),
        ("secrets", qa("The key?", "sk-abcdefghijklmnopqrstuv12")),
        ("emails", qa("Whom?", "ann@example.org")),
        ("phones", qa("Whom?", "+49 30 1234567")),
        ("cards", qa("Which?", "4111 1111 1111 1111")),
        ("not_learned", Conversation((Message("user", "Hm?"), Message("assistant", "So.", learn=False)), 0)),
    ],
)
def test_one_bad_row_is_found_and_its_number_named(kind: str, example: Conversation) -> None:
    finding = found(example)[kind]
    assert (finding.count, finding.rows) == (1, (61,))
    assert finding.message.startswith("1 row ")
    assert from_dict(finding.as_dict()) == finding


def test_numbers_and_other_words_make_no_near_duplicates() -> None:
    assert "near_duplicates" not in found(qa("Where is item 61 kept?", "You find item 61 on shelf 427."))
    assert "near_duplicates" not in found(qa("Where is the old clock kept?", "You find the clock on shelf nine."))


def test_a_question_with_two_answers_is_a_contradiction_and_nothing_else() -> None:
    kinds = found(qa("where is item 3 kept", "Nobody knows where it is."))
    assert kinds["contradictions"].rows == (4, 61)
    assert "near_duplicates" not in kinds
    assert "contradictions" not in found(qa("Where is item 3 kept?", "You find item 3 on shelf 21."))


def test_the_same_question_later_in_a_conversation_is_no_contradiction() -> None:
    def chat(opening: str, answer: str) -> Conversation:
        first = (Message("user", opening), Message("assistant", "Yes?"))
        return Conversation((*first, Message("user", "Why?"), Message("assistant", answer)), 0)

    assert "contradictions" not in found(chat("It is raining.", "Clouds."), chat("It is cold.", "Winter."))
    assert "contradictions" in found(chat("It is raining.", "Clouds."), chat("It is raining.", "No idea."))


def test_what_is_held_back_and_learned_alike_is_told() -> None:
    examples = fill(qa("Where is item 3 kept?", "You find item 3 on shelf 21."))
    kinds = {f.kind: f for f in look(examples, lambda rows: [0, rows - 1]).findings}
    assert kinds["overlap"].rows == (61,)
    assert "overlap" not in {f.kind for f in look(fill(), lambda rows: [0, 1]).findings}


@pytest.mark.parametrize(
    ("rows", "severity", "words"),
    [(3, "error", "3 examples are too few"), (20, "warning", "20 examples teach a tone"), (60, "note", "solid start")],
)
def test_how_much_can_be_expected_is_told(rows: int, severity: str, words: str) -> None:
    finding = found(count=rows)["too_few"]
    assert finding.severity == severity and words in finding.message


def test_one_answer_for_everything_is_told() -> None:
    same = [qa(f"Question number {n}?", "Please ask the desk.") for n in range(60)]
    assert "100% of the answers are the same" in {f.kind: f for f in look(same).findings}["one_answer"].message
    assert "one_answer" not in found()


def test_labels_and_their_unequal_shares_are_told() -> None:
    def labelled(*counts: int) -> Report:
        labels = [name for name, count in zip(("spam", "news", "mail"), counts, strict=True) for _ in range(count)]
        return look([qa(f"Text number {n} is about {n * n}.", label, n) for n, label in enumerate(labels)])

    unequal = labelled(80, 15, 5)
    finding = {f.kind: f for f in unequal.findings}["unequal_labels"]
    assert "“spam” 80 times, “mail” only 5" in finding.message
    assert unequal.figures["labels"][0] == {"label": "spam", "rows": 80}
    assert "unequal_labels" not in {f.kind for f in labelled(40, 30, 30).findings}
    assert look(fill()).figures["labels"] == []


def test_mixed_languages_are_told() -> None:
    german = [
        qa(f"Wo finde ich den Artikel {n} in Ihrem Lager?", f"Er liegt im Regal {n} neben der Tür.") for n in range(20)
    ]
    finding = found(*german)["mixed_languages"]
    assert "German" in finding.message and "English" in finding.message
    assert finding.rows[0] == 61 and finding.severity == "note"


def test_figures_tell_turns_and_kinds() -> None:
    longer = Conversation((*qa("One?", "First.").messages, *qa("Two?", "Second.").messages), 0)
    pair = Conversation(qa("Which?", "Good.").messages, 0, rejected=(Message("assistant", "Bad."),))
    figures = look([longer, pair, Conversation((), 0, text="A page of text.")]).figures
    assert figures["kinds"] == {"chat": 1, "preference": 1, "text": 1}
    assert figures["turns"] == {"mean": 1.0, "most": 2}


def test_an_empty_data_set_has_a_report() -> None:
    (finding,) = look([]).findings
    assert finding.message.startswith("0 examples are too few")


def test_rows_that_were_changed_a_little_are_noted() -> None:
    entry = {
        "reason": "starts with the assistant; its opening line was dropped",
        "count": 1,
        "rows": [3],
        "file": "a.csv",
    }
    (finding,) = left_out.used([entry])
    assert (finding.kind, finding.severity, finding.rows) == ("starts_with_assistant", "note", (3,))
    assert finding.message == "1 row of a.csv opened with the assistant; that line was dropped."


@pytest.mark.parametrize(
    ("reason", "kind", "severity"),
    [
        ("has a question but no answer", "no_answer", "warning"),
        ("has an answer but no question", "no_question", "warning"),
        ("is blank", "blank", "note"),
        ("has two turns of the same speaker in a row", "same_speaker_twice", "warning"),
        ("has a speaker the studio does not know (“narrator”)", "unknown_role", "warning"),
        ("has 3 cells where the header has 2. Is a text with a comma missing its quotes?", "ragged", "warning"),
        ("is odd in a new way", "left_out", "warning"),
    ],
)
def test_rows_that_became_no_examples_are_findings_too(reason: str, kind: str, severity: str) -> None:
    (finding,) = left_out.findings([{"reason": reason, "count": 2, "rows": [4, 9]}])
    assert (finding.kind, finding.severity, finding.count, finding.rows) == (kind, severity, 2, (4, 9))
    assert finding.message.startswith("2 rows left out: each ")


def test_pages_are_not_spoken_of_as_examples() -> None:
    pages = [Conversation((), n, text=f"Chapter {n} tells how clock number {n} came to Brumble.") for n in range(20)]
    (expected,) = [finding for finding in look(pages).findings if finding.kind == "too_few"]
    assert expected.severity == "note" and expected.message.startswith("20 pages teach a little of their style")
