"""A data set from its upload to a run: report, repairs, edits, versions, what is held back, what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.errors import DataError, NotFound, RecipeError, StudioError
from studio.core.mapping import Mapping
from studio.core.recipe import Recipe
from studio.diagnostics.repairs import REPAIRS
from studio.services import checkup, datasets, examples, library, report, runs
from studio.services.context import Studio
from studio.services.examples import Part
from studio.store import datasets as rows
from workers.examples import parts

pytestmark = pytest.mark.usefixtures("pretend_starter")
MESSY = [
    ("What is item 3?", "Item 3 is on shelf 21."),  # exactly what row 4 says
    ("what is ITEM 5", "Item 5 is on shelf 35"),
    ("What is item 8?", "Nobody knows."),
    ("CafÃ© ouvert?", "<p>Oui &amp; non</p>"),
    ("Write to whom?", "To ann@example.org or +49 30 1234567, card 4111 1111 1111 1111."),
    ("Dear {{name}}, how are you?", "Well.<|im_end|>"),
    ("The key?", "sk-abcdefghijklmnopqrstuv12"),
]


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """20 good rows on lines 2 to 21, then MESSY, then one without an answer."""
    path = tmp_path / "messy.csv"
    good = [(f"What is item {n}?", f"Item {n} is on shelf {n * 7}.") for n in range(1, 21)]
    lines = [f'"{q}","{a}",c{i % 4}' for i, (q, a) in enumerate([*good, *MESSY, ("Silent?", "")])]
    path.write_text("question,answer,customer\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def dataset(studio: Studio, messy: Path) -> Iterator[int]:
    yield datasets.make(studio, datasets.keep_upload(studio, messy, messy.name)).id


def answers(studio: Studio, dataset_id: int, version: int | None = None) -> list[str]:
    with rows.opened(studio.home, dataset_id) as book:
        return [e.conversation.answer for e in book.read(book.version(version).number)]


def test_the_report_names_what_is_wrong_with_the_rows_of_the_users_own_file(studio: Studio, dataset: int) -> None:
    found = {finding.kind: finding for finding in report.report(studio, dataset).findings}
    assert {kind: found[kind].rows for kind in found if kind not in ("too_few", "overlap", "mixed_languages")} == {
        "duplicates": (22,), "near_duplicates": (23,), "contradictions": (9, 24), "mojibake": (25,), "html": (25,),
        "emails": (26,), "phones": (26,), "cards": (26,), "placeholders": (27,), "template_tokens": (27,),
        "secrets": (28,), "no_answer": (29,),
    }  # fmt: skip
    assert found["no_answer"].message.startswith("1 row left out: it has a question but no answer.")
    assert found["too_few"].severity == "warning"


@pytest.mark.parametrize("kind", list(REPAIRS))
def test_every_repair_is_shown_done_and_undone(studio: Studio, dataset: int, kind: str) -> None:
    before, first = answers(studio, dataset), examples.version(studio, dataset)
    assert report.report(studio, dataset).state == "ready"
    (sample,) = report.samples(studio, dataset, 1, kind)
    assert sample.after is None or report.texts(sample.before) != report.texts(sample.after)
    assert report.repair(studio, dataset, 1, kind).number == 2
    assert kind not in {finding.kind for finding in report.report(studio, dataset).findings}
    undone = examples.undo(studio, dataset, 2)
    assert answers(studio, dataset) == before and undone.sha256 == first.sha256
    assert undone.change == f"Undone: {REPAIRS[kind].done}"
    assert kind in {finding.kind for finding in report.report(studio, dataset).findings}


def test_a_cell_is_edited_and_what_makes_no_sense_is_refused(studio: Studio, dataset: int) -> None:
    made = examples.edit(studio, dataset, 1, 0, Part(index=1), " On shelf <b>8</b>.\r\n")
    assert (made.number, answers(studio, dataset)[0]) == (2, "On shelf <b>8</b>.")
    for part, text, words in (
        (Part(index=1), "  ", "cannot be empty"),
        (Part(index=7), "x", "no such text"),
        (Part("rejected"), "x", "no such text"),
        (Part("learn"), "x", "no such text"),
        (Part(index=1), "x" * 1_000_001, "longer than 1,000,000"),
    ):
        with pytest.raises(DataError, match=words):
            examples.edit(studio, dataset, 2, 0, part, text)
    with pytest.raises(DataError, match="changed meanwhile"):
        examples.delete(studio, dataset, 1, [1])
    with pytest.raises(DataError, match="No row is chosen"):
        examples.delete(studio, dataset, 2, [])


def test_a_page_is_filtered_searched_and_opened_at_a_row(studio: Studio, dataset: int) -> None:
    report.report(studio, dataset)
    assert examples.page(studio, dataset).count == 27
    page = examples.page(studio, dataset, kind="cards")
    assert (page.count, [e.conversation.row for e in page.examples]) == (1, [26])
    assert page.kinds[page.examples[0].position] == ["cards", "emails", "phones"]
    assert examples.page(studio, dataset, words="SHELF 21").count == 2
    assert examples.page(studio, dataset, row=27).number == 1
    assert examples.page(studio, dataset, number=99).examples == []


def test_a_run_keeps_the_version_it_was_started_on(studio: Studio, dataset: int) -> None:
    report.report(studio, dataset)
    report.repair(studio, dataset, 1, "duplicates")
    run = runs.start_on(studio, dataset, 2, "starter", {"preset": "quick"})
    examples.delete(studio, dataset, 2, [0, 1, 2])
    assert (run.dataset_version, run.data["rows"]) == (2, 26)
    assert run.data["sha256"] == examples.version(studio, dataset, 2).sha256
    to_learn, held_back = parts(studio.home, run, Recipe.model_validate(run.recipe))
    assert (len(to_learn), len(held_back)) == (run.data["train_rows"], run.data["validation_rows"]) == (23, 3)
    again = runs.start_of(studio, run.id)
    assert (again.dataset_id, again.version) == (dataset, 2)


def test_what_is_not_to_be_learned_is_left_out_of_a_run(studio: Studio, dataset: int) -> None:
    examples.mark(studio, dataset, 1, [0, 1], learn=False)
    run = runs.start_on(studio, dataset, 2, "starter", {})
    assert run.data["rows"] == 25
    assert all(c.row not in (2, 3) for part in parts(studio.home, run, Recipe()) for c in part)
    examples.mark(studio, dataset, 2, list(range(20)), learn=False)
    with pytest.raises(DataError, match="7 examples are too few to learn from"):
        runs.start_on(studio, dataset, 3, "starter", {})


def test_rows_of_one_group_are_held_back_together(studio: Studio, dataset: int) -> None:
    run = runs.start_on(studio, dataset, 1, "starter", {"hold_back": "group", "hold_back_by": "customer"})
    to_learn, held_back = parts(studio.home, run, Recipe.model_validate(run.recipe))
    groups = [{(c.row - 2) % 4 for c in part} for part in (to_learn, held_back)]
    assert groups[1] and not groups[0] & groups[1]
    assert (len(to_learn), len(held_back)) == (run.data["train_rows"], run.data["validation_rows"])
    with pytest.raises(RecipeError, match=r"no column “shop” to group by\. The columns are “question”"):
        runs.start_on(studio, dataset, 1, "starter", {"hold_back": "group", "hold_back_by": "shop"})


def test_another_data_set_may_be_held_back(studio: Studio, dataset: int, faq: Path) -> None:
    other = datasets.make(studio, datasets.keep_upload(studio, faq, "faq.csv")).id
    run = runs.start_on(studio, dataset, 1, "starter", {"hold_back": "dataset", "hold_back_by": str(other)})
    assert run.recipe["hold_back_by"] == f"{other}@1"
    assert (run.data["train_rows"], run.data["validation_rows"]) == (27, 20)
    to_learn, held_back = parts(studio.home, run, Recipe.model_validate(run.recipe))
    assert (len(to_learn), len(held_back)) == (27, 20)
    for by in ("", "99", str(dataset), "x@y"):
        with pytest.raises(RecipeError, match=r"no data set|cannot check itself"):
            runs.start_on(studio, dataset, 1, "starter", {"hold_back": "dataset", "hold_back_by": by})


def test_data_sets_are_listed_named_and_kept_while_a_run_uses_them(studio: Studio, dataset: int, messy: Path) -> None:
    library.rename(studio, dataset, "  Shelves \n and  shops ")
    (kept,) = library.every(studio)
    assert (kept.dataset.name, kept.newest.rows, kept.runs) == ("Shelves and shops", 27, [])
    assert kept.size_bytes > messy.stat().st_size
    before = library.uploaded_before(studio, datasets.keep_upload(studio, messy, messy.name))
    assert before and before.dataset.id == dataset
    run = runs.start_on(studio, dataset, 1, "starter", {}, name="Helper")
    with pytest.raises(StudioError, match=f"Run {run.id}, “Helper”, learned from it"):
        library.delete(studio, dataset)
    other = datasets.make(studio, datasets.keep_upload(studio, datasets.SAMPLE, "sample.csv")).id
    library.delete(studio, other)
    assert [kept.dataset.id for kept in library.every(studio)] == [dataset]
    assert not studio.home.dataset(other).exists()
    with pytest.raises(NotFound):
        report.report(studio, other)


def test_a_version_is_downloaded_as_lines_of_json_that_can_be_uploaded(
    studio: Studio, dataset: int, tmp_path: Path
) -> None:
    examples.mark(studio, dataset, 1, [0], learn=False)
    content = b"".join(examples.jsonl(studio, dataset, 2))
    assert json.loads(content.splitlines()[0])["messages"][1] == {
        "role": "assistant", "content": "Item 1 is on shelf 7.", "weight": 0,
    }  # fmt: skip
    path = tmp_path / "again.jsonl"
    path.write_bytes(content)
    assert datasets.preview(studio, datasets.keep_upload(studio, path, path.name)).usable_rows == 26
    assert library.file_name(studio, dataset, 2) == "messy-v2.jsonl"
    with pytest.raises(NotFound):
        examples.jsonl(studio, dataset, 9)


@pytest.mark.parametrize("text", ["", "x", "-1", "1@x", "9" * 40, "<b>"])
def test_what_is_no_number_of_a_data_set_is_said_in_words(text: str) -> None:
    with pytest.raises(NotFound, match="There is no data set"):
        library.parse(text)


def test_a_checkup_says_whether_files_can_be_trained_on(studio: Studio, messy: Path, tmp_path: Path) -> None:
    found = checkup.checkup(studio, datasets.keep_upload(studio, messy, messy.name), Mapping(shape=""))
    shown = found.as_dict()
    assert (shown["rows"], shown["usable_rows"], shown["usable"], shown["tokens"]) == (28, 27, True, None)
    assert {"kind", "severity", "count", "rows", "message", "repair"} == set(shown["findings"][0])
    few = tmp_path / "few.csv"
    few.write_text("question,answer\nHi,Hello\nBye,\n")
    found = checkup.checkup(studio, datasets.keep_upload(studio, few, few.name), Mapping(shape=""))
    assert found.problem.startswith("1 example is too few to learn from")
    assert library.every(studio) == []
    assert not list(studio.home.uploads.glob("*.partial"))
