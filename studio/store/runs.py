"""Rows of runs: create, claim, move, report. Every move is one guarded UPDATE and leaves an event behind."""

from dataclasses import dataclass
from time import time
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from studio.core.errors import NotFound
from studio.core.run_state import MOVES, Phase, RunStatus, Wish
from studio.store import checkpoints
from studio.store.db import Database
from studio.store.tables import Adapter, Checkpoint, Run, RunEvent

ATTEMPTS = 3  # in a row without a new checkpoint; then the run fails instead of trying for ever


class Lost(Exception):
    """The run was given to another process, or has ended: whoever gets this must stop and write nothing more."""


@dataclass(frozen=True)
class Claim:
    """The right to work on a run. It lapses when somebody claims the run again."""

    run_id: int
    fence: int


@dataclass(frozen=True)
class Death:
    """How a training process ended without accounting for itself: a sentence, and what the user may do about it."""

    message: str
    hint: str
    own_fault: bool = True  # False if something outside ended it; dying twice at the same step then means nothing


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


def next_in_line(db: Database) -> int | None:
    with db.reading() as session:
        return session.scalar(
            select(Run.id).where(Run.status == RunStatus.QUEUED).order_by(Run.queued_at, Run.id).limit(1)
        )


def place_in_line(db: Database, run_id: int) -> int:
    """How many runs are before this one, the running one included."""
    with db.reading() as session:
        mine = select(Run.queued_at).where(Run.id == run_id).scalar_subquery()
        earlier = or_(Run.queued_at < mine, (Run.queued_at == mine) & (Run.id < run_id))
        ahead = or_(Run.status == RunStatus.RUNNING, (Run.status == RunStatus.QUEUED) & earlier)
        return session.scalar(select(func.count()).select_from(Run).where(ahead, Run.id != run_id)) or 0


def claim(db: Database, run_id: int) -> Claim | None:
    """Take a queued run; None if it is not queued any more."""
    now = time()
    begun: dict[str, Any] = {
        "fence": Run.fence + 1, "started_at": func.coalesce(Run.started_at, now), "heartbeat_at": now,
        "phase": Phase.LOADING.value,
    }  # fmt: skip
    with db.writing() as session:
        if not _guarded(session, run_id, RunStatus.QUEUED, RunStatus.RUNNING, **begun):
            return None
        fence = session.scalar(select(Run.fence).where(Run.id == run_id))
        assert fence is not None
        return Claim(run_id, fence)


def move(db: Database, run_id: int, new: RunStatus, reason: str = "", fence: int | None = None, **columns: Any) -> bool:
    """Move a run; False if it may not go there from where it is, or `fence` is not the newest."""
    with db.writing() as session:
        return _move(session, run_id, new, reason, fence, **columns)


def resume(db: Database, run_id: int, wish: Wish | None = None) -> bool:
    """Let a paused, stopped or failed run go on, at the end of the line; False if it is none of these (any more)."""
    afresh: dict[str, Any] = {
        "wish": wish, "ended_at": None, "queued_at": time(), "attempts": 0, "died_at_step": None,
        "error_message": None, "error_hint": None, "error_detail": None,
    }  # fmt: skip
    with db.writing() as session:
        return any(
            _guarded(session, run_id, old, RunStatus.QUEUED, "by the user", **afresh)
            for old in (RunStatus.PAUSED, RunStatus.STOPPED, RunStatus.FAILED)
        )


def put_back(db: Database, claim: Claim, reason: str, **columns: Any) -> bool:
    """Hand a claimed run back to the line, where it keeps its place: the next process goes on from its checkpoint."""
    with db.writing() as session:
        return _guarded(
            session, claim.run_id, RunStatus.RUNNING, RunStatus.QUEUED, reason, claim.fence, **_idle(), **columns
        )


