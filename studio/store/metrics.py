"""Numbers and sample answers of a run, step by step. Written in batches, read in slices."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Executable, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from studio.store.db import Database
from studio.store.tables import Metric, Sample

COLUMNS = tuple(column.name for column in Metric.__table__.columns if column.name != "run_id")
ROWS_AT_ONCE = 5000


def write(session: Session, run_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Add or complete rows, keyed by `step`: a value that is not given stays as it was."""
    _upsert(session, Metric, run_id, rows, ("step",))


def write_samples(session: Session, run_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Add answers or replace them, keyed by `step` and `position`."""
    _upsert(session, Sample, run_id, rows, ("step", "position"))


def forget_after(session: Session, run_id: int, step: int) -> None:
    """Remove what a run wrote after `step`, because it goes on from there."""
    for table in (Metric, Sample):
        session.execute(delete(table).where(table.run_id == run_id, table.step > step))


def _upsert(
    session: Session,
    table: type[Metric] | type[Sample],
    run_id: int,
    rows: Sequence[dict[str, Any]],
    key: tuple[str, ...],
) -> None:
    """One statement for all rows that give the same values: a hundredth of the time of one for each."""
    for names, group in groupby(sorted(rows, key=sorted), key=sorted):
        statement = insert(table)
        changed = {name: statement.excluded[name] for name in names if name not in key}
        statement = statement.on_conflict_do_update(index_elements=["run_id", *key], set_=changed)
        session.connection().execute(statement, [{"run_id": run_id, **row} for row in group])


def read(db: Database, run_id: int, at_most: int = 1000) -> list[dict[str, Any]]:
    """Rows in order of step, thinned out evenly to about `at_most`; the last row and all validation losses stay."""
    with db.reading() as session:
        mine = Metric.run_id == run_id
        last = session.scalar(select(func.max(Metric.step)).where(mine)) or 0
        everything = select(*(getattr(Metric, name) for name in COLUMNS)).where(mine)
        query: Executable = everything
        if last > at_most:
            # looked up by their keys: reading past all the others would take 20 times as long
            stride = -(-last // at_most)
            thin = everything.where(Metric.step.in_([*range(0, last, stride), last]))
            query = thin.union(everything.where(Metric.validation_loss.is_not(None)))
        rows = [dict(row._mapping) for row in session.execute(query)]
    return sorted(rows, key=lambda row: int(row["step"]))


def every(db: Database, run_id: int) -> Iterator[dict[str, Any]]:
    """All rows in order of step; read in slices, so that nobody waits for whoever takes them slowly."""
    step = -1
    while True:
        slice_ = (
            select(*(getattr(Metric, name) for name in COLUMNS))
            .where(Metric.run_id == run_id, Metric.step > step)
            .order_by(Metric.step)
            .limit(ROWS_AT_ONCE)
        )
        with db.reading() as session:
            rows = [dict(row._mapping) for row in session.execute(slice_)]
        yield from rows
        if len(rows) < ROWS_AT_ONCE:
            return
        step = rows[-1]["step"]


def revision(db: Database, run_id: int) -> tuple[int, int, int]:
    """Changes whenever `read` or `samples` would give something new: (last step, validations, samples)."""
    with db.reading() as session:
        last, checks = session.execute(
            select(func.coalesce(func.max(Metric.step), -1), func.count(Metric.validation_loss)).where(
                Metric.run_id == run_id
            )
        ).one()
        answers = session.scalar(select(func.count()).select_from(Sample).where(Sample.run_id == run_id))
        return last, checks, answers or 0


def samples(db: Database, run_id: int) -> list[Sample]:
    with db.reading() as session:
        return list(
            session.scalars(select(Sample).where(Sample.run_id == run_id).order_by(Sample.position, Sample.step))
        )
