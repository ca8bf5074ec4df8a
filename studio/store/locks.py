"""Locks that the kernel gives back when their last holder dies, however it dies."""

import fcntl
import json
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import time


@dataclass(frozen=True)
class Holder:
    """Who has a lock, by what they wrote into its file."""

    pid: int
    since: float

    @property
    def words(self) -> str:
        """“process 4711, since 22 Nov 2026, 04:15”."""
        then = datetime.fromtimestamp(self.since)
        return f"process {self.pid}, since {then.day} {then:%b %Y, %H:%M}"


class Held(Exception):
    """Somebody else holds the lock; `holder` tells who, if the file does."""

    def __init__(self, path: Path, holder: Holder | None = None) -> None:
        super().__init__(str(path))
        self.holder = holder


class Lock:
    """A lock file, open. A process started with `descriptor` passed on holds the lock as long as its parent does,
    and beyond its parent's death: nobody else gets it while one of the two lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    @contextmanager
    def held(self, wait: bool = True) -> Iterator[None]:
        """Raises Held at once if `wait` is off and somebody else has it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Held(self.path, self._holder()) from None
        try:
            with suppress(OSError):  # a lock holds on a full disk too, only namelessly
                os.ftruncate(self.descriptor, 0)
                os.pwrite(self.descriptor, json.dumps({"pid": os.getpid(), "since": time()}).encode(), 0)
            yield
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def share(self) -> None:
        """Be one of any number of holders until `close`. Raises Held if somebody has the lock alone."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(self.path, self._holder()) from None

    def close(self) -> None:
        os.close(self.descriptor)

    def _holder(self) -> Holder | None:
        try:
            written = json.loads(os.pread(self.descriptor, 200, 0))
            return Holder(int(written["pid"]), float(written["since"]))
        except (ValueError, KeyError, TypeError):
            return None  # not written yet, or by an older version


class Share:
    """A share of a lock file, until `release` or until nobody knows of it any more. Raises Held as `Lock.share`."""

    def __init__(self, path: Path) -> None:
        lock = Lock(path)
        self.release = weakref.finalize(self, lock.close)
        try:
            lock.share()
        except Held:
            self.release()
            raise


@contextmanager
def exclusive(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path`. Raises Held at once if `wait` is off and another process has it."""
    lock = Lock(path)
    try:
        with lock.held(wait):
            yield
    finally:
        lock.close()
