"""Rows of runs: create, claim, move, report. Every move is one guarded UPDATE and leaves an event behind."""

from dataclasses import dataclass
from time import time
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from studio.core.errors import NotFound
from studio.core.run_state import MOVES, RunStatus, Wish
from studio.store.db import Database
from studio.store.tables import Adapter, Run, RunEvent


class Lost(Exception):
    """The run was given to another process, or has ended: whoever gets this must stop and write nothing more."""


@dataclass(frozen=True)
class Claim:
    """The right to work on a run. It lapses when somebody claims the run again."""

    run_id: int
    fence: int


def create(db: Database, **columns: Any) -> Run:
    """A new queued run; the existing one if `request_key` was seen before."""
    try:
        with db.writing() as session:
            run = Run(status=RunStatus.QUEUED, **columns)
            session.add(run)
            session.flush()
            session.add(RunEvent(run_id=run.id, old=None, new=run.status))
            return run
    except IntegrityError:
        with db.reading() as session:
            found = session.scalar(select(Run).where(Run.request_key == columns.get("request_key")))
        if found is None:
            raise
        return found


def get(db: Database, run_id: int) -> Run:
    with db.reading() as session:
        run = session.get(Run, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id}.", "“My models” and `studio runs` list the ones there are.")
    return run


def every(db: Database, limit: int = 500) -> list[Run]:
    """The newest runs first."""
    with db.reading() as session:
        return list(session.scalars(select(Run).order_by(Run.id.desc()).limit(limit)))


def with_status(db: Database, *statuses: RunStatus) -> list[Run]:
    """The oldest runs first."""
    with db.reading() as session:
        return list(session.scalars(select(Run).where(Run.status.in_(statuses)).order_by(Run.id)))


def place_in_line(db: Database, run_id: int) -> int:
    """How many runs are before this one, the running one included."""
    with db.reading() as session:
        waiting = Run.status.in_((RunStatus.QUEUED, RunStatus.RUNNING))
        return session.scalar(select(func.count()).select_from(Run).where(waiting, Run.id < run_id)) or 0


def claim(db: Database, run_id: int) -> Claim | None:
    """Take a queued run; None if it is not queued any more."""
    now = time()
    with db.writing() as session:
        if not _guarded(
            session,
            run_id,
            RunStatus.QUEUED,
            RunStatus.RUNNING,
            "",
            fence=Run.fence + 1,
            started_at=now,
            heartbeat_at=now,
            phase="loading",
        ):
            return None
        fence = session.scalar(select(Run.fence).where(Run.id == run_id))
        assert fence is not None
        return Claim(run_id, fence)


def move(db: Database, run_id: int, new: RunStatus, reason: str = "", fence: int | None = None, **columns: Any) -> bool:
    """Move a run to an end state; False if it may not go there from where it is, or `fence` is not the newest."""
    allowed = [old for old, targets in MOVES.items() if new in targets]
    with db.writing() as session:
        for old in allowed:
            if _guarded(session, run_id, old, new, reason, fence_is=fence, ended_at=time(), phase=None, **columns):
                return True
    return False


def _guarded(
    session: Session,
    run_id: int,
    old: RunStatus,
    new: RunStatus,
    reason: str,
    fence_is: int | None = None,
    **columns: Any,
) -> bool:
    statement = update(Run).where(Run.id == run_id, Run.status == old)
    if fence_is is not None:
        statement = statement.where(Run.fence == fence_is)
    moved = session.connection().execute(statement.values(status=new, **columns)).rowcount == 1
    if moved:
        session.add(RunEvent(run_id=run_id, old=old, new=new, reason=reason))
    return moved


def report(session: Session, claim: Claim, **columns: Any) -> Wish | None:
    """Heartbeat and progress of the process that works on the run; returns what the user wishes of it.

    Raises Lost if the run is not this process's any more; then nothing else of the transaction is written either.
    """
    statement = (
        update(Run)
        .where(Run.id == claim.run_id, Run.fence == claim.fence, Run.status == RunStatus.RUNNING)
        .values(heartbeat_at=time(), **columns)
    )
    if session.connection().execute(statement).rowcount != 1:
        raise Lost
    wish = session.scalar(select(Run.wish).where(Run.id == claim.run_id))
    return Wish(wish) if wish else None


def ask(db: Database, run_id: int, wish: Wish) -> None:
    """Write down that the user wants a running run to stop; a second wish replaces the first."""
    with db.writing() as session:
        session.execute(update(Run).where(Run.id == run_id, Run.status == RunStatus.RUNNING).values(wish=wish))


def events(db: Database, run_id: int) -> list[RunEvent]:
    with db.reading() as session:
        return list(session.scalars(select(RunEvent).where(RunEvent.run_id == run_id).order_by(RunEvent.id)))


def finish(db: Database, claim: Claim, status: RunStatus, summary: dict[str, Any], adapter: dict[str, Any]) -> bool:
    """The run's good end and its adapter, in one transaction."""
    with db.writing() as session:
        moved = _guarded(
            session,
            claim.run_id,
            RunStatus.RUNNING,
            status,
            "",
            fence_is=claim.fence,
            ended_at=time(),
            phase=None,
            seconds_left=None,
            summary=summary,
        )
        if moved:
            session.add(Adapter(run_id=claim.run_id, **adapter))
        return moved


def adapter_of(db: Database, run_id: int) -> Adapter | None:
    with db.reading() as session:
        return session.get(Adapter, run_id)


def adapters(db: Database) -> list[Adapter]:
    with db.reading() as session:
        return list(session.scalars(select(Adapter).order_by(Adapter.run_id.desc())))
