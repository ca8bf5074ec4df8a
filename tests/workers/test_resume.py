"""A run that was interrupted ends bit for bit as one that was not."""

from collections.abc import Callable
from typing import Any

import pytest

from studio.core.conversation import Conversation, write_jsonl
from studio.core.recipe import Recipe
from studio.core.run_state import Phase, RunStatus, Wish
from studio.store import checkpoints, metrics, runs
from studio.store.db import Database
from studio.store.home import Home
from studio.store.runs import Death
from studio.store.tables import Dataset
from workers.attempt import work
from workers.progress import Progress
from workers.train import train
from workers.trainer import AnswerTrainer

# PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

STEPS = 12
RECIPE: dict[str, Any] = {
    "rank": 4, "learning_rate": 5e-3, "max_steps": STEPS, "epochs": 5, "max_length": 128, "dropout": 0.1,
    "checkpoint_steps": 2,
}  # fmt: skip
KILLED = Death("It was killed.", "", own_fault=False)


class Killed(BaseException):
    """Ends the training thread where it stands, as a kill would; nothing in the worker catches it."""


@pytest.fixture
def queue(here: Home, db: Database, conversations: list[Conversation]) -> Callable[..., int]:
    with db.writing() as session:
        dataset = Dataset(
            name="d", filename="d", sha256="", shape="", mapping={}, columns=[], rows=24, usable_rows=24, skipped=[]
        )
        session.add(dataset)
        session.flush()
    here.dataset(dataset.id).mkdir()
    write_jsonl(here.examples(dataset.id), conversations)

    def create(**choices: Any) -> int:
        recipe = Recipe.model_validate(RECIPE | choices).model_dump()
        return runs.create(db, name="run", recipe=recipe, dataset_id=dataset.id, data={}, base_id="starter").id

    return create


def attempt(here: Home, db: Database, run_id: int) -> str:
    claim = runs.claim(db, run_id)
    assert claim
    try:
        work(here, db, claim, train)
    except Killed:
        runs.account_for(db, run_id, claim.fence, KILLED)
    return runs.get(db, run_id).status


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    point = Progress.point

    def killed(self: Progress, at: int, now: bool = False, **values: Any) -> None:
        point(self, at, now, **values)
        if at == step and "train_loss" in values:
            raise Killed

    monkeypatch.setattr(Progress, "point", killed)


def kill_before_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = Progress.phase

    def killed(self: Progress, new: Phase) -> None:
        if new is Phase.SAVING:
            raise Killed
        phase(self, new)

    monkeypatch.setattr(Progress, "phase", killed)


def result(db: Database, run_id: int) -> tuple[list[Any], str]:
    """What must be the same: all that was measured at every step, and the adapter's bytes."""
    rows = metrics.read(db, run_id)
    adapter = runs.adapter_of(db, run_id)
    assert adapter
    exact = (
        "step", "train_loss", "validation_loss", "learning_rate", "gradient_norm", "tokens",
        "token_accuracy", "validation_accuracy",
    )  # fmt: skip
    return [[row[name] for name in exact] for row in rows], adapter.sha256


