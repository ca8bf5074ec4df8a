"""Runs: start one, watch it, stop it, list them."""

from collections.abc import Mapping as Choices
from dataclasses import dataclass
from typing import Any

from studio.core.errors import NotFound, StudioError
from studio.core.mapping import Mapping
from studio.core.recipe import Recipe, build
from studio.core.run_state import ENDED, RunStatus, Wish
from studio.data.split import validation_count
from studio.services import base_models, datasets, hold_back, lengths, report
from studio.services.context import Studio
from studio.store import metrics, runs
from studio.store.datasets import get as get_dataset
from studio.store.datasets import opened
from studio.store.tables import Adapter, Run, Sample

LOG_TAIL_BYTES = 20_000


@dataclass(frozen=True)
class RunView:
    """A run as a page shows it."""

    run: Run
    recipe: Recipe
    base_name: str
    headline: str  # its state in words
    share_done: float  # 0 to 1
    adapter: Adapter | None

    @property
    def ended(self) -> bool:
        return RunStatus(self.run.status) in ENDED


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
    build(choices, view.usable_rows, base_models.parameters(studio, base_id))
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
        recipe = hold_back.settled(
            studio, build(choices, kept.usable, base_models.parameters(studio, base_id)), dataset_id
        )
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
    run = runs.get(studio.db, run_id)
    if RunStatus(run.status) in ENDED:
        raise StudioError(f"Run {run_id} has already ended: {headline(run, 0).lower()}")
    if run.status == RunStatus.QUEUED and runs.move(studio.db, run_id, RunStatus.DISCARDED, "taken out of the line"):
        return runs.get(studio.db, run_id)
    runs.ask(studio.db, run_id, Wish.DISCARD if discard else Wish.KEEP)
    return runs.get(studio.db, run_id)


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
    )


def every(studio: Studio) -> list[Run]:
    """The newest first."""
    return runs.every(studio.db)


def curve(studio: Studio, run_id: int, at_most: int = 1000) -> list[dict[str, Any]]:
    """The run's metric rows in order of step, thinned out to about `at_most`."""
    return metrics.read(studio.db, run_id, at_most)


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
    if run.status == RunStatus.QUEUED:
        return "Waiting: it is next." if ahead == 0 else f"Waiting: {ahead} run{'s' if ahead > 1 else ''} before it."
    if run.status == RunStatus.RUNNING:
        if run.wish:
            return "Stopping…" if run.wish == Wish.DISCARD else "Stopping; what it has learned is being kept…"
        return {
            "loading": "Loading the base model…",
            "checking": "Asking the untrained model first, to compare…",
            "training": "Training…",
            "saving": "Saving the adapter…",
        }.get(run.phase or "", "Starting…")
    return {
        RunStatus.SUCCEEDED: "Done. Your model is ready.",
        RunStatus.STOPPED: f"Stopped after step {run.step:,}. What it learned is kept.",
        RunStatus.DISCARDED: "Stopped and discarded.",
        RunStatus.FAILED: "It did not work out.",
    }[RunStatus(run.status)]


def _share_done(run: Run) -> float:
    if run.status == RunStatus.SUCCEEDED:
        return 1.0
    return min(1.0, run.step / run.total_steps) if run.total_steps else 0.0
