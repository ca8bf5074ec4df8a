"""A trainer for volume: the studio's own process, store, checkpoints and ends, with a chain of hashes for a model.

A chain shows every fault: a step lost, done twice, or built on the wrong state gives another value at the end.
Started by a supervisor as `workers.train --standby` is: `python -m tests.faults.stub --parent PID`.
"""

import ctypes
import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

from studio.core.lifeline import _SET_PARENT_DEATH_SIGNAL, end_with_parent
from studio.core.recipe import Recipe
from studio.core.run_state import Phase, RunStatus, Wish
from studio.settings import Settings
from studio.store import artifacts, metrics
from studio.store.db import Database, open_database
from studio.store.home import Home
from studio.store.runs import Claim
from studio.store.tables import Run
from tests.faults import mutants
from workers import checkpoints as keeping
from workers import progress as writing
from workers.attempt import Outcome, work
from workers.progress import Progress

STEP_SECONDS = 0.02
FILES = 3  # of a checkpoint, written with a pause between, so that a kill may fall between them


def start_of(run: Run) -> str:
    return sha256(f"run {run.id}".encode()).hexdigest()


def next_of(value: str) -> str:
    return sha256(value.encode()).hexdigest()


def value_after(run: Run, steps: int) -> str:
    value = start_of(run)
    for _ in range(steps):
        value = next_of(value)
    return value


def as_loss(value: str) -> float:
    return int(value[:8], 16) / 2**32


def train(home: Home, db: Database, run: Run, progress: Progress) -> Outcome:
    recipe = Recipe.model_validate(run.recipe)
    total = recipe.max_steps
    progress.phase(Phase.LOADING)
    keeper = keeping.Keeper(db, home, progress, recipe.checkpoint_minutes * 60, recipe.checkpoint_steps)
    checkpoint, _damaged = keeper.begin()
    time.sleep(STEP_SECONDS)
    step, value = 0, start_of(run)
    if checkpoint:
        step = checkpoint.step
        parts = [(home.path / checkpoint.path / f"part-{i}").read_text() for i in range(FILES)]
        value = "".join(parts)
    progress.tell(total_steps=total, step=step)
    progress.commit(lambda session: metrics.forget_after(session, run.id, step))
    if not (progress.wish is Wish.KEEP and checkpoint):
        progress.check_wish(keep_later=checkpoint is not None)
        progress.phase(Phase.TRAINING)
        while step < total and not progress.ends:
            time.sleep(STEP_SECONDS)
            step, value = step + 1, next_of(value)
            progress.point(step, train_loss=as_loss(value), tokens=progress.claim.fence)  # who wrote it
            progress.tell(step=step)
            progress.check()
            if step < total and not progress.ends and keeper.due(step):
                keeper.save(step, 100, partial(_fill, value))
        if step < total:
            if step and not progress.discarded:
                keeper.save(step, 100, partial(_fill, value))
            if progress.wish is not Wish.KEEP or step == 0:
                progress.check_wish()
    progress.phase(Phase.SAVING)
    target = home.adapter(run.id, progress.claim.fence)
    artifacts.publish(target, partial(_fill, value))
    about = {
        "sha256": artifacts.file_sha256(target / "part-0"),
        "size_bytes": 1,
        "base_id": run.base_id,
        "base_fingerprint": "f",
    }
    path = {"path": str(target.relative_to(home.path))}
    return Outcome(RunStatus.STOPPED if step < total else RunStatus.SUCCEEDED, {"steps": step}, about | path)


def _fill(value: str, folder: Path) -> None:
    size = len(value) // FILES + 1
    for i in range(FILES):
        (folder / f"part-{i}").write_text(value[i * size : (i + 1) * size])
        time.sleep(STEP_SECONDS / 2)


def main() -> int:
    parent = int(sys.argv[sys.argv.index("--parent") + 1])
    order = sys.stdin.readline()
    if not order.strip():
        return 0
    mutants.apply()
    keeping.RESERVE_BYTES = 0
    writing.EVERY_SECONDS = 0.1  # so that the database knows what a run of a second is doing
    claim = Claim(*json.loads(order).values())
    if random.Random(f"{os.environ['FAULTS_SEED']} {claim}").random() < float(os.environ["FAULTS_ORPHANS"]):
        # as where no kernel ends it with its parent, and the lock is not shared: only the fence is left
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, 0)
        for link in list(Path("/proc/self/fd").iterdir()):
            with suppress(FileNotFoundError):
                if link.readlink().name == "device.lock":
                    os.close(int(link.name))
    else:
        end_with_parent(parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    home = Home.at(Settings())
    return work(home, open_database(home.database), claim, train)


if __name__ == "__main__":
    sys.exit(main())
