"""What must hold at every moment, in the database, on the disk, and in the words a user is shown."""

from pathlib import Path

from studio.core.run_state import ENDED, MOVES, RunStatus
from studio.services import runs as services
from studio.services.context import Studio
from studio.store import checkpoints, metrics, runs
from studio.store.artifacts import PARTIAL, is_whole
from studio.store.tables import Run
from tests.faults.stub import as_loss, next_of, start_of, value_after

UNWORTHY = ("traceback", "error:", "exception", "none", "nan", "{", "errno")


def now(studio: Studio, damaged: set[Path]) -> list[str]:
    """What is wrong, in sentences, while everything goes on; `damaged` are folders that the test itself has spoiled."""
    wrong = []
    running = runs.with_status(studio.db, RunStatus.RUNNING)
    if len(running) > 1:
        wrong.append(f"{len(running)} runs are running on one device")
    for folder in (*studio.home.runs.glob("*/checkpoints/*"), *studio.home.runs.glob("*/adapter-*")):
        if not folder.name.endswith(PARTIAL) and folder not in damaged and not is_whole(folder) and folder.exists():
            wrong.append(f"{folder.relative_to(studio.home.path)} has its final name and is not whole")
    for run in runs.every(studio.db):
        wrong += [f"run {run.id}: {words}" for words in (*_history(studio, run), *_words(studio, run))]
    return wrong


def at_the_end(studio: Studio, damaged: set[Path]) -> list[str]:
    wrong = now(studio, damaged)
    for run in runs.every(studio.db):
        wrong += [f"run {run.id}: {words}" for words in _result(studio, run)]
    return wrong


def _history(studio: Studio, run: Run) -> list[str]:
    """Every move allowed, each from where the one before it ended."""
    wrong, at = [], None
    for event in runs.events(studio.db, run.id):
        if event.old != at:
            wrong.append(f"moved from {event.old} but was {at}")
        if event.old is not None and RunStatus(event.new) not in MOVES.get(RunStatus(event.old), frozenset()):
            wrong.append(f"moved from {event.old} to {event.new}")
        at = event.new
    return wrong


def _words(studio: Studio, run: Run) -> list[str]:
    view = services.view(studio, run.id)
    shown = [
        view.headline,
        *(e.reason for e in view.interruptions),
        view.run.error_message or "",
        view.run.error_hint or "",
    ]
    wrong = [f"says “{text}”" for text in shown if any(bad in text.lower() for bad in UNWORTHY)]
    wrong += [
        f"does not say that nothing is lost: “{event.reason}”"
        for event in view.interruptions
        if "Nothing is lost" not in event.reason and "goes on when the studio runs again" not in event.reason
    ]
    if view.run.status == RunStatus.FAILED and "without getting further" not in (view.run.error_message or ""):
        wrong.append(f"failed: {view.run.error_message}: {(view.run.error_detail or '')[-600:]}")
    return wrong


def _result(studio: Studio, run: Run) -> list[str]:
    """An ended run has the whole of what it should have, and the very values that an untroubled run has."""
    if RunStatus(run.status) not in ENDED:
        return [f"never ended: {run.status}"]
    adapter = runs.adapter_of(studio.db, run.id)
    folders = [p for p in studio.home.run(run.id).glob("adapter-*") if not p.name.endswith(PARTIAL)]
    if run.status == RunStatus.DISCARDED:
        return ["was discarded and left an adapter"] if adapter else []
    if adapter is None:
        return [f"{run.status} without an adapter"]
    wrong = []
    folder = studio.home.path / adapter.path
    steps = run.summary["steps"]
    value = "".join((folder / f"part-{i}").read_text() for i in range(3))
    if not is_whole(folder) or value != value_after(run, steps):
        wrong.append(f"its adapter is not what {steps} steps give")
    if run.status == RunStatus.SUCCEEDED:
        if steps != run.total_steps:
            wrong.append(f"succeeded after {steps} of {run.total_steps} steps")
        if checkpoints.of(studio.db, run.id):
            wrong.append("succeeded and still has checkpoints")
    expected, value = [], start_of(run)
    for _ in range(steps):
        value = next_of(value)
        expected.append(as_loss(value))
    rows = metrics.read(studio.db, run.id)
    if [row["train_loss"] for row in rows] != expected:
        wrong.append("its losses are not those of an untroubled run")
    writers = [row["tokens"] for row in rows]  # the fence under which each step was written
    if writers != sorted(writers):
        wrong.append(f"a process wrote that had lost its claim: {writers}")
    if adapter.path != str(studio.home.adapter(run.id, run.fence).relative_to(studio.home.path)):
        wrong.append(f"its adapter {adapter.path} is not from the last claim ({run.fence})")
    if folders != [folder]:
        wrong.append(f"left folders behind: {[p.name for p in folders]}")
    return wrong
