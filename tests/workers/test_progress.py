import time
from collections.abc import Callable

import pytest

from studio.core.run_state import Phase, RunStatus, Wish
from studio.store import metrics, runs
from studio.store.db import Database, open_database
from studio.store.home import Home
from studio.store.runs import Claim, Lost
from studio.store.tables import Dataset
from workers.progress import Progress, StopAsked


@pytest.fixture
def db(home: Home) -> Database:
    return open_database(home.database)


@pytest.fixture
def claim(db: Database) -> Claim:
    with db.writing() as session:
        session.add(
            Dataset(
                id=1,
                name="d",
                filename="d",
                sha256="",
                shape="",
                mapping={},
                columns=[],
                rows=1,
                usable_rows=1,
                skipped=[],
            )
        )
    run = runs.create(db, name="r", recipe={}, dataset_id=1, data={}, base_id="starter")
    claimed = runs.claim(db, run.id)
    assert claimed
    return claimed


def within(seconds: float, condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_everything_told_is_in_the_database_when_it_is_left(db: Database, claim: Claim) -> None:
    with Progress(db, claim) as progress:
        progress.phase(Phase.LOADING)
        progress.phase(Phase.TRAINING)
        progress.point(1, train_loss=2.0)
        progress.point(1, validation_loss=3.0)
        progress.sample(0, 0, "q", "a", "b")
        progress.tell(step=1, total_steps=9)
        progress.end_phase()
    (row,) = metrics.read(db, claim.run_id)
    run = runs.get(db, claim.run_id)
    assert (row["step"], row["train_loss"], row["validation_loss"]) == (1, 2.0, 3.0)
    assert metrics.samples(db, claim.run_id)[0].answer == "b"
    assert (run.phase, run.step, run.total_steps) == ("training", 1, 9)
    assert set(run.phase_seconds) == {"loading", "training"}


def test_an_urgent_point_does_not_wait_for_the_next_second(db: Database, claim: Claim) -> None:
    with Progress(db, claim) as progress:
        time.sleep(0.1)
        progress.point(0, now=True, validation_loss=3.0)
        assert within(0.6, lambda: metrics.read(db, claim.run_id))


def test_the_heartbeat_goes_on_while_nothing_happens(db: Database, claim: Claim) -> None:
    before = runs.get(db, claim.run_id).heartbeat_at
    with Progress(db, claim):
        assert within(3, lambda: (runs.get(db, claim.run_id).heartbeat_at or 0) > (before or 0))


@pytest.mark.parametrize("wish", list(Wish))
def test_a_wish_is_heard_within_two_seconds(db: Database, claim: Claim, wish: Wish) -> None:
    with Progress(db, claim) as progress:
        runs.ask(db, claim.run_id, wish)
        assert within(2, lambda: progress.wish)
        with pytest.raises(StopAsked) as stopped:
            progress.check_wish()
    assert stopped.value.wish is wish


def test_a_process_that_lost_the_run_is_told_and_writes_nothing_more(db: Database, claim: Claim) -> None:
    with Progress(db, claim) as progress:
        runs.move(db, claim.run_id, RunStatus.FAILED)
        progress.point(5, now=True, train_loss=1.0)
        assert within(2, lambda: progress._failure)
        with pytest.raises(Lost):
            progress.check()
    assert metrics.read(db, claim.run_id) == []


def test_a_step_pays_microseconds(db: Database, claim: Claim) -> None:
    with Progress(db, claim) as progress:
        began = time.process_time()
        for step in range(2000):
            progress.point(step, train_loss=1.0, learning_rate=1.0, gradient_norm=1.0, tokens=1, seconds=1.0)
            progress.tell(step=step)
        assert (time.process_time() - began) / 2000 < 1e-3
    assert len(metrics.read(db, claim.run_id, at_most=5000)) == 2000
