"""Rows of data sets. The same examples are one data set, however often they are uploaded."""

from typing import Any

from sqlalchemy import select

from studio.core.errors import NotFound
from studio.store.db import Database
from studio.store.tables import Dataset


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
        raise NotFound(f"There is no data set {dataset_id}.")
    return dataset
