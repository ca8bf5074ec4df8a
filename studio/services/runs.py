"""Runs: start one, watch it, stop it, list them."""

import shutil
from collections.abc import Iterator
from collections.abc import Mapping as Choices
from dataclasses import dataclass
from typing import Any

from studio.core.choices import build
from studio.core.errors import NotFound, StudioError
from studio.core.mapping import Mapping
from studio.core.recipe import Recipe
from studio.core.run_state import ENDED, RunStatus, Wish
from studio.data.split import validation_count
from studio.services import advice, base_models, datasets, forecast, hold_back, lengths, report
from studio.services.context import Studio
from studio.store import adapters, checkpoints, metrics, runs
from studio.store.datasets import get as get_dataset
from studio.store.datasets import opened
from studio.store.tables import Adapter, Run, RunEvent, Sample

LOG_TAIL_BYTES = 20_000
METRICS = metrics.COLUMNS


@dataclass(frozen=True)
class RunView:
    """A run as a page shows it."""

    run: Run
    recipe: Recipe
    base_name: str
    headline: str  # its state in words
    share_done: float  # 0 to 1
    adapter: Adapter | None
    checkpoint_step: int | None  # from which it can go on
    interruptions: list[RunEvent]  # what happened to it, each with a sentence

    @property
    def ended(self) -> bool:
        return RunStatus(self.run.status) in ENDED

    @property
    def rests(self) -> bool:
        """Whether nothing happens to it until somebody lets it go on."""
        return self.ended or self.run.status == RunStatus.PAUSED


def start(
    studio: Studio,
    upload_id: str,
    mapping: Mapping | None,
    base_id: str,
    choices: Choices[str, Any],
    name: str = "",
    request_key: str | None = None,
    typed_by_operator: bool = False,
) -> Run:
    """Queue a training run. The same `request_key` again gives the same run, so two clicks start one.

    Raises DataError, RecipeError or ModelError, in words, before anything is queued.
    """
    base_id = base_models.usable(studio, base_id, typed_by_operator)
    view = datasets.preview(studio, upload_id, mapping)
    datasets.check_trainable(view)
    # what is wrong with the settings is said before a data set is made
    facts = advice.of_upload(studio, base_id, view.usable_rows, upload_id, view.mapping)
    build(choices, facts.rows, facts.parameters, facts)
    dataset = datasets.make(studio, upload_id, mapping)
    return start_on(studio, dataset.id, 1, base_id, choices, name, request_key, typed_by_operator)


def start_on(
    studio: Studio,
    dataset_id: int,
    version: int,
    base_id: str,
    choices: Choices[str, Any],
    name: str = "",
    request_key: str | None = None,
    typed_by_operator: bool = False,
) -> Run:
    """The same on a data set that is kept, in one of its versions. Raises NotFound besides."""
    base_id = base_models.usable(studio, base_id, typed_by_operator)
    dataset = get_dataset(studio.db, dataset_id)
    with opened(studio.home, dataset_id) as book:
        kept = book.version(version)
        facts = advice.of_dataset(studio, base_id, kept.usable, dataset_id, version)
        recipe = hold_back.settled(studio, build(choices, facts.rows, facts.parameters, facts), dataset_id)
        held_back = hold_back.count(studio, book, kept, recipe)
        report.require_trainable(book, kept)
    lengths.require_something_to_learn(studio, dataset_id, version, base_id, recipe.max_length)
    to_learn = kept.usable - (0 if recipe.hold_back == "dataset" else held_back)
    run = runs.create(
        studio.db,
        name=name.strip()[:80] or dataset.name.replace("-", " ").replace("_", " ").strip().capitalize(),
        request_key=request_key,
        recipe=recipe.model_dump(),
        dataset_id=dataset.id,
        dataset_version=version,
        data={"rows": kept.usable, "train_rows": to_learn, "validation_rows": held_back, "sha256": kept.sha256},
        base_id=base_id,
    )
    studio.doorbell.ring(run.id)
    forecast.note(studio, run)
    return run


@dataclass(frozen=True)
class Plan:
    """What a recipe means for so many usable rows."""

    train_rows: int
    validation_rows: int
    steps: int


def plan(rows: int, recipe: Recipe) -> Plan:
    held_back = validation_count(rows, recipe.validation_fraction)
    return Plan(rows - held_back, held_back, recipe.steps(rows - held_back))


@dataclass(frozen=True)
class Start:
    """What a run was started with, to start another like it."""

    dataset_id: int
    version: int
    base_id: str
    recipe: Recipe
    name: str


def start_of(studio: Studio, run_id: int) -> Start:
    """Raises NotFound if there is no such run."""
    run = runs.get(studio.db, run_id)
    return Start(run.dataset_id, run.dataset_version, run.base_id, Recipe.model_validate(run.recipe), run.name)


