"""Locks that the kernel gives back when their last holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Held(Exception):
    """Somebody else holds the lock."""


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
            raise Held(str(self.path)) from None
        try:
            yield
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self.descriptor)


@contextmanager
def exclusive(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock file `path`. Raises Held at once if `wait` is off and another process has it."""
    lock = Lock(path)
    try:
        with lock.held(wait):
            yield
    finally:
        lock.close()
