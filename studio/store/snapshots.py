"""Copies of the database that are whole, taken while others use it, and kept in the home's backups folder."""

import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

KEPT = 5
_PARTIAL = ".partial"


def take(database: Path, target: Path) -> None:
    """Copy `database` as it is at this moment to `target`, which is then either whole or not there.

    Writers wait while it is being copied; readers do not notice.
    """
    partial = target.with_name(target.name + _PARTIAL)
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    try:
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(partial)) as copy:
            # a copy that was cut off is thrown away: it needs no journal of its own, only the sync at its end
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            source.backup(copy)
        sync(partial)
        partial.rename(target)
        sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def before_change(database: Path, old: str, new: str) -> Path:
    """Take the copy that goes before a change of the tables from revision `old` to `new`; only the newest few stay."""
    folder = folder_of(database)
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"studio-{old}-to-{new}-{now_in_a_name()}.db"
    take(database, target)
    for leftover in folder.glob(f"*{_PARTIAL}"):
        leftover.unlink()
    for old_copy in _copies(database)[KEPT:]:
        old_copy.unlink()
    return target


def newest(database: Path) -> Path | None:
    return next(iter(_copies(database)), None)


def folder_of(database: Path) -> Path:
    return database.parent / "backups"


def now_in_a_name() -> str:
    """“2026-11-22T04-15-33.120”: sorts by time, and is a file name everywhere."""
    return datetime.now().strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3]


def sync(path: Path) -> None:
    """Make what is in a file, or a folder's list of names, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copies(database: Path) -> list[Path]:
    """The newest first."""
    return sorted(folder_of(database).glob("studio-*.db"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
