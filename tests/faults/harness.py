"""Kills, stops and damages a working studio at random, and looks after every fault whether its promises still hold.

    python -m tests.faults.harness --runs 1000 --kills 3000 --seed 1

Real consumer, real database, real files and locks; the trainer is `stub`. The faults fall on the whole process tree.
Besides, users pause, stop and let runs go on. Prints one line of figures, and what it found wrong.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
from sqlalchemy.exc import SQLAlchemyError

from studio.core.errors import DatabaseBusy, StudioError
from studio.core.recipe import Recipe
from studio.core.run_state import ENDED, Phase, RunStatus
from studio.services import runs as services
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import checkpoints, datasets, runs
from studio.store.artifacts import PARTIAL
from tests.faults import invariants
from tests.faults.mutants import MUTANTS

FAULTS = {  # and how often
    "kill trainer": 60,
    "kill consumer": 6,
    "kill consumer while its trainer sleeps": 8,
    "stop trainer": 10,
    "stop consumer": 4,
    "kill trainer and damage its checkpoint": 6,
}
STAGES = ("loading", "training", "training", "saving a checkpoint", "saving a checkpoint", "publishing", "saving")
ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds in which something must move
SLEEP = 20.0  # seconds: who sleeps in the middle of a write keeps everybody from writing
ORPHANS = 0.3  # share of trainers that outlive their consumer and do not share its lock


@dataclass
class Report:
    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)  # of the run at hand when a trainer was killed
    wrong: list[str] = field(default_factory=list)
    runs: int = 0
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        return sum(n for name, n in self.faults.items() if name.startswith("kill"))

    def add(self, other: "Report") -> None:
        self.faults += other.faults
        self.stages += other.stages
        self.wrong += other.wrong
        self.runs += other.runs

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {n}" for name, n in sorted(self.faults.items()))
        stages = ", ".join(f"{name} {n}" for name, n in sorted(self.stages.items()))
        lines = [f"seed {self.seed}: {self.runs} runs, {self.kills} kills in {self.seconds:.0f} s ({faults})"]
        lines.append(f"trainers killed while: {stages}")
        lines += [f"WRONG: {words}" for words in dict.fromkeys(self.wrong)] or ["nothing lost, nothing wrong"]
        return "\n".join(lines)


class Lane:
    """One studio under fire: its home, its consumer, its runs."""

    def __init__(
        self,
        home: Path,
        seed: int,
        count: int,
        kills: int,
        mutant: str = "",
        orphans: float = ORPHANS,
        patience: float = PATIENCE,
        faults: dict[str, int] = FAULTS,
    ) -> None:
        self.random = random.Random(seed)
        self.report = Report(seed)
        self._kills, self._patience, self._faults = kills, patience, faults
        self._environment = os.environ | {
            "STUDIO_HOME": str(home), "FAULTS_SEED": str(seed), "FAULTS_ORPHANS": str(orphans), "FAULTS_MUTANT": mutant,
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        self.studio = Studio.open(Settings(home=home))
        self._home = str(home)
        self._damaged: set[Path] = set()
        dataset = datasets.create(
            self.studio.db, name="d", filename="d", sha256="", shape="", mapping={}, columns=[], rows=1, usable_rows=1,
            skipped=[],
        )  # fmt: skip
        self._dataset_id = dataset.id
        for _ in range(count):
            self._queue()
        self._consumer = self._start()

    def work(self) -> Report:
        """Until every run has ended, or something is wrong."""
        began = progressed = time.monotonic()
        seen: object = None
        try:
            while not self.report.wrong:
                time.sleep(self.random.uniform(0.02, 0.4))
                try:
                    if self.report.kills >= self._kills and self._all_ended():
                        break
                    self._turn()
                    last = [(run.id, run.status) for run in runs.every(self.studio.db)]
                except DatabaseBusy:  # whoever was paused in the middle of a write wakes
                    progressed = time.monotonic()
                    continue
                if last != seen:
                    seen, progressed = last, time.monotonic()
                if time.monotonic() - progressed > self._patience:
                    self.report.wrong.append(f"nothing has moved for {self._patience:.0f} s: {self._situation()}")
            if not self.report.wrong:
                time.sleep(1.5)  # whoever was stopped wakes and is refused
                self.report.wrong += invariants.at_the_end(self.studio, self._damaged)
        finally:
            self._end()
        self.report.seconds = time.monotonic() - began
        return self.report

    def _turn(self) -> None:
        if self._all_ended():
            self._queue()
        if self._consumer.poll() is not None:
            self._consumer = self._start()
        if self.report.kills < self._kills:
            self._fault()
            self.report.wrong += invariants.now(self.studio, self._damaged)
        self._users()

    def _queue(self) -> None:
        recipe = Recipe(max_steps=self.random.randint(10, 40), epochs=1, checkpoint_steps=3).model_dump()
        runs.create(self.studio.db, name="r", recipe=recipe, dataset_id=self._dataset_id, data={}, base_id="starter")
        self.report.runs += 1

    def _all_ended(self) -> bool:
        return all(RunStatus(run.status) in ENDED - {RunStatus.FAILED} for run in runs.every(self.studio.db))

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.studio.home.logs / "consumer.log").open("ab") as log:
            command = [sys.executable, "-m", "tests.faults.consumer"]
            return subprocess.Popen(
                command, env=self._environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def _trainers(self) -> list[psutil.Process]:
        """Those of this home, orphans included; the one with the run comes first."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.Error):
                if "tests.faults.stub" in (process.info["cmdline"] or []) and (
                    process.environ().get("STUDIO_HOME") == self._home
                ):
                    found.append(process)
        return sorted(found, key=lambda p: p.pid)

    def _situation(self) -> str:
        """Who is there and what waits, to find out why nothing moves."""
        waiting = [
            f"run {run.id} {run.status} {run.phase}"
            for run in runs.with_status(self.studio.db, RunStatus.RUNNING, RunStatus.QUEUED)
        ]
        there = [f"trainer {process.pid} {process.status()}" for process in self._trainers()]
        consumer = f"consumer {self._consumer.pid} {self._consumer.poll()}"
        log = (self.studio.home.logs / "consumer.log").read_text()[-600:]
        return f"{', '.join([*waiting, *there, consumer])}; {log}"

    def _fault(self) -> None:
        kind = self.random.choices(list(self._faults), list(self._faults.values()))[0]
        stage = self._wait_for_stage()
        with suppress(psutil.Error, ProcessLookupError, FileNotFoundError):
            victim = psutil.Process(self._consumer.pid)
            if "trainer" in kind:
                if not (trainers := self._trainers()):
                    return
                if kind.startswith("kill trainer"):
                    self.report.stages[stage] += 1
                if kind.endswith("its trainer sleeps"):
                    trainers[0].suspend()
                    self._wake_later(trainers[0], self._successor())
                else:
                    victim = self.random.choice(trainers)
            self._strike(kind, victim)
            if kind.endswith("its checkpoint"):
                self._damage()
            self.report.faults[kind] += 1

    def _wait_for_stage(self) -> str:
        """Until the run at hand does what chance has chosen, for a while; what it does then."""
        wanted, deadline = self.random.choice(STAGES), time.monotonic() + 3
        while (stage := self._stage()) != wanted and time.monotonic() < deadline:
            time.sleep(0.004)
        return stage

    def _stage(self) -> str:
        """What the run at hand is doing, as far as can be seen from outside."""
        running = runs.with_status(self.studio.db, RunStatus.RUNNING)
        if not running:
            return "waiting"
        folder = self.studio.home.run(running[0].id)
        if list(folder.glob(f"checkpoints/*{PARTIAL}")):
            return "saving a checkpoint"
        if list(folder.glob(f"adapter-*{PARTIAL}")):
            return "publishing"
        return running[0].phase or "claimed"

    def _strike(self, kind: str, process: psutil.Process) -> None:
        if kind.startswith("kill"):
            process.kill()
            if process.pid == self._consumer.pid:
                self._consumer.wait()
            return
        process.suspend()
        self._wake_later(process)

    def _wake_later(self, process: psutil.Process, first: Callable[[], bool] | None = None) -> None:
        """After some seconds; or soon after `first` is true, if that is not too long."""
        seconds = self.random.uniform(0, 0.4) if first else self.random.choice([0.1, 0.5, 2.0, 3.0, 4.0])
        Thread(target=_wake, args=(process, seconds, first), daemon=True).start()

    def _successor(self) -> Callable[[], bool] | None:
        """Every other time, and if a run is at hand: whether somebody else has it, and trains.

        On a busy machine a sleeper whom only seconds wake would always be back before its successor has begun.
        """
        running = runs.with_status(self.studio.db, RunStatus.RUNNING)
        if not running or self.random.random() < 0.5:
            return None
        slept_through = running[0]

        def trains() -> bool:
            run = runs.get(self.studio.db, slept_through.id)
            return run.fence > slept_through.fence and (run.phase == Phase.TRAINING or run.status != RunStatus.RUNNING)

        return trains

    def _damage(self) -> None:
        """Spoil or remove a file of the newest checkpoint of a run that has another one and no process."""
        for run in runs.with_status(self.studio.db, RunStatus.QUEUED, RunStatus.RUNNING):
            found = checkpoints.of(self.studio.db, run.id)
            if len(found) > 1:
                folder = self.studio.home.path / found[0].path
                self._damaged.add(folder)
                part = folder / f"part-{self.random.randrange(3)}"
                if self.random.random() < 0.5:
                    part.unlink()
                else:
                    text = part.read_text()
                    part.write_text(text[:-1] + ("0" if text[-1] != "0" else "1"))
                return

    def _users(self) -> None:
        """Now and then somebody pauses, stops or goes on; what has given up is tried again."""
        for run in runs.with_status(self.studio.db, RunStatus.PAUSED, RunStatus.FAILED):
            with suppress(StudioError):
                services.resume(self.studio, run.id)
        alive = runs.with_status(self.studio.db, RunStatus.QUEUED, RunStatus.RUNNING)[:2]
        if alive and self.random.random() < 0.04:
            run, (what, act) = self.random.choice(alive), self.random.choice(
                [
                    ("pause", services.pause),
                    ("stop and keep", lambda studio, run_id: services.stop(studio, run_id, discard=False)),
                    ("stop and discard", lambda studio, run_id: services.stop(studio, run_id, discard=True)),
                ]
            )  # fmt: skip
            with suppress(StudioError):
                act(self.studio, run.id)
                self.report.faults[f"user: {what}"] += 1

    def _end(self) -> None:
        self._consumer.send_signal(signal.SIGCONT)
        self._consumer.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._consumer.wait(10)
        for process in [*self._trainers()]:
            with suppress(psutil.Error):
                process.kill()
        if self._consumer.poll() is None:
            self._consumer.kill()
            self._consumer.wait()
        self.studio.db.close()


