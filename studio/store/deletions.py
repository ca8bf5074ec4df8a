"""Deleting: rows first, and with them a note of the files to remove; then the files, aside and away.

Killed anywhere in between, `sweep` at the next start finds the note and does the rest.
"""

import shutil
from pathlib import Path
from secrets import token_hex
from time import time

from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from studio.store.db import Database
from studio.store.home import Home
from studio.store.tables import Dataset, Run, Table


class Deletion(Table):
    """Files whose rows are gone."""

    __tablename__ = "deletions"

    path: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[float] = mapped_column(default=time)


def run(session: Session, home: Home, run_id: int) -> None:
    """Delete a run's rows in every table, and note its folder."""
    for table in reversed(Table.metadata.sorted_tables):
        for key in table.foreign_keys:
            if key.column.table is Run.__table__:
                session.execute(delete(table).where(key.parent == run_id))
    session.execute(delete(Run).where(Run.id == run_id))
    note(session, home, home.run(run_id))


def dataset(session: Session, home: Home, dataset_id: int) -> None:
    session.execute(delete(Dataset).where(Dataset.id == dataset_id))
    note(session, home, home.dataset(dataset_id))


def note(session: Session, home: Home, path: Path) -> None:
    """Write down that `path`, below the home folder, is to be removed once the transaction is committed."""
    session.merge(Deletion(path=str(path.relative_to(home.path)), created_at=time()))


def sweep(db: Database, home: Home) -> None:
    """Remove the files of all that was deleted, and what earlier removals have left."""
    with db.reading() as session:
        noted = list(session.scalars(select(Deletion.path)))
    for path in noted:
        remove(home.path / path, home.deleted)
        with db.writing() as session:
            session.execute(delete(Deletion).where(Deletion.path == path))
    for aside in (home.deleted, home.models / ".deleted"):
        _empty(aside)


def remove(path: Path, aside: Path) -> None:
    """Move `path` into the folder `aside`, on the same disk, and remove it there: nobody ever meets half of it."""
    aside.mkdir(exist_ok=True)
    out = aside / f"{path.name}-{token_hex(4)}"
    try:
        path.rename(out)
    except FileNotFoundError:
        return  # somebody was quicker
    _away(out)


def _empty(aside: Path) -> None:
    if aside.is_dir():
        for left in aside.iterdir():
            _away(left)


def _away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # what cannot be removed now is tried again at the next start
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
