from pathlib import Path

import pytest

from studio.core.errors import DataError, ModelError, NotFound, RecipeError, StudioError
from studio.core.run_state import RunStatus
from studio.services import datasets, runs
from studio.services.context import Studio
from studio.store import runs as run_rows

pytestmark = pytest.mark.usefixtures("pretend_starter")


def upload(studio: Studio, path: Path) -> str:
    return datasets.keep_upload(studio, path, path.name)


def test_a_started_run_waits_with_its_recipe_and_data(studio: Studio, faq: Path) -> None:
    run = runs.start(studio, upload(studio, faq), None, "starter", {"preset": "quick", "rank": 4})
    shown = runs.show(studio, run.id)
    assert shown["status"] == "queued"
    assert (shown["recipe"]["preset"], shown["recipe"]["rank"]) == ("quick", 4)
    assert {k: shown["data"][k] for k in ("rows", "train_rows", "validation_rows")} == {
        "rows": 20, "train_rows": 18, "validation_rows": 2,
    }  # fmt: skip
    assert len(studio.doorbell.huey) == 1
    assert runs.view(studio, run.id).headline == "Waiting: it is next."


def test_two_clicks_start_one_run(studio: Studio, faq: Path) -> None:
    clicks = [runs.start(studio, upload(studio, faq), None, "starter", {}, request_key="k").id for _ in range(2)]
    assert clicks[0] == clicks[1] and len(runs.every(studio)) == 1


def test_the_line_is_told(studio: Studio, faq: Path) -> None:
    first, second = (runs.start(studio, upload(studio, faq), None, "starter", {}).id for _ in range(2))
    assert runs.view(studio, second).headline == "Waiting: 1 run before it."
    runs.stop(studio, first, discard=False)
    assert runs.view(studio, second).headline == "Waiting: it is next."


def test_nothing_is_queued_when_something_is_wrong(studio: Studio, faq: Path) -> None:
    good = upload(studio, faq)
    with pytest.raises(RecipeError):
        runs.start(studio, good, None, "starter", {"rank": 0})
    with pytest.raises(ModelError, match="There is no base model"):
        runs.start(studio, good, None, "../../etc", {})
    with pytest.raises(NotFound, match="Choose the file once more"):
        runs.start(studio, "../uploads", None, "starter", {})
    assert runs.every(studio) == []


def test_a_browser_may_not_name_a_folder_but_the_operator_may(studio: Studio, faq: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="There is no base model"):
        runs.start(studio, upload(studio, faq), None, str(folder), {})
    with pytest.raises(ModelError, match=r"no \.safetensors weights"):
        runs.start(studio, upload(studio, faq), None, str(folder), {}, typed_by_operator=True)
    (folder / "model.safetensors").write_bytes(b"")
    assert runs.start(studio, upload(studio, faq), None, str(folder), {}, typed_by_operator=True).id


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("question,answer\n" + "".join(f"q{n} word,a{n} word\n" for n in range(9)), "9 examples are too few"),
        ("id,price\n" + "1,2\n" * 20, "No column looks like the answer"),
        ("question,answer\n" + "why?,\n" * 20, "has a question but no answer"),
    ],
)
def test_data_that_cannot_be_learned_from_is_refused(
    studio: Studio, tmp_path: Path, content: str, sentence: str
) -> None:
    path = tmp_path / "data.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=sentence):
        runs.start(studio, upload(studio, path), None, "starter", {})


def test_the_same_file_is_one_upload_and_one_data_set(studio: Studio, faq: Path) -> None:
    first, second = upload(studio, faq), upload(studio, faq)
    assert first == second
    assert datasets.make(studio, first).id == datasets.make(studio, second).id
    assert (studio.home.dataset(1) / "source" / "faq.csv").is_file()


def test_stopping_an_ended_run_says_so(studio: Studio, faq: Path) -> None:
    run = runs.start(studio, upload(studio, faq), None, "starter", {})
    assert runs.stop(studio, run.id, discard=True).status == RunStatus.DISCARDED
    with pytest.raises(StudioError, match="has already ended"):
        runs.stop(studio, run.id, discard=True)


def test_stopping_a_running_run_is_a_wish(studio: Studio, faq: Path) -> None:
    run = runs.start(studio, upload(studio, faq), None, "starter", {})
    run_rows.claim(studio.db, run.id)
    assert runs.stop(studio, run.id, discard=False).wish == "keep"
    assert runs.view(studio, run.id).headline.startswith("Stopping")


@pytest.mark.parametrize("text", ["", "x", "-1", "1e9", "9" * 40, "١", "<script>"])
def test_what_is_no_run_number_is_said_in_words(text: str) -> None:
    with pytest.raises(NotFound, match="There is no run"):
        runs.parse_id(text)