@pytest.mark.parametrize(
    "choices",
    [
        {"bits": 16},
        {"bits": 4},
        {"bits": 16, "packing": True, "max_length": 64},
        {"bits": 4, "batch_size": 2, "gradient_accumulation": 3, "scheduler": "linear"},
        {
            "bits": 16,
            "optimizer": "adamw-8bit",
            "scheduler": "wsd",
            "neftune_alpha": 5,
            "label_smoothing": 0.1,
            "gradient_checkpointing": "on",
            "lora_plus_ratio": 4,
            "weight_decay": 0.1,
            "max_gradient_norm": 0,
        },
        {"bits": 16, "method": "adalora"},
        {"bits": 4, "method": "dylora", "dropout": 0},
        {"bits": 16, "initialization": "pissa", "dropout": 0},
        {"bits": 16, "method": "full"},
        {"bits": 4, "method": "prefix"},
    ],
    ids=[
        "dropout",
        "nf4",
        "packing",
        "accumulation",
        "everything-else",
        "adalora",
        "dylora",
        "pissa",
        "full",
        "prefix",
    ],
)
def test_three_kills_change_nothing(
    here: Home, db: Database, queue: Callable[..., int], choices: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = queue(**choices), queue(**choices)
    assert attempt(here, db, whole) == RunStatus.SUCCEEDED
    for step in (3, 6, 11):  # in the middle of a pass, at its end or the beginning of the next, and near the end
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            assert attempt(here, db, killed) == RunStatus.QUEUED
    assert attempt(here, db, killed) == RunStatus.SUCCEEDED
    assert result(db, killed) == result(db, whole)
    assert "Nothing is lost: the run goes on from step 10" in runs.events(db, killed)[-3].reason
    assert checkpoints.of(db, killed) == [] and not list(here.run(killed).glob("checkpoints/*"))


# corrections so large that the loss on held-back examples jumps about; a checkpoint after every step
OVERFITTING = {
    "bits": 16, "learning_rate": 3e-2, "scheduler": "constant", "warmup_ratio": 0,
    "max_steps": 40, "epochs": 20, "patience": 2, "checkpoint_steps": 1,
}  # fmt: skip


def test_kills_change_nothing_of_a_run_that_stops_early(
    here: Home, db: Database, queue: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = queue(**OVERFITTING), queue(**OVERFITTING)
    assert attempt(here, db, whole) == RunStatus.SUCCEEDED
    run = runs.get(db, whole)
    best, last = run.summary["kept_step"], run.step
    assert best < last < run.total_steps == 40
    for step in (3, best + 1, last):
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            assert attempt(here, db, killed) == RunStatus.QUEUED
    with monkeypatch.context() as patch:  # the newest checkpoint is of the last step: nothing is left to be trained
        kill_before_saving(patch)
        assert attempt(here, db, killed) == RunStatus.QUEUED
    assert checkpoints.of(db, killed)[0].step == last
    assert attempt(here, db, killed) == RunStatus.SUCCEEDED
    assert result(db, killed) == result(db, whole)
    again = runs.get(db, killed)
    for key in ("steps", "kept_step", "ended_early", "validation_loss"):
        assert again.summary[key] == run.summary[key]


def test_a_kill_after_the_last_step_takes_no_further_one(
    here: Home, db: Database, queue: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = {"bits": 16, "max_steps": 7, "checkpoint_steps": 1}  # in the middle of a pass
    whole, killed = queue(**choices), queue(**choices)
    attempt(here, db, whole)
    with monkeypatch.context() as patch:
        kill_before_saving(patch)
        assert attempt(here, db, killed) == RunStatus.QUEUED
    assert attempt(here, db, killed) == RunStatus.SUCCEEDED
    assert result(db, killed) == result(db, whole) and runs.get(db, killed).summary["steps"] == 7


def test_a_run_that_overfits_stops_and_keeps_its_best_weights(
    here: Home, db: Database, queue: Callable[..., int]
) -> None:
    best, last = queue(**OVERFITTING), queue(**OVERFITTING, keep_best=False)
    for run_id in (best, last):
        assert attempt(here, db, run_id) == RunStatus.SUCCEEDED
    run, other = runs.get(db, best), runs.get(db, last)
    losses = {row["step"]: row["validation_loss"] for row in metrics.read(db, best) if row["validation_loss"]}
    kept = run.summary["kept_step"]
    assert losses[kept] == min(loss for step, loss in losses.items() if step) == run.summary["validation_loss"]["kept"]
    assert run.summary["steps"] == run.step == max(losses) > kept
    assert run.summary["ended_early"] == f"Stopped at step {run.step} of 40: no improvement for 2 checks."
    assert kept in {sample.step for sample in metrics.samples(db, best)}
    assert (other.step, other.summary["kept_step"]) == (run.step, run.step)
    first, second = (runs.adapter_of(db, run_id) for run_id in (best, last))
    assert first and second and first.sha256 != second.sha256

    # the adapter on disk is the best one: a run that trains it further begins with its loss
    more = runs.create(
        db, name="more", recipe=run.recipe | {"max_steps": 1}, dataset_id=run.dataset_id, data={}, base_id="starter",
        parent_id=best,
    ).id  # fmt: skip
    attempt(here, db, more)
    assert runs.get(db, more).summary["validation_loss"]["base"] == pytest.approx(losses[kept], rel=1e-3)


def test_patience_of_zero_goes_on_to_the_end_and_still_keeps_the_best(
    here: Home, db: Database, queue: Callable[..., int]
) -> None:
    run_id = queue(**OVERFITTING | {"patience": 0, "max_steps": 20})
    assert attempt(here, db, run_id) == RunStatus.SUCCEEDED
    summary = runs.get(db, run_id).summary
    assert summary["steps"] == 20 and summary["ended_early"] is None
    losses = {row["step"]: row["validation_loss"] for row in metrics.read(db, run_id) if row["validation_loss"]}
    assert summary["kept_step"] == min((step for step in losses if step), key=losses.__getitem__)


def test_computing_activations_twice_changes_nothing(here: Home, db: Database, queue: Callable[..., int]) -> None:
    results = []
    for choice in ("off", "on"):
        run_id = queue(bits=4, max_steps=4, gradient_checkpointing=choice)
        assert attempt(here, db, run_id) == RunStatus.SUCCEEDED
        results.append(result(db, run_id))
    assert results[0] == results[1]


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "muon"])
def test_a_pause_changes_nothing(here: Home, db: Database, queue: Callable[..., int], optimizer: str) -> None:
    whole, paused = (queue(bits=16, optimizer=optimizer, checkpoint_steps=steps) for steps in (2, 0))
    attempt(here, db, whole)
    ask_at_step(here, db, paused, 4, Wish.PAUSE)
    assert runs.get(db, paused).status == RunStatus.PAUSED
    assert [checkpoint.step for checkpoint in checkpoints.of(db, paused)] == [runs.get(db, paused).step]
    assert runs.resume(db, paused) and not runs.resume(db, paused)
    assert attempt(here, db, paused) == RunStatus.SUCCEEDED
    assert result(db, paused) == result(db, whole)


def test_a_stopped_run_goes_on_and_its_first_adapter_stays_until_the_new_one_is_there(
    here: Home, db: Database, queue: Callable[..., int]
) -> None:
    whole, stopped = queue(bits=16), queue(bits=16)
    attempt(here, db, whole)
    ask_at_step(here, db, stopped, 5, Wish.KEEP)
    first = runs.adapter_of(db, stopped)
    assert first and runs.get(db, stopped).status == RunStatus.STOPPED
    assert runs.resume(db, stopped)
    assert (here.path / first.path).is_dir()
    assert attempt(here, db, stopped) == RunStatus.SUCCEEDED
    assert result(db, stopped) == result(db, whole)
    assert not (here.path / first.path).exists()


def test_a_paused_run_can_be_kept_as_it_is(here: Home, db: Database, queue: Callable[..., int]) -> None:
    run_id = queue(bits=16)
    ask_at_step(here, db, run_id, 5, Wish.PAUSE)
    step = runs.get(db, run_id).step
    assert runs.resume(db, run_id, Wish.KEEP)
    assert attempt(here, db, run_id) == RunStatus.STOPPED
    assert runs.get(db, run_id).summary["steps"] == step and runs.adapter_of(db, run_id)


def test_a_damaged_checkpoint_is_passed_over_and_said(
    here: Home, db: Database, queue: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, damaged = queue(bits=16), queue(bits=16)
    attempt(here, db, whole)
    with monkeypatch.context() as patch:
        kill_at(patch, 7)
        attempt(here, db, damaged)
    file = here.path / checkpoints.of(db, damaged)[0].path / "state.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert attempt(here, db, damaged) == RunStatus.SUCCEEDED
    assert result(db, damaged) == result(db, whole)
    notice = runs.get(db, damaged).notice
    assert notice and "(step 6) was damaged on the disk, so training goes on from the one before, step 4" in notice


def test_memory_that_runs_out_makes_smaller_pieces_of_the_same_batch(
    here: Home, db: Database, queue: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, tight = queue(bits=16, dropout=0), queue(bits=16, dropout=0)
    attempt(here, db, whole)
    compute = AnswerTrainer.compute_loss

    def short_of_memory(self: AnswerTrainer, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        if self.state.global_step >= 3 and len(inputs["input_ids"]) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return compute(self, model, inputs, *args, **options)

    monkeypatch.setattr(AnswerTrainer, "compute_loss", short_of_memory)
    assert attempt(here, db, tight) == RunStatus.QUEUED
    assert runs.get(db, tight).adjustments["micro_batch"] == 2
    assert attempt(here, db, tight) == RunStatus.QUEUED
    assert attempt(here, db, tight) == RunStatus.SUCCEEDED
    told = [event.reason for event in runs.events(db, tight)]
    assert any(
        "Memory ran out at step 3. Training goes on from step 2 with fewer examples" in reason for reason in told
    )
    losses = [[row["train_loss"] for row in metrics.read(db, run_id)[1:]] for run_id in (tight, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_memory_that_is_too_small_for_one_example_ends_with_a_suggestion(
    here: Home, db: Database, queue: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = queue(bits=16, batch_size=2)

    def no_memory(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(AnswerTrainer, "compute_loss", no_memory)
    # half the batch, then activations computed twice, then there is nothing left to try
    ends = [attempt(here, db, run_id) for _ in range(3)]
    assert ends == [RunStatus.QUEUED, RunStatus.QUEUED, RunStatus.FAILED]
    assert "computing some things twice" in runs.events(db, run_id)[-3].reason
    assert "Lower “Examples at once”" in str(runs.get(db, run_id).error_hint)


def test_a_loss_that_is_no_number_goes_on_gently_once_and_is_then_kept(
    here: Home, db: Database, queue: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = queue(bits=16)
    compute = AnswerTrainer.compute_loss

    def broken(self: AnswerTrainer, *args: Any, **options: Any) -> Any:
        loss = compute(self, *args, **options)
        return loss * float("nan") if self.state.global_step == 7 else loss

    monkeypatch.setattr(AnswerTrainer, "compute_loss", broken)
    assert attempt(here, db, run_id) == RunStatus.QUEUED
    assert runs.get(db, run_id).adjustments["learning_rate_factor"] == pytest.approx(1 / 3)
    assert attempt(here, db, run_id) == RunStatus.QUEUED
    rates = {row["step"]: row["learning_rate"] for row in metrics.read(db, run_id)}
    assert rates[7] < 0.5 * rates[6]
    assert attempt(here, db, run_id) == RunStatus.STOPPED
    assert runs.get(db, run_id).summary["steps"] == 6


def test_a_disk_that_is_nearly_full_pauses_the_run(
    here: Home, db: Database, queue: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = queue(bits=16)
    with monkeypatch.context() as patch:
        patch.setattr("workers.checkpoints.RESERVE_BYTES", 1 << 60)
        assert attempt(here, db, run_id) == RunStatus.PAUSED
    assert "MB are needed" in str(runs.get(db, run_id).error_message)
    assert runs.resume(db, run_id)
    assert attempt(here, db, run_id) == RunStatus.SUCCEEDED


def test_a_new_run_starts_from_the_adapter_of_another(here: Home, db: Database, queue: Callable[..., int]) -> None:
    first = queue(bits=16, neftune_alpha=50)  # noise is for learning: checks are without
    attempt(here, db, first)
    run = runs.get(db, first)
    more = runs.create(
        db, name="more", recipe=run.recipe, dataset_id=run.dataset_id, data={}, base_id="starter", parent_id=first
    ).id
    assert attempt(here, db, more) == RunStatus.SUCCEEDED
    first_losses, more_losses = (runs.get(db, i).summary["validation_loss"] for i in (first, more))
    assert more_losses["base"] == pytest.approx(first_losses["kept"], rel=1e-3)


def ask_at_step(here: Home, db: Database, run_id: int, step: int, wish: Wish) -> None:
    """Train until the user's wish, given after `step`, ends the attempt."""
    with pytest.MonkeyPatch.context() as patch:
        point = Progress.point

        def asked(self: Progress, at: int, now: bool = False, **values: Any) -> None:
            point(self, at, now, **values)
            if at == step:
                runs.ask(db, run_id, wish)
                self.commit(lambda _: None)

        patch.setattr(Progress, "point", asked)
        attempt(here, db, run_id)
