"""The adapter of a run: its row, and its folder if it is whole. One place for why there is none, in words."""

from pathlib import Path

from studio.core.errors import ModelError, NotFound
from studio.core.run_state import RunStatus
from studio.store import runs
from studio.store.artifacts import MANIFEST, is_whole
from studio.store.db import Database
from studio.store.home import Home
from studio.store.tables import Adapter

_NONE_YET = {
    RunStatus.QUEUED: ("it is still waiting to be trained.", "Use it when its training has ended."),
    RunStatus.RUNNING: ("it is still being trained.", "Wait for the end, or press “Stop and keep” on its page."),
    RunStatus.PAUSED: ("it is paused.", "Let it go on, or press “Stop and keep” on its page."),
    RunStatus.FAILED: ("its training failed.", "Its page says why. Start a new run after that."),
    RunStatus.DISCARDED: ("it was stopped and nothing was kept.", "Start a new run with the same data."),
}
_GONE = ("its files are not on this computer any more.", "Train it again, or put its folder back from a backup.")


def usable(db: Database, home: Home, run_id: int) -> Adapter:
    """The adapter that run `run_id` left, with its folder in place.

    Raises NotFound, in words, if there is no such run or it has no adapter.
    """
    run = runs.get(db, run_id)
    found = runs.adapter_of(db, run_id)
    if found is not None and (folder(home, found) / MANIFEST).is_file():
        return found
    why, hint = _NONE_YET.get(RunStatus(run.status), _GONE)
    raise NotFound(f"Run {run_id} has no adapter: {why}", hint)


def whole(db: Database, home: Home, run_id: int, base_fingerprint: str) -> Path:
    """The folder of a run's adapter, every file as it was written.

    Raises NotFound or ModelError, in words, if it is not there, damaged, or made for other base weights.
    """
    found = usable(db, home, run_id)
    if found.base_fingerprint != base_fingerprint:
        raise ModelError(f"The adapter of run {run_id} was made for other base weights.", "Choose its own base model.")
    if not is_whole(folder(home, found)):
        raise ModelError(f"The adapter of run {run_id} is damaged.", "Train it again, or restore it from a backup.")
    return folder(home, found)


def folder(home: Home, adapter: Adapter) -> Path:
    return home.path / adapter.path
