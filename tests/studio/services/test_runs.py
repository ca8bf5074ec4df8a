from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from studio.core.errors import DataError, ModelError, NotFound, RecipeError, StudioError
from studio.core.run_state import RunStatus, Wish
from studio.services import datasets, runs
from studio.services.context import Studio
from studio.store import checkpoints
from studio.store import runs as run_rows
from studio.store.artifacts import Published
from studio.store.db import Database
from studio.store.runs import Claim, Death

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


def claimed(studio: Studio, faq: Path, checkpoint: bool = True) -> tuple[int, Claim]:
    """A run that somebody trains, with a checkpoint at step 7 if wished."""
    run = runs.start(studio, upload(studio, faq), None, "starter", {})
    claim = run_rows.claim(studio.db, run.id)
    assert claim
    if checkpoint:
        with studio.db.writing() as session:
            run_rows.report(session, claim, step=9, total_steps=40)
            checkpoints.add(session, studio.home, run.id, 7, claim.fence, Published(1, "s"))
    return run.id, claim


def test_a_waiting_run_is_paused_at_once_and_goes_on_at_the_end_of_the_line(studio: Studio, faq: Path) -> None:
    first, second = (runs.start(studio, upload(studio, faq), None, "starter", {}).id for _ in range(2))
    assert runs.pause(studio, first).status == RunStatus.PAUSED == runs.pause(studio, first).status
    assert runs.resume(studio, first).status == RunStatus.QUEUED == runs.resume(studio, first).status
    assert run_rows.next_in_line(studio.db) == second


def test_pausing_a_running_run_is_a_wish(studio: Studio, faq: Path) -> None:
    run_id, claim = claimed(studio, faq)
    assert runs.pause(studio, run_id).wish == "pause"
    assert run_rows.move(studio.db, run_id, RunStatus.PAUSED, "by the user", claim.fence)
    view = runs.view(studio, run_id)
    assert view.headline == "Paused at step 9." and view.checkpoint_step == 7 and view.rests and not view.ended


def test_a_paused_run_is_kept_by_a_process_or_discarded_at_once(studio: Studio, faq: Path) -> None:
    for discard, status in ((False, RunStatus.QUEUED), (True, RunStatus.DISCARDED)):
        run_id, claim = claimed(studio, faq)
        run_rows.move(studio.db, run_id, RunStatus.PAUSED, "", claim.fence)
        run = runs.stop(studio, run_id, discard)
        assert run.status == status and (discard or run.wish == "keep")


def test_a_failed_run_goes_on_or_is_kept(studio: Studio, faq: Path) -> None:
    run_id, claim = claimed(studio, faq)
    run_rows.move(studio.db, run_id, RunStatus.FAILED, "", claim.fence, error_message="It broke.", attempts=3)
    run = runs.resume(studio, run_id)
    assert (run.status, run.error_message, run.attempts) == (RunStatus.QUEUED, None, 0)
    run_rows.claim(studio.db, run_id)
    run_rows.move(studio.db, run_id, RunStatus.FAILED, "", 2, error_message="It broke.")
    assert runs.stop(studio, run_id, discard=False).wish == "keep"


def test_an_interrupted_run_waits_with_its_story_and_can_still_be_stopped(studio: Studio, faq: Path) -> None:
    run_id, claim = claimed(studio, faq)
    run_rows.account_for(studio.db, run_id, claim.fence, Death("The process died.", "Try again."))
    view = runs.view(studio, run_id)
    assert view.headline == "Recovering: it goes on in a moment (attempt 2 of 3)."
    assert view.interruptions[0].reason.startswith("The process died. Nothing is lost: the run goes on from step 7")
    assert runs.stop(studio, run_id, discard=False).status == RunStatus.QUEUED
    assert runs.view(studio, run_id).headline.startswith("Stopping")


def test_a_stop_that_meets_a_moving_run_is_not_lost(studio: Studio, faq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, claim = claimed(studio, faq)
    ask = run_rows.ask

    def late(db: Database, asked: int, wish: Wish) -> bool:
        monkeypatch.setattr(run_rows, "ask", ask)
        run_rows.move(db, asked, RunStatus.PAUSED, "", claim.fence)  # in the very moment before the wish is written
        return ask(db, asked, wish)

    monkeypatch.setattr(run_rows, "ask", late)
    run = runs.stop(studio, run_id, discard=False)
    assert (run.status, run.wish) == (RunStatus.QUEUED, "keep")


def test_what_cannot_go_on_says_what_to_do_instead(studio: Studio, faq: Path) -> None:
    run = runs.start(studio, upload(studio, faq), None, "starter", {})
    runs.stop(studio, run.id, discard=True)
    with pytest.raises(StudioError, match="cannot go on: stopped and discarded"):
        runs.resume(studio, run.id)
    with pytest.raises(StudioError, match="already ended"):
        runs.pause(studio, run.id)


def test_a_model_is_trained_further_once_for_each_press(
    studio: Studio, faq: Path, add_adapter: Callable[..., int], chat_models: Path
) -> None:
    trained = replace(studio, home=replace(studio.home, models=chat_models))
    first = add_adapter(trained)
    made = [runs.train_further(trained, first, epochs=2, request_key="k") for _ in range(2)]
    assert made[0].id == made[1].id and made[0].parent_id == first and made[0].recipe["epochs"] == 2
    waiting = runs.start(trained, upload(trained, faq), None, "tiny", {}).id
    with pytest.raises(NotFound, match="still waiting"):
        runs.train_further(trained, waiting)


@pytest.mark.parametrize("text", ["", "x", "-1", "1e9", "9" * 40, "١", "<script>"])
def test_what_is_no_run_number_is_said_in_words(text: str) -> None:
    with pytest.raises(NotFound, match="There is no run"):
        runs.parse_id(text)
