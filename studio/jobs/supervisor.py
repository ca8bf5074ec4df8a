"""Runs training processes: claim a run, start its process, watch it, and account for it when it ends without a word.

One run trains at a time on a device, whoever asks: the consumer (`studio work`) or a waiting command line. The
worker itself writes the good ends; the supervisor writes only the abnormal ones. A training process shares its
supervisor's lock on the device, so nobody starts another one while either of the two lives.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from studio.core.adjustments import Adjustments
from studio.core.errors import DatabaseBusy, StudioError
from studio.core.lifeline import bound_to_parent
from studio.core.recipe import Recipe
from studio.core.run_state import RunStatus, Wish
from studio.diagnostics import memory
from studio.diagnostics.failures import SHUT_DOWN, ended_from_outside, explain_exit
from studio.jobs.queue import Doorbell
from studio.store import runs
from studio.store.db import Database
from studio.store.home import Home
from studio.store.locks import Held, Lock, exclusive
from studio.store.runs import Death
from studio.store.tables import Run

TRAINER = (sys.executable, "-m", "workers.train", "--standby")
RECONCILE_SECONDS = 10
_POLL_SECONDS = 0.2
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Patience:
    """Seconds after which a supervisor acts."""

    heartbeat: float = 25  # without a sign of life the process is ended and the run goes on in another
    stall: float = 900  # the same where it lives but gets nowhere: loading a big model from a slow disk takes long
    discard: float = 10  # to obey a wish to discard
    goodbye: float = 20  # to save a checkpoint when the studio closes


class Supervisor:
    """`standby` keeps one training process ready with its imports done, so that a run starts in a second."""

    def __init__(
        self,
        home: Home,
        db: Database,
        standby: bool = False,
        trainer: Sequence[str] = TRAINER,
        patience: Patience | None = None,
    ) -> None:
        self._home, self._db = home, db
        self._keeps_standby, self._trainer, self._patience = standby, trainer, patience or Patience()
        self._ready: subprocess.Popen[str] | None = None
        self._closing = threading.Event()
        self._busy = threading.Lock()
        self._device = Lock(home.lock("device"))
        self.prepare()

    def prepare(self) -> None:
        """Start the process that waits for the next run."""
        if self._keeps_standby and self._ready is None and not self._closing.is_set():
            self._ready = self._spawn()

    def work_off(self) -> None:
        """Train the runs that wait, one after the other, until none is left or the supervisor closes."""
        with suppress(Held):
            while self.execute(None):
                pass

    def execute(self, run_id: int | None, wait_for_device: bool = True) -> bool:
        """Train run `run_id`, or the next in line, until it ends or is interrupted; False if it does not wait any more.

        Raises Held if another process trains on this device and `wait_for_device` is off, or the supervisor closes.
        """
        with self._busy, self._device_held(wait_for_device):
            let_orphans_go_on(self._db)
            run_id = run_id or runs.next_in_line(self._db)
            claim = runs.claim(self._db, run_id) if run_id and not self._closing.is_set() else None
            if claim is None:
                return False
            killed_before = memory.kills_so_far()
            process = self._take()
            _tell(process, json.dumps({"run": claim.run_id, "fence": claim.fence}) + "\n")
            death = self._watch(process, claim)
            self._account(process, claim, death, memory.kills_so_far() > killed_before)
        self.prepare()
        return True

    def close(self) -> None:
        """End whatever runs, after a checkpoint: the run goes back to the line. Returns when that is done."""
        self._closing.set()
        if self._ready:
            _tell(self._ready, "")
            _end(self._ready, seconds=5)
        with self._busy:
            self._device.close()

    @contextmanager
    def _device_held(self, wait: bool) -> Iterator[None]:
        """Raises Held; if `wait`, only when the supervisor closes meanwhile."""
        while True:
            try:
                with self._device.held(wait=False):
                    yield
                return
            except Held:
                if not wait or self._closing.wait(_POLL_SECONDS):
                    raise

    def _take(self) -> subprocess.Popen[str]:
        ready, self._ready = self._ready, None
        return ready if ready and ready.poll() is None else self._spawn()

    def _spawn(self) -> subprocess.Popen[str]:
        with (self._home.logs / "trainer.log").open("ab") as log:  # until the worker opens the run's own
            return subprocess.Popen(
                bound_to_parent([*self._trainer, "--parent", str(os.getpid())]),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                pass_fds=(self._device.descriptor,),
                env=os.environ | self._home.environment | {"OMP_WAIT_POLICY": "PASSIVE"},
            )

    def _watch(self, process: subprocess.Popen[str], claim: runs.Claim) -> Death | None:
        """Until the process ends; ends it itself if the studio closes, it does not obey, or it is stuck.

        Returns why in the last case.
        """
        pulse = _Pulse(self._patience)
        asked_at: float | None = None
        looked_at = 0.0
        while process.poll() is None:
            if self._closing.is_set():
                _end(process, self._patience.goodbye)
                return None
            if time.monotonic() - looked_at > _LOOK_SECONDS:
                looked_at = time.monotonic()
                run = self._look(claim.run_id)
                if run is not None and run.wish == Wish.DISCARD:
                    asked_at = asked_at or looked_at
                    if looked_at - asked_at > self._patience.discard:
                        _end(process, seconds=5)
                        return None
                death = pulse.judge(run) if run is not None else SILENT if _is_stopped(process) else None
                if death:
                    _end(process, seconds=0)
                    return death
            time.sleep(_POLL_SECONDS)
        return None

    def _look(self, run_id: int) -> Run | None:
        """The run's row; None while the database is locked, when nobody's heartbeat can be seen."""
        try:
            with self._db.writing():  # reading alone would not show that the process could not write
                pass
            return runs.get(self._db, run_id)
        except DatabaseBusy:
            return None

    def _account(self, process: subprocess.Popen[str], claim: runs.Claim, death: Death | None, killed: bool) -> None:
        run = runs.get(self._db, claim.run_id)
        if run.status != RunStatus.RUNNING or run.fence != claim.fence:
            return
        if self._closing.is_set() and run.wish is None:
            runs.put_back(self._db, claim, SHUT_DOWN)
            return
        code = process.returncode
        memory_ran_out = killed and code == -signal.SIGKILL and death is None
        if memory_ran_out and run.wish is None:
            batch_size = Recipe.model_validate(run.recipe).batch_size
            if changed := Adjustments.model_validate(run.adjustments).after_out_of_memory(batch_size):
                told = (
                    f"The computer ended training because memory ran out at step {run.step:,}. Nothing is lost: it "
                    f"goes on {changed.to_save_memory}."
                )
                runs.put_back(self._db, claim, told, adjustments=changed.model_dump())
                return
        message, hint = explain_exit(code, memory_ran_out)
        runs.account_for(
            self._db, run.id, claim.fence, death or Death(message, hint, own_fault=not ended_from_outside(code))
        )


class _Pulse:
    """Whether a training process lives and gets on, from what its row shows at every look.

    It counts looks, not the time of a clock: a computer that slept, or a clock that was set, ends nobody.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._seen: dict[str, object] = {}
        self._same = {"heartbeat": 0, "stall": 0}
        self._lives = False  # until its first heartbeat a process imports its libraries, however long that takes

    def judge(self, run: Run) -> Death | None:
        for name, sign in (("heartbeat", run.heartbeat_at), ("stall", (run.activity, run.phase, run.step))):
            changed = name in self._seen and self._seen[name] != sign
            self._same[name] = 0 if changed else self._same[name] + 1
            self._seen[name] = sign
            self._lives |= changed
        if self._lives and self._same["heartbeat"] * _LOOK_SECONDS > self._patience.heartbeat:
            return SILENT
        if self._same["stall"] * _LOOK_SECONDS > self._patience.stall:
            return Death("Training got stuck.", "If it gets stuck there again, the log tells the details.")
        return None