def account_for(db: Database, run_id: int, fence: int, death: Death) -> RunStatus | None:
    """Where a run goes whose process died: on, in nearly all cases. None if it was not running under this fence."""
    with db.writing() as session:
        run = session.get(Run, run_id)
        if run is None or run.status != RunStatus.RUNNING or run.fence != fence:
            return None
        wish = Wish(run.wish) if run.wish else None
        if wish in (Wish.DISCARD, Wish.PAUSE):
            new = RunStatus.DISCARDED if wish is Wish.DISCARD else RunStatus.PAUSED
            _move(session, run_id, new, f"{death.message} You had asked for this end.", fence)
            return new
        step = run.step if run.phase == Phase.TRAINING and death.own_fault else None
        again = step is not None and step == run.died_at_step
        attempts = run.attempts + 1
        if again or attempts >= ATTEMPTS:
            evidence = f"twice at step {step}" if again else f"{attempts} times without getting further"
            message = f"{death.message} This happened {evidence}, so it is not tried again by itself."
            _move(
                session, run_id, RunStatus.FAILED, message, fence,
                error_message=message, error_hint=death.hint, attempts=attempts,
            )  # fmt: skip
            return RunStatus.FAILED
        newest = session.scalar(select(func.max(Checkpoint.step)).where(Checkpoint.run_id == run_id))
        where = f"goes on from step {newest:,}" if newest else "starts again"
        told = f"{death.message} Nothing is lost: the run {where} (attempt {attempts + 1} of {ATTEMPTS})."
        _guarded(
            session, run_id, RunStatus.RUNNING, RunStatus.QUEUED, told, fence,
            attempts=attempts, died_at_step=step, **_idle(),
        )  # fmt: skip
        return RunStatus.QUEUED


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


def ask(db: Database, run_id: int, wish: Wish) -> bool:
    """Write down what the user wants of a run that waits or runs; a second wish replaces the first."""
    alive = Run.status.in_((RunStatus.QUEUED, RunStatus.RUNNING))
    with db.writing() as session:
        asked = update(Run).where(Run.id == run_id, alive).values(wish=wish)
        return session.connection().execute(asked).rowcount == 1


def add_to_data(db: Database, run_id: int, **more: Any) -> None:
    with db.writing() as session:
        run = session.get(Run, run_id)
        if run is not None:
            run.data = run.data | more


def events(db: Database, run_id: int) -> list[RunEvent]:
    with db.reading() as session:
        return list(session.scalars(select(RunEvent).where(RunEvent.run_id == run_id).order_by(RunEvent.id)))


def finish(db: Database, claim: Claim, status: RunStatus, summary: dict[str, Any], adapter: dict[str, Any]) -> bool:
    """The run's good end and its adapter, in one transaction. False if the claim has lapsed or the user discards."""
    with db.writing() as session:
        wish = session.scalar(select(Run.wish).where(Run.id == claim.run_id))
        if wish == Wish.DISCARD:
            return False
        moved = _move(session, claim.run_id, status, "", claim.fence, seconds_left=None, summary=summary)
        if moved:
            session.merge(Adapter(run_id=claim.run_id, created_at=time(), **adapter))
            if status == RunStatus.SUCCEEDED:
                checkpoints.forget(session, claim.run_id)
        return moved


def adapter_of(db: Database, run_id: int) -> Adapter | None:
    with db.reading() as session:
        return session.get(Adapter, run_id)


def adapters(db: Database) -> list[Adapter]:
    with db.reading() as session:
        return list(session.scalars(select(Adapter).order_by(Adapter.run_id.desc())))


def _idle() -> dict[str, Any]:
    return {"phase": None, "seconds_left": None}


def _move(session: Session, run_id: int, new: RunStatus, reason: str, fence: int | None = None, **columns: Any) -> bool:
    ended = {"ended_at": None if new == RunStatus.PAUSED else time()}
    for old in (old for old, targets in MOVES.items() if new in targets):
        if _guarded(session, run_id, old, new, reason, fence, **(_idle() | ended | columns)):
            if new == RunStatus.DISCARDED:
                checkpoints.forget(session, run_id)
                session.execute(delete(Adapter).where(Adapter.run_id == run_id))
            return True
    return False


def _guarded(
    session: Session,
    run_id: int,
    old: RunStatus,
    new: RunStatus,
    reason: str = "",
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
