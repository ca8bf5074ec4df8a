"""What the studio says of an upload, and what becomes of it."""

import json
from pathlib import Path

import pytest

from studio.core.errors import DataError
from studio.core.mapping import Mapping, Reading
from studio.services import datasets, lengths, runs, uploads
from studio.services.context import Studio
from studio.store import datasets as rows

TURNS = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]


def write(folder: Path, name: str, content: str) -> tuple[Path, str]:
    (folder / name).write_text(content, encoding="utf-8")
    return (folder / name, name)


def lines(count: int = 12, **values: object) -> str:
    return "".join(json.dumps(values | {"prompt": f"Why {n}?"}) + "\n" for n in range(count))


def texts(count: int) -> str:
    return "".join(json.dumps({"text": f"Chapter {n}"}) + "\n" for n in range(count))


def test_a_guess_is_told_with_its_reason(studio: Studio, faq: Path) -> None:
    view = datasets.preview(studio, datasets.keep_upload(studio, faq, faq.name))
    assert view.words == "20 examples. Question = question, answer = answer."
    assert (view.confidence, view.reason) == (
        "Sure", "“question” is named like a question and “answer” like an answer.",
    )  # fmt: skip


def test_a_file_is_read_once_for_each_mapping(studio: Studio, faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = datasets.keep_upload(studio, faq, faq.name)
    first = datasets.preview(studio, upload_id)
    monkeypatch.setattr("studio.services.readings.read_files", None)
    assert datasets.preview(studio, upload_id) == first
    assert datasets.make(studio, upload_id).usable_rows == 20


def test_a_reading_that_is_broken_off_leaves_nothing_behind(studio: Studio, tmp_path: Path) -> None:
    upload_id = uploads.keep(studio, [write(tmp_path, "a.csv", "question,answer\n" + "Hi,Hello\n" * 5000)])

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets.preview(studio, upload_id, tick=stop)
    assert list((studio.home.uploads / upload_id / ".readings").iterdir()) == []
    assert list(studio.home.datasets.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (lines(chosen="Because.", rejected="No idea."), "preference pairs"),
        (lines(completion="Because.", label=True), "answers marked good or bad"),
    ],
)
@pytest.mark.usefixtures("pretend_starter")
def test_what_cannot_be_trained_on_yet_is_kept_and_said(
    studio: Studio, tmp_path: Path, content: str, what: str
) -> None:
    upload_id = uploads.keep(studio, [write(tmp_path, "a.jsonl", content)])
    assert datasets.make(studio, upload_id).usable_rows == 12
    with pytest.raises(DataError, match=f"can keep and show {what}, but cannot train on them yet"):
        runs.start(studio, upload_id, None, "starter", {})


def test_a_data_set_keeps_the_files_it_was_made_of(studio: Studio, tmp_path: Path) -> None:
    content = '{"question": "Hi", "answer": "Hello"}\n' * 12
    files = [write(tmp_path, name, content) for name in ("examples.jsonl", "more.jsonl")]
    upload_id = uploads.keep(studio, files)
    dataset = datasets.make(studio, upload_id)
    with rows.opened(studio.home, dataset.id) as book:
        kept = [example.conversation for example in book.read(1)]
    assert [(c.file, c.row) for c in kept[10:14]] == [
        ("examples.jsonl", 11), ("examples.jsonl", 12), ("more.jsonl", 1), ("more.jsonl", 2),
    ]  # fmt: skip
    assert sorted(path.name for path in (studio.home.dataset(dataset.id) / "source").iterdir()) == [
        "examples.jsonl", "more.jsonl",
    ]  # fmt: skip


def test_a_repair_is_offered_with_before_and_after(studio: Studio, tmp_path: Path) -> None:
    content = '{"question": "Hi", "answer": "Hello"}\n' * 12 + "{'question': 'Hi', 'answer': 'Ciao',}\n"
    upload_id = uploads.keep(studio, [write(tmp_path, "a.jsonl", content)])
    view = datasets.preview(studio, upload_id)
    assert (view.usable_rows, view.mendable) == (12, 1)
    assert [(m.row, m.before, m.after) for m in view.mendings] == [
        (13, "{'question': 'Hi', 'answer': 'Ciao',}", '{"question": "Hi", "answer": "Ciao"}')
    ]
    assert datasets.preview(studio, upload_id, Mapping(shape="", reading=Reading(repair=True))).usable_rows == 13


