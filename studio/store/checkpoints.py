"""Checkpoints of runs: rows that point to whole folders. The row is written after its folder and deleted before it."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from studio.store.artifacts import Published, is_whole, remove
from studio.store.db import Database
from studio.store.home import Home
from studio.store.tables import Adapter, Checkpoint

KEPT = 2  # the newest; if one is damaged there is the one before


def add(session: Session, home: Home, run_id: int, step: int, fence: int, published: Published) -> None:
    """Point to a published folder, and to nothing older than the `KEPT` newest."""
    path = str(home.checkpoint(run_id, step, fence).relative_to(home.path))
    row = Checkpoint(
        run_id=run_id, step=step, fence=fence, path=path, size_bytes=published.size_bytes, sha256=published.sha256
    )
    session.add(row)
    session.flush()
    newest = select(Checkpoint.id).where(Checkpoint.run_id == run_id).order_by(Checkpoint.id.desc()).limit(KEPT)
    session.execute(delete(Checkpoint).where(Checkpoint.run_id == run_id, Checkpoint.id.not_in(newest)))


def forget(session: Session, run_id: int) -> None:
    session.execute(delete(Checkpoint).where(Checkpoint.run_id == run_id))


def of(db: Database, run_id: int) -> list[Checkpoint]:
    """The newest first."""
    with db.reading() as session:
        return list(
            session.scalars(select(Checkpoint).where(Checkpoint.run_id == run_id).order_by(Checkpoint.id.desc()))
        )


def newest_whole(db: Database, home: Home, run_id: int) -> tuple[Checkpoint | None, list[Checkpoint]]:
    """The newest checkpoint whose files are as they were written, and the damaged ones before it."""
    damaged: list[Checkpoint] = []
    for checkpoint in of(db, run_id):
        if is_whole(home.path / checkpoint.path, checkpoint.sha256):
            return checkpoint, damaged
        damaged.append(checkpoint)
    return None, damaged


def sweep(db: Database, home: Home, run_id: int) -> None:
    """Remove folders of the run that no row points to: what a killed process left half written or half deleted.

    Only for whoever holds the run's claim, or a run that nobody works on.
    """
    with db.reading() as session:
        pointed = {
            *session.scalars(select(Checkpoint.path).where(Checkpoint.run_id == run_id)),
            *session.scalars(select(Adapter.path).where(Adapter.run_id == run_id)),
        }
    run = home.run(run_id)
    for folder in (*run.glob("checkpoints/*"), *run.glob("adapter-*")):
        if folder.is_dir() and str(folder.relative_to(home.path)) not in pointed:
            remove(folder)
