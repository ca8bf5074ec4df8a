"""When a run is saved so that it can go on, and how a saved run is found again. Knows nothing of tensors.

What is in a checkpoint is its caller's matter: `fill` writes files into a folder, and the folder comes back at the
next attempt, whole or not at all.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from studio.core.errors import DiskFull, is_disk_full
from studio.store import checkpoints
from studio.store.artifacts import publish
from studio.store.db import Database
from studio.store.home import Home
from studio.store.tables import Checkpoint
from workers.progress import Progress

RESERVE_BYTES = 64 << 20  # left free for the database and the log
ADAPTERS_TO_COME = 2  # the run's end writes its adapter and an export: about a checkpoint each


class DiskNearlyFull(DiskFull):
    """There is no room for the next checkpoint; the last one is whole."""

    def __init__(self, needed: int, free: int) -> None:
        super().__init__()
        self.message = f"The disk is nearly full: {needed / 2**20:,.0f} MB are needed, {free / 2**20:,.0f} MB are free."
        self.hint = "Free some space, then let the run go on: it is kept as it stands."


class Keeper:
    """Saves checkpoints of one claimed run: every `seconds`, and every `steps` if that is not 0."""

    def __init__(self, db: Database, home: Home, progress: Progress, seconds: float, steps: int) -> None:
        self.count, self.seconds_spent = 0, 0.0
        self._db, self._home, self._progress = db, home, progress
        self._every_seconds, self._every_steps = seconds, steps
        self._saved_at, self._last_step = monotonic(), 0

    def begin(self) -> tuple[Checkpoint | None, list[Checkpoint]]:
        """What the run goes on from, and the damaged checkpoints passed over; leftovers are cleared away."""
        run_id = self._progress.claim.run_id
        checkpoints.sweep(self._db, self._home, run_id)
        found, damaged = checkpoints.newest_whole(self._db, self._home, run_id)
        self._last_step = found.step if found else 0
        return found, damaged

    def due(self, step: int) -> bool:
        return monotonic() - self._saved_at >= self._every_seconds or bool(
            self._every_steps and step - self._last_step >= self._every_steps
        )

    def save(self, step: int, expected_bytes: int, fill: Callable[[Path], None]) -> None:
        """A checkpoint after `step`, unless there is one. Raises DiskNearlyFull, or Lost if the run is not ours."""
        if step == self._last_step:
            return
        began = monotonic()
        claim = self._progress.claim
        self.require_room(expected_bytes)
        folder = self._home.checkpoint(claim.run_id, step, claim.fence)
        try:
            published = publish(folder, fill)
        except OSError as error:
            if is_disk_full(error):
                self.require_room(expected_bytes, full=True)
            raise
        self._progress.tell(attempts=0)
        self._progress.commit(
            lambda session: checkpoints.add(session, self._home, claim.run_id, step, claim.fence, published)
        )
        checkpoints.sweep(self._db, self._home, claim.run_id)
        self.count += 1
        self.seconds_spent += monotonic() - began
        self._saved_at, self._last_step = monotonic(), step

    def require_room(self, expected_bytes: int, full: bool = False) -> None:
        """Raises DiskNearlyFull if a checkpoint and the run's end would not fit, or if the disk has just said so."""
        needed = expected_bytes * (1 + ADAPTERS_TO_COME) + RESERVE_BYTES
        free = shutil.disk_usage(self._home.path).free
        if full or free < needed:
            raise DiskNearlyFull(needed, free)