def _wake(process: psutil.Process, seconds: float, first: Callable[[], bool] | None) -> None:
    latest = time.monotonic() + SLEEP
    with suppress(StudioError, SQLAlchemyError):  # the database is locked, or gone at the end
        while first and process.is_running() and time.monotonic() < latest and not first():
            time.sleep(0.02)
    time.sleep(seconds)
    with suppress(psutil.Error):
        process.resume()


def run(seed: int, count: int, kills: int, mutant: str = "", **options: Any) -> Report:
    """`count` runs or more in a home of their own, under fire until `kills` processes were killed and all have ended.

    `options` are those of `Lane`.
    """
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as home:
        return Lane(Path(home), seed, count, kills, mutant, **options).work()


def run_many(
    seed: int, count: int, kills: int, mutant: str = "", lot: int = 25, side_by_side: int = 2, first: int = 0
) -> Report:
    """`run` in lots, from lot `first` on, of which some are under fire side by side, each in a process."""
    total, began = Report(seed), time.monotonic()
    lots = max(1, count // lot)
    with ProcessPoolExecutor(side_by_side) as pool:
        each = [pool.submit(run, seed * 1000 + i, lot, -(-kills // lots), mutant) for i in range(first, lots)]
        for done in as_completed(each):
            total.add(done.result())
            print(done.result(), flush=True)
    total.seconds = time.monotonic() - began
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=70)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mutant", default="", help=f"take a safeguard out: {', '.join(MUTANTS)}")
    parser.add_argument("--side-by-side", type=int, default=2, help="homes under fire at once")
    parser.add_argument("--lot", type=int, default=25, help="runs in one home")
    parser.add_argument("--first", type=int, default=0, help="go on from this lot: those before it have been run")
    options = parser.parse_args()
    total = run_many(
        options.seed, options.runs, options.kills, options.mutant, options.lot, options.side_by_side, options.first
    )
    print(f"\nAltogether:\n{total}")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