def stop(studio: Studio, run_id: int, discard: bool) -> Run:
    """Ask a run to end: keep what it has learned so far, or discard it. A run that has ended stays as it is."""
    wish = Wish.DISCARD if discard else Wish.KEEP
    while True:  # until one of the moves is made: the run itself may move meanwhile
        run = runs.get(studio.db, run_id)
        status = RunStatus(run.status)
        learned = bool(checkpoints.of(studio.db, run_id))
        if status == RunStatus.FAILED and learned:
            done = _discard(studio, run_id) if discard else runs.resume(studio.db, run_id, wish)
        elif status in ENDED:
            raise StudioError(f"Run {run_id} has already ended: {headline(run, 0).lower()}")
        elif status == RunStatus.RUNNING:
            done = runs.ask(studio.db, run_id, wish)
        elif discard or not learned:
            done = _discard(studio, run_id)
        elif status == RunStatus.PAUSED:
            done = runs.resume(studio.db, run_id, wish)
        else:
            done = runs.ask(studio.db, run_id, wish)
        if done:
            return _rung(studio, run_id)


def pause(studio: Studio, run_id: int) -> Run:
    """Let a run rest; it goes on from where it was when `resume` is called. Raises StudioError if it has ended."""
    while True:
        run = runs.get(studio.db, run_id)
        if run.status == RunStatus.PAUSED:
            return run
        if RunStatus(run.status) in ENDED:
            raise StudioError(f"Run {run_id} has already ended: {headline(run, 0).lower()}")
        if run.status == RunStatus.RUNNING:
            done = runs.ask(studio.db, run_id, Wish.PAUSE)
        else:
            done = runs.move(studio.db, run_id, RunStatus.PAUSED, "by the user")
        if done:
            return runs.get(studio.db, run_id)


def resume(studio: Studio, run_id: int) -> Run:
    """Let a paused, stopped or failed run go on from its checkpoint. One that goes on already is left alone.

    Raises StudioError if it has come to its end, or nothing is left of it.
    """
    if not runs.resume(studio.db, run_id):
        run = runs.get(studio.db, run_id)
        if RunStatus(run.status) in ENDED:
            raise StudioError(
                f"Run {run_id} cannot go on: {headline(run, 0).lower()}",
                "“Train further” starts a new run from its model."
                if run.status == RunStatus.SUCCEEDED
                else "Start a new run with the same data.",
            )
    return _rung(studio, run_id)


def train_further(studio: Studio, run_id: int, epochs: float | None = None, request_key: str | None = None) -> Run:
    """A new run that starts from the adapter of another: the same data and settings, `epochs` more passes.

    Raises NotFound if that run has no adapter, RecipeError if `epochs` cannot be used.
    """
    parent = runs.get(studio.db, run_id)
    adapters.usable(studio.db, studio.home, run_id)
    recipe = Recipe.model_validate(parent.recipe)
    chosen = recipe.model_dump() | {"epochs": epochs or recipe.epochs, "max_steps": 0 if epochs else recipe.max_steps}
    run = runs.create(
        studio.db,
        name=f"{parent.name[:70]}, further",
        request_key=request_key,
        recipe=build(chosen, parent.data["rows"], base_models.parameters(studio, parent.base_id)).model_dump(),
        dataset_id=parent.dataset_id,
        dataset_version=parent.dataset_version,
        data={name: value for name, value in parent.data.items() if name != "forecast"},
        base_id=parent.base_id,
        parent_id=run_id,
    )
    forecast.note(studio, run)
    return _rung(studio, run.id)


def _rung(studio: Studio, run_id: int) -> Run:
    run = runs.get(studio.db, run_id)
    if run.status == RunStatus.QUEUED:
        studio.doorbell.ring(run_id)
    return run


def _discard(studio: Studio, run_id: int) -> bool:
    done = runs.move(studio.db, run_id, RunStatus.DISCARDED, "by the user")
    if done:
        shutil.rmtree(studio.home.run(run_id), ignore_errors=True)
    return done


def view(studio: Studio, run_id: int) -> RunView:
    run = runs.get(studio.db, run_id)
    ahead = runs.place_in_line(studio.db, run_id) if run.status == RunStatus.QUEUED else 0
    return RunView(
        run=run,
        recipe=Recipe.model_validate(run.recipe),
        base_name=base_models.display_name(run.base_id),
        headline=headline(run, ahead),
        share_done=_share_done(run),
        adapter=runs.adapter_of(studio.db, run_id),
        checkpoint_step=next((checkpoint.step for checkpoint in checkpoints.of(studio.db, run_id)), None),
        interruptions=[e for e in runs.events(studio.db, run_id) if _is_interruption(e)],
    )


def _is_interruption(event: RunEvent) -> bool:
    return event.old == RunStatus.RUNNING and event.new == RunStatus.QUEUED


def every(studio: Studio) -> list[Run]:
    """The newest first."""
    return runs.every(studio.db)


