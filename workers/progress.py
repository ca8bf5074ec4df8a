"""What a training process tells the database, and what it hears back.

The training thread only appends to a buffer. A writer thread empties it once a second in one transaction, together
with the heartbeat, and reads what the user wishes of the run; so a slow disk never holds up a step.
"""

from collections.abc import Callable
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Any

from sqlalchemy.orm import Session

from studio.core.run_state import Phase, Wish
from studio.store import metrics
from studio.store.db import Database
from studio.store.runs import Claim, report

EVERY_SECONDS = 1.0


class StopAsked(Exception):
    """The user wants the run to end now."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(wish)
        self.wish = wish


class Interrupted(Exception):
    """The process was told to end; the run is to go on in another one."""


class Progress:
    """Use as a context manager: the writer runs inside it, and the last rows are written when it is left.

    `phase_seconds` is what earlier attempts spent. `leave` may be set at any time, for example by a signal.
    """

    def __init__(self, db: Database, claim: Claim, phase_seconds: dict[str, float] | None = None) -> None:
        self.wish: Wish | None = None
        self.leave = False
        self.phase_seconds = dict(phase_seconds or {})
        self.claim = claim
        self._db = db
        self._activity = 0
        self._lock, self._writing = Lock(), Lock()
        self._rows: dict[int, dict[str, Any]] = {}
        self._samples: list[dict[str, Any]] = []
        self._columns: dict[str, Any] = {}
        self._phase: Phase | None = None
        self._phase_began = 0.0
        self._failure: Exception | None = None
        self._wake, self._closed = Event(), False
        self._writer = Thread(target=self._write_on, name="progress", daemon=True)

    def __enter__(self) -> "Progress":
        self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is left and end the writer. Raises nothing: whoever goes on calls `check`."""
        self._closed = True
        self._wake.set()
        self._writer.join()

    @property
    def discarded(self) -> bool:
        return self.wish is Wish.DISCARD

    @property
    def ends(self) -> bool:
        """Whether training is to end at the next step."""
        return self.leave or self.wish is not None

    def check(self) -> None:
        """To be called whenever training gets on: a supervisor takes a process that never does for stuck.

        Raises Lost if the run is not ours any more, and the writer's error if it could not write.
        """
        self._activity += 1
        if self._failure is not None:
            raise self._failure

    def check_wish(self, keep_later: bool = False) -> None:
        """`check`, and Interrupted or StopAsked if the process or the run is to end.

        `keep_later`: there will be something to keep, so that wish is for the caller to meet.
        """
        self.check()
        if self.leave:
            raise Interrupted
        if self.wish is not None and not (keep_later and self.wish is Wish.KEEP):
            raise StopAsked(self.wish)

    def commit(self, write: Callable[[Session], object]) -> None:
        """`write` and everything told so far, in one transaction, now. Raises Lost."""
        self._write(write)

    def phase(self, phase: Phase) -> None:
        with self._lock:
            self._end_phase()
            self._phase, self._phase_began = phase, monotonic()
            self._columns |= {"phase": phase.value, "phase_seconds": dict(self.phase_seconds)}
        self._wake.set()

    def end_phase(self) -> None:
        """The last phase is over; its seconds are written when the writer ends."""
        with self._lock:
            self._end_phase()
            self._columns["phase_seconds"] = dict(self.phase_seconds)

    def tell(self, **columns: Any) -> None:
        """Columns of the run's row, written within a second."""
        with self._lock:
            self._columns |= columns

    def point(self, step: int, now: bool = False, **values: Any) -> None:
        """Numbers of a step, for the chart; `now` wakes the writer."""
        with self._lock:
            self._rows.setdefault(step, {"step": step}).update(values)
        if now:
            self._wake.set()

    def sample(self, step: int, position: int, question: str, expected: str, answer: str) -> None:
        with self._lock:
            self._samples.append(
                {"step": step, "position": position, "question": question, "expected": expected, "answer": answer}
            )
        self._wake.set()

    def _end_phase(self) -> None:
        if self._phase is not None:
            spent = monotonic() - self._phase_began
            self.phase_seconds[self._phase] = round(self.phase_seconds.get(self._phase, 0.0) + spent, 3)
            self._phase = None

    def _write_on(self) -> None:
        last = False
        while not last:
            self._wake.wait(EVERY_SECONDS)
            self._wake.clear()
            last = self._closed  # read before writing, so that what was added before closing is in
            try:
                self._write()
            except Exception as error:  # raised again by `check` in the training thread
                self._failure = error
                return

    def _write(self, more: Callable[[Session], object] | None = None) -> None:
        """Raises Lost. Waits for minutes if somebody else keeps the database locked."""
        with self._writing:
            with self._lock:
                rows, self._rows = list(self._rows.values()), {}
                samples, self._samples = self._samples, []
                columns, self._columns = self._columns, {}

            def write(session: Session) -> Wish | None:
                wish = report(session, self.claim, activity=self._activity, **columns)
                metrics.write(session, self.claim.run_id, rows)
                metrics.write_samples(session, self.claim.run_id, samples)
                if more:
                    more(session)
                return wish

            self.wish = self._db.write_patiently(write)