def test_a_file_of_nothing_but_broken_lines_can_be_mended(studio: Studio, tmp_path: Path) -> None:
    upload_id = uploads.keep(studio, [write(tmp_path, "a.jsonl", "{'question': 'Hi', 'answer': 'Ciao',}\n" * 12)])
    view = datasets.preview(studio, upload_id)
    assert "None of the rows can be learned from" in view.problem and view.mendable == 12
    mended = datasets.preview(studio, upload_id, Mapping(shape="", reading=Reading(repair=True)))
    assert (mended.usable_rows, mended.problem) == (12, "")


def test_a_whole_file_that_is_not_quite_json_can_be_mended(studio: Studio, tmp_path: Path) -> None:
    content = "[" + '{"question": "Hi", "answer": "Hello"},\n' * 12 + "]"
    upload_id = uploads.keep(studio, [write(tmp_path, "a.json", content)])
    view = datasets.preview(studio, upload_id)
    assert "not valid JSON at line 13" in view.problem and len(view.mendings) == 1
    with pytest.raises(DataError, match="not valid JSON"):
        datasets.make(studio, upload_id)
    assert datasets.preview(studio, upload_id, Mapping(shape="", reading=Reading(repair=True))).usable_rows == 12


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        (Mapping(question="question", answer="nowhere"), "There is no column “nowhere”"),
        (Mapping(question="answer", answer="answer"), "are the same column (“answer”)"),
        (Mapping(question_template="{name}?", answer="answer"), "There is no column “name”"),
        (
            Mapping(question_template="Why?", answer="answer"),
            "names no column. Write one in curly brackets: {question}",
        ),
        (Mapping(shape="preference"), "No column looks like the worse answer"),
    ],
)
def test_a_mapping_that_does_not_fit_is_said(studio: Studio, faq: Path, mapping: Mapping, sentence: str) -> None:
    view = datasets.preview(studio, datasets.keep_upload(studio, faq, faq.name), mapping)
    assert sentence in view.problem and view.columns == ["question", "answer"]


def test_questions_alone_are_no_examples(studio: Studio, tmp_path: Path) -> None:
    upload_id = uploads.keep(studio, [write(tmp_path, "a.jsonl", lines())])
    assert "There are no answers to learn from" in datasets.preview(studio, upload_id).problem


def test_a_table_without_one_sound_row_says_what_is_wrong_with_them(studio: Studio, tmp_path: Path) -> None:
    upload_id = uploads.keep(studio, [write(tmp_path, "a.csv", "text\n" + "Some words, and more\n" * 12)])
    assert "has 2 cells where the header has 1" in datasets.preview(studio, upload_id).problem


def test_labels_are_counted_and_listed(studio: Studio, tmp_path: Path) -> None:
    content = "text,category\n" + "".join(f"Mail {n} about it,{('refund', 'delay')[n % 2]}\n" for n in range(20))
    view = datasets.preview(studio, uploads.keep(studio, [write(tmp_path, "a.csv", content)]))
    assert view.words == "20 examples. Text = text, label = category. 2 labels; it learns to answer with one of them."
    assert view.examples[0].messages[0].content == "Answer with one of these labels: refund, delay."


@pytest.mark.usefixtures("pretend_starter")
def test_texts_are_trained_on_in_full_rows(studio: Studio, tmp_path: Path) -> None:
    upload_id = uploads.keep(studio, [write(tmp_path, "a.jsonl", texts(12))])
    assert "style and vocabulary, not reliable facts" in datasets.preview(studio, upload_id).advice
    run = runs.start(studio, upload_id, None, "starter", {})
    assert run.recipe["packing"] is True
    assert lengths.too_long(studio, run.dataset_id, "starter") is None


@pytest.mark.usefixtures("pretend_starter")
def test_a_short_text_is_kept_and_the_reason_not_to_train_on_it_said(studio: Studio, tmp_path: Path) -> None:
    upload_id = uploads.keep(studio, [write(tmp_path, "a.jsonl", texts(3))])
    assert datasets.make(studio, upload_id).usable_rows == 3
    with pytest.raises(DataError, match="Texts of 3 pages can be kept and shown, but are too few to train on"):
        runs.start(studio, upload_id, None, "starter", {})