def curve(studio: Studio, run_id: int, at_most: int = 1000) -> list[dict[str, Any]]:
    """The run's metric rows in order of step, thinned out to about `at_most`."""
    return metrics.read(studio.db, run_id, at_most)


def all_metrics(studio: Studio, run_id: int) -> Iterator[dict[str, Any]]:
    """Every metric row with all `METRICS`, in order of step."""
    return metrics.every(studio.db, run_id)


def samples(studio: Studio, run_id: int) -> list[Sample]:
    """Answers to held-back questions, by question and then by step; step 0 is the untrained model."""
    return metrics.samples(studio.db, run_id)


def revision(studio: Studio, run_id: int) -> tuple[int, int, int]:
    """Changes whenever `curve` or `samples` would give something new."""
    return metrics.revision(studio.db, run_id)


def log_tail(studio: Studio, run_id: int) -> str:
    path = studio.home.log(run_id)
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode("utf-8", "replace")


def held_back_questions(studio: Studio, run_id: int) -> list[str]:
    """Questions to try in the chat: the held-back ones that the run page shows."""
    return list(dict.fromkeys(sample.question for sample in samples(studio, run_id)))


def show(studio: Studio, run_id: int) -> dict[str, Any]:
    """Everything about a run as plain values, for `--json`."""
    run = runs.get(studio.db, run_id)
    adapter = runs.adapter_of(studio.db, run_id)
    dataset = get_dataset(studio.db, run.dataset_id)
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "phase": run.phase,
        "recipe": run.recipe,
        "data": run.data
        | {
            "id": dataset.id,
            "version": run.dataset_version,
            "name": dataset.name,
            "mapping": dataset.mapping,
            "skipped": dataset.skipped,
        },
        "base": {"id": run.base_id, "fingerprint": run.base_fingerprint},
        "device": run.device,
        "notice": run.notice,
        "progress": {"step": run.step, "total_steps": run.total_steps, "seconds_left": run.seconds_left},
        "metrics": run.summary | {"seconds": run.phase_seconds},
        "adapter": {
            "path": str(studio.home.path / adapter.path),
            "sha256": adapter.sha256,
            "size_bytes": adapter.size_bytes,
        }
        if adapter
        else None,
        "error": {"message": run.error_message, "hint": run.error_hint} if run.error_message else None,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "attempts": run.attempts,
        "adjustments": run.adjustments,
        "starts_from": run.parent_id,
        "checkpoints": [
            {"step": c.step, "size_bytes": c.size_bytes, "at": c.created_at} for c in checkpoints.of(studio.db, run_id)
        ],
        "events": [
            {"at": e.at, "from": e.old, "to": e.new, "reason": e.reason} for e in runs.events(studio.db, run_id)
        ],
    }


def trained(studio: Studio) -> list[RunView]:
    """The runs that left an adapter, the newest first."""
    return [view(studio, adapter.run_id) for adapter in runs.adapters(studio.db)]


def parse_id(text: str) -> int:
    """A run's number as a person or an address bar gives it."""
    digits = str(text).strip().removeprefix("run-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
        raise NotFound(f"There is no run “{str(text)[:40]}”.", "Runs have numbers, for example 3.")
    return int(digits)


def headline(run: Run, ahead: int) -> str:
    """The run's state in words."""
    if run.wish and run.status in (RunStatus.QUEUED, RunStatus.RUNNING):
        return {
            Wish.DISCARD: "Stopping…",
            Wish.KEEP: "Stopping; what it has learned is being kept…",
            Wish.PAUSE: "Pausing after this step…",
        }[Wish(run.wish)]
    if run.status == RunStatus.QUEUED:
        if run.attempts and not ahead:
            return f"Recovering: it goes on in a moment (attempt {run.attempts + 1} of {runs.ATTEMPTS})."
        return "Waiting: it is next." if ahead == 0 else f"Waiting: {ahead} run{'s' if ahead > 1 else ''} before it."
    if run.status == RunStatus.RUNNING:
        return {
            "loading": "Loading the base model…",
            "checking": "Asking the untrained model first, to compare…",
            "training": "Training…",
            "saving": "Saving the adapter…",
        }.get(run.phase or "", "Starting…")
    return {
        RunStatus.PAUSED: f"Paused at step {run.step:,}." if run.step else "Paused.",
        RunStatus.SUCCEEDED: "Done. Your model is ready.",
        RunStatus.STOPPED: f"Stopped after step {run.step:,}. What it learned is kept.",
        RunStatus.DISCARDED: "Stopped and discarded.",
        RunStatus.FAILED: "It did not work out.",
    }[RunStatus(run.status)]


def _share_done(run: Run) -> float:
    if run.status == RunStatus.SUCCEEDED:
        return 1.0
    return min(1.0, run.step / run.total_steps) if run.total_steps else 0.0
