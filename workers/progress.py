"""What a training process tells the database, and what it hears back.

The training thread only appends to a buffer. A writer thread empties it once a second in one transaction, together
with the heartbeat, and reads what the user wishes of the run; so a slow disk never holds up a step.
"""

from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Any

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


class Progress:
    """Use as a context manager: the writer runs inside it, and the last rows are written when it is left."""

    def __init__(self, db: Database, claim: Claim) -> None:
        self.wish: Wish | None = None
        self.phase_seconds: dict[str, float] = {}
        self._db, self._claim = db, claim
        self._lock = Lock()
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

    def check(self) -> None:
        """Raises Lost if the run is not ours any more, and the writer's error if it could not write."""
        if self._failure is not None:
            raise self._failure

    def check_wish(self) -> None:
        """`check`, and StopAsked if the user wants the run to end."""
        self.check()
        if self.wish is not None:
            raise StopAsked(self.wish)

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

    def _write(self) -> None:
        with self._lock:
            rows, self._rows = list(self._rows.values()), {}
            samples, self._samples = self._samples, []
            columns, self._columns = self._columns, {}
        with self._db.writing() as session:
            wish = report(session, self._claim, **columns)
            metrics.write(session, self._claim.run_id, rows)
            metrics.write_samples(session, self._claim.run_id, samples)
        self.wish = wish
