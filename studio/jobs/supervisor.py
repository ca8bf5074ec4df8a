"""Runs training processes: claim a run, start its process, watch it, and account for it when it ends without a word.

One run trains at a time on a device, whoever asks: the consumer (`studio work`) or a waiting command line. The
worker itself writes the good ends; the supervisor writes only the abnormal ones.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

from studio.core.run_state import RunStatus, Wish
from studio.diagnostics.failures import explain_exit
from studio.jobs.queue import Doorbell
from studio.store import runs
from studio.store.db import Database
from studio.store.home import Home
from studio.store.locks import Held, exclusive

DISCARD_GRACE_SECONDS = 10  # after that a trainer that was told to discard is ended
HEARTBEAT_LOST_SECONDS = 30
RECONCILE_SECONDS = 10
_WATCH_SECONDS = 0.2


class Supervisor:
    """`standby` keeps one training process ready with its imports done, so that a run starts in a second."""

    def __init__(self, home: Home, db: Database, standby: bool = False) -> None:
        self._home = home
        self._db = db
        self._keeps_standby = standby
        self._ready: subprocess.Popen[str] | None = None
        self._closing = threading.Event()
        self.prepare()

    def prepare(self) -> None:
        """Start the process that waits for the next run."""
        if self._keeps_standby and self._ready is None and not self._closing.is_set():
            self._ready = self._spawn()

    def execute(self, run_id: int, wait_for_device: bool = True) -> bool:
        """Train run `run_id` to its end; False if it is not waiting any more.

        Raises Held if another process trains on this device and `wait_for_device` is off.
        """
        with exclusive(self._home.lock("device"), wait=wait_for_device):
            claim = None if self._closing.is_set() else runs.claim(self._db, run_id)
            if claim is None:
                return False
            process = self._take()
            _tell(process, json.dumps({"run": claim.run_id, "fence": claim.fence}) + "\n")
            self._watch(process, claim)
            self._account(process, claim)
        self.prepare()
        return True

    def close(self) -> None:
        """End whatever runs; a run in training is marked as interrupted by its watcher."""
        self._closing.set()
        if self._ready:
            _tell(self._ready, "")
            _end(self._ready)

    def _take(self) -> subprocess.Popen[str]:
        ready, self._ready = self._ready, None
        return ready if ready and ready.poll() is None else self._spawn()

    def _spawn(self) -> subprocess.Popen[str]:
        with (self._home.logs / "trainer.log").open("ab") as log:  # until the worker opens the run's own
            return subprocess.Popen(
                [sys.executable, "-m", "workers.train", "--standby", "--parent", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
                env=os.environ | self._home.environment | {"OMP_WAIT_POLICY": "PASSIVE"},
            )

    def _watch(self, process: subprocess.Popen[str], claim: runs.Claim) -> None:
        """Until the process ends; ends it itself if the studio closes or it does not obey."""
        asked_at: float | None = None
        looked_at = 0.0
        while process.poll() is None:
            if self._closing.is_set():
                _end(process)
                return
            if time.monotonic() - looked_at > 1:
                looked_at = time.monotonic()
                if runs.get(self._db, claim.run_id).wish == Wish.DISCARD:
                    asked_at = asked_at or looked_at
                    if looked_at - asked_at > DISCARD_GRACE_SECONDS:
                        _end(process)
                        return
            time.sleep(_WATCH_SECONDS)

    def _account(self, process: subprocess.Popen[str], claim: runs.Claim) -> None:
        run = runs.get(self._db, claim.run_id)
        if run.status != RunStatus.RUNNING or run.fence != claim.fence:
            return
        if run.wish == Wish.DISCARD:
            runs.move(self._db, run.id, RunStatus.DISCARDED, "ended by the supervisor", claim.fence)
            return
        message, hint = INTERRUPTED if self._closing.is_set() else explain_exit(process.returncode)
        runs.move(self._db, run.id, RunStatus.FAILED, message, claim.fence, error_message=message, error_hint=hint)


INTERRUPTED = (
    "The studio was shut down while this run was training.",
    "Your data and settings are kept: press “Train again”.",
)


def reconcile(home: Home, db: Database, doorbell: Doorbell) -> None:
    """Make the truth and the world agree: runs whose process is gone, and waiting runs whose ring was lost."""
    try:
        with exclusive(home.lock("device"), wait=False):
            for run in runs.with_status(db, RunStatus.RUNNING):
                if time.time() - (run.heartbeat_at or 0) > HEARTBEAT_LOST_SECONDS:
                    message, hint = INTERRUPTED
                    runs.move(db, run.id, RunStatus.FAILED, message, run.fence, error_message=message, error_hint=hint)
    except Held:
        return  # somebody trains; whoever it is accounts for that run
    if len(doorbell.huey) == 0:
        for run in runs.with_status(db, RunStatus.QUEUED):
            doorbell.ring(run.id)


def consume(home: Home, db: Database) -> None:
    """The consumer: take runs out of the queue, one at a time, until SIGTERM or Ctrl-C."""
    supervisor = Supervisor(home, db, standby=True)
    doorbell = Doorbell(home, answer=supervisor.execute)
    closing = threading.Event()

    def reconcile_now_and_then() -> None:
        while not closing.is_set():
            reconcile(home, db, doorbell)
            closing.wait(RECONCILE_SECONDS)

    threading.Thread(target=reconcile_now_and_then, name="reconciler", daemon=True).start()
    consumer = doorbell.huey.create_consumer(workers=1, periodic=False, initial_delay=0.1, max_delay=0.5)
    try:
        consumer.run()
    finally:
        closing.set()
        supervisor.close()
        with exclusive(home.lock("device")):
            pass  # the watcher has accounted for its run once it lets go of the device


def _tell(process: subprocess.Popen[str], line: str) -> None:
    """All that the process will ever hear. One that died while it waited tells by its exit code."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.close()


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the process and all that it started to end; make them if they have not in five seconds."""
    for which in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, which)
            process.wait(5)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
