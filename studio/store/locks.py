"""Locks that the kernel gives back when their holder dies, however it dies."""

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


@contextmanager
def exclusive(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path`. Raises Held at once if `wait` is off and another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Held(path, _holder(descriptor)) from None
        with suppress(OSError):  # a lock holds on a full disk too, only namelessly
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "since": time()}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


class Share:
    """One of any number of holders of a lock file, who keep `exclusive` out. Raises Held if somebody has that."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise Held(path, holder) from None
        self.release = weakref.finalize(self, os.close, descriptor)


def _holder(descriptor: int) -> Holder | None:
    try:
        written = json.loads(os.pread(descriptor, 200, 0))
        return Holder(int(written["pid"]), float(written["since"]))
    except (ValueError, KeyError, TypeError):
        return None  # not written yet, or by an older version
