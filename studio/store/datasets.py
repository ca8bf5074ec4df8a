"""Rows of data sets. The same examples are one data set, however often they are uploaded."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select, update

from studio.core.conversation import read_jsonl
from studio.core.errors import NotFound
from studio.store import examples
from studio.store.db import Database
from studio.store.examples import Examples
from studio.store.home import Home
from studio.store.tables import Dataset, Run

FIRST_WORDS = "Uploaded"


def create(db: Database, **columns: Any) -> Dataset:
    """A new data set, or the one with the same `sha256`."""
    with db.writing() as session:
        found = session.scalar(select(Dataset).where(Dataset.sha256 == columns["sha256"]))
        if found is None:
            found = Dataset(**columns)
            session.add(found)
            session.flush()
        return found


def get(db: Database, dataset_id: int) -> Dataset:
    with db.reading() as session:
        dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFound(f"There is no data set {dataset_id}.", "“Data” lists the ones there are.")
    return dataset


def every(db: Database) -> list[Dataset]:
    """The newest first."""
    with db.reading() as session:
        return list(session.scalars(select(Dataset).order_by(Dataset.id.desc())))


def of_upload(db: Database, upload_id: str) -> list[Dataset]:
    """The data sets made of these files, the newest first."""
    with db.reading() as session:
        return list(session.scalars(select(Dataset).where(Dataset.upload_id == upload_id).order_by(Dataset.id.desc())))


def rename(db: Database, dataset_id: int, name: str) -> None:
    with db.writing() as session:
        session.execute(update(Dataset).where(Dataset.id == dataset_id).values(name=name))


def users(db: Database, dataset_id: int) -> list[Run]:
    """The runs that train or trained on it, the newest first."""
    with db.reading() as session:
        return list(session.scalars(select(Run).where(Run.dataset_id == dataset_id).order_by(Run.id.desc())))


@contextmanager
def opened(home: Home, dataset_id: int) -> Iterator[Examples]:
    """The data set's examples in all their versions."""
    path = home.versions(dataset_id)
    if not path.is_file() and home.examples(dataset_id).is_file():
        partial = path.with_suffix(f".{os.getpid()}.partial")  # another process may do the same
        examples.create(partial, read_jsonl(home.examples(dataset_id)), FIRST_WORDS)
        partial.replace(path)
    with examples.opened(path) as book:
        yield book
