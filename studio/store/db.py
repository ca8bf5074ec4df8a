"""The database: one file, many processes. Opens it, brings its tables up to date, hands out short transactions.

What SQLite says when it cannot go on becomes a sentence here, and nowhere else.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from studio.core.errors import DatabaseBusy, DatabaseDamaged, DiskFull, StudioError, is_disk_full
from studio.store import exchange, schema, snapshots
from studio.store.locks import Held, Share, exclusive

WAIT_SECONDS = 30.0  # for others who write: how long a person is let wait for a click
PATIENCE = 10  # times that long a training process waits for its turn to write

Result = TypeVar("Result")


class Database:
    """Reads see a consistent moment; writes queue up behind each other instead of failing (BEGIN IMMEDIATE).

    Both raise DatabaseBusy, DatabaseDamaged or DiskFull, in words, when SQLite cannot go on; then nothing of the
    transaction is written.
    """

    def __init__(self, path: Path, wait_seconds: float = WAIT_SECONDS) -> None:
        self.path = path
        self._engine = _engine(path, wait_seconds)
        self._share = _share(path)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with _said(self.path), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        engine = self._engine.execution_options(immediate=True)
        with _said(self.path), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def write_patiently(self, write: Callable[[Session], Result]) -> Result:
        """`write` in a transaction, tried again for minutes while somebody else keeps the database locked."""
        for _ in range(PATIENCE - 1):
            with suppress(DatabaseBusy), self.writing() as session:
                return write(session)
        with self.writing() as session:
            return write(session)

    def check_whole(self) -> None:
        """Raises DatabaseDamaged if SQLite finds the file damaged. Reads all of it."""
        with _said(self.path):
            schema.check_whole(self._engine, self.path)

    def close(self) -> None:
        self._engine.dispose()
        self._share.release()


def open_database(path: Path, wait_seconds: float = WAIT_SECONDS) -> Database:
    """The database at `path`, its tables created or brought up to date first, with a copy of it put aside.

    `wait_seconds` is how long it waits for other writers, now and later, before it raises DatabaseBusy. Raises
    StudioError, in words, if the file is damaged or was made by a newer program.
    """
    db = Database(path, wait_seconds)
    try:
        with exclusive(path.with_suffix(".migrate.lock")), _said(path):
            exchange.finish(path.parent)
            engine = _engine(path, wait_seconds, foreign_keys=False)
            try:
                schema.bring_up_to_date(engine, path)
            finally:
                engine.dispose()
            path.chmod(0o600)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep every other process of the studio away from the database. Raises Held if one has it open."""
    with exclusive(_use_lock(path), wait=False):
        yield


def _share(path: Path) -> Share:
    try:
        return Share(_use_lock(path))
    except Held as held:
        who = f" ({held.holder.words})" if held.holder else ""
        raise StudioError(f"A backup is being put back into {path.parent}{who}.", "Wait until it is done.") from None


def _use_lock(path: Path) -> Path:
    return path.with_suffix(".use.lock")


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        said = _in_words(error, path)
        if said is None:
            raise
        raise said from error


def _in_words(error: Exception, path: Path) -> StudioError | None:
    text = str(getattr(error, "orig", error))
    if "is locked" in text:
        return DatabaseBusy()
    if "not a database" in text or "malformed" in text:
        return DatabaseDamaged(path, snapshots.newest(path))
    return DiskFull() if is_disk_full(error) else None


def _engine(path: Path, wait_seconds: float, foreign_keys: bool = True) -> Engine:
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, never by the driver
        connection.execute(f"PRAGMA journal_mode = {journal_mode()}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": wait_seconds})
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin)
    return engine


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """SQLite's WAL could corrupt a database that several processes write, until these releases (the WAL-reset bug)."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def journal_mode() -> str:
    """SQLite's name of the journal that every database of the studio uses with the SQLite at hand."""
    return "wal" if wal_is_safe(sqlite3.sqlite_version_info) else "truncate"


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
