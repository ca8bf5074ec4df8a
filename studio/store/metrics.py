"""Numbers and sample answers of a run, step by step. Written in batches, read in slices."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from studio.store.db import Database
from studio.store.tables import Metric, Sample

COLUMNS = tuple(column.name for column in Metric.__table__.columns if column.name != "run_id")


def write(session: Session, run_id: int, rows: Sequence[dict[str, Any]]) -> None:
    """Add or complete rows, keyed by `step`: a value that is not given stays as it was."""
    for row in rows:
        statement = insert(Metric).values(run_id=run_id, **row)
        changed = {name: value for name, value in row.items() if name != "step"}
        session.execute(statement.on_conflict_do_update(index_elements=["run_id", "step"], set_=changed))


def write_samples(session: Session, run_id: int, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        statement = insert(Sample).values(run_id=run_id, **row)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["run_id", "step", "position"], set_={"answer": row["answer"]}
            )
        )


def read(db: Database, run_id: int, at_most: int = 1000) -> list[dict[str, Any]]:
    """Rows in order of step, thinned out evenly to about `at_most`; the last row and all validation losses stay."""
    with db.reading() as session:
        mine = Metric.run_id == run_id
        count, last = session.execute(select(func.count(), func.max(Metric.step)).where(mine)).one()
        query = select(*(getattr(Metric, name) for name in COLUMNS)).where(mine).order_by(Metric.step)
        stride = -(-count // at_most) if count else 1
        if stride > 1:
            query = query.where(
                (Metric.step % stride == 0) | Metric.validation_loss.is_not(None) | (Metric.step == last)
            )
        return [dict(row._mapping) for row in session.execute(query)]


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