SILENT = Death("The training process stopped answering.", "Let it go on from its page.", own_fault=False)
CRASHED = Death("The studio ended while this run was training.", "Let it go on from its page.", own_fault=False)


def let_orphans_go_on(db: Database) -> None:
    """Only for whoever holds the lock on the device: a run that is running then has lost its process."""
    for run in runs.with_status(db, RunStatus.RUNNING):
        runs.account_for(db, run.id, run.fence, CRASHED)


def reconcile(home: Home, db: Database, doorbell: Doorbell) -> None:
    """Make the truth and the world agree: runs whose process is gone, and waiting runs whose ring was lost."""
    with suppress(Held), exclusive(home.lock("device"), wait=False):  # held: whoever trains accounts for that run
        let_orphans_go_on(db)
    if len(doorbell.huey) == 0 and (waiting := runs.next_in_line(db)) is not None:
        doorbell.ring(waiting)


def consume(home: Home, db: Database, trainer: Sequence[str] = TRAINER, patience: Patience | None = None) -> None:
    """The consumer: take runs out of the queue, one at a time, until SIGTERM or Ctrl-C."""
    supervisor = Supervisor(home, db, standby=True, trainer=trainer, patience=patience)
    doorbell = Doorbell(home, answer=lambda _: supervisor.work_off())
    closing = threading.Event()

    def reconcile_now_and_then() -> None:
        while not closing.is_set():
            with suppress(StudioError):  # the database is locked, or the disk full: the next pass does it
                reconcile(home, db, doorbell)
            closing.wait(RECONCILE_SECONDS)

    threading.Thread(target=reconcile_now_and_then, name="reconciler", daemon=True).start()
    consumer = doorbell.huey.create_consumer(workers=1, periodic=False, initial_delay=0.1, max_delay=0.5)
    try:
        consumer.run()
    finally:
        closing.set()
        supervisor.close()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    """All that the process will ever hear. One that died while it waited tells by its exit code."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.close()


def _is_stopped(process: subprocess.Popen[str]) -> bool:
    """Whether it was paused from outside: then it may be what keeps the database locked."""
    with suppress(psutil.Error):
        return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
    return False


def _end(process: subprocess.Popen[str], seconds: float) -> None:
    """Ask the process and all that it started to end; make them if they have not in so many seconds."""
    with suppress(ProcessLookupError):
        if seconds:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                return
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
