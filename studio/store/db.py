"""The database: one file, many processes. Opens it, brings its tables up to date, hands out short transactions."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from studio.store.locks import exclusive

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 30_000
PATIENCE = 10  # busy timeouts that a training process waits for its turn to write

Result = TypeVar("Result")


class Database:
    """Reads see a consistent moment; writes queue up behind each other instead of failing (BEGIN IMMEDIATE)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _engine(path)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        engine = self._engine.execution_options(immediate=True)
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def write_patiently(self, write: Callable[[Session], Result]) -> Result:
        """`write` in a transaction, tried again for minutes while somebody else keeps the database locked."""
        for _ in range(PATIENCE - 1):
            try:
                with self.writing() as session:
                    return write(session)
            except OperationalError as error:
                if not is_locked(error):
                    raise
        with self.writing() as session:
            return write(session)

    def close(self) -> None:
        self._engine.dispose()


def is_locked(error: OperationalError) -> bool:
    return "database is locked" in str(error.orig)


def open_database(path: Path) -> Database:
    """The database at `path`, its tables created or brought up to date first."""
    with exclusive(path.with_suffix(".migrate.lock")):
        _migrate(path)
    path.chmod(0o600)
    return Database(path)


def _migrate(path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = _engine(path)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    engine.dispose()


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """SQLite's WAL could corrupt a database that several processes write, until these releases (the WAL-reset bug)."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


def journal_mode() -> str:
    """SQLite's name of the journal that every database of the studio uses with the SQLite at hand."""
    return "wal" if wal_is_safe(sqlite3.sqlite_version_info) else "truncate"


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, never by the driver
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute(f"PRAGMA journal_mode = {journal_mode()}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
