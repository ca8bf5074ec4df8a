import threading

import pytest

from studio.core.errors import NotFound
from studio.core.run_state import RunStatus, Wish
from studio.store import datasets, metrics, runs
from studio.store.db import Database, open_database
from studio.store.home import Home
from studio.store.runs import Claim, Lost


@pytest.fixture
def db(home: Home) -> Database:
    return open_database(home.database)


def queued(db: Database, **columns: object) -> int:
    dataset = datasets.create(
        db, name="d", filename="d.csv", sha256="0" * 64, shape="columns", mapping={}, columns=[], rows=1, usable_rows=1,
        skipped=[],
    )  # fmt: skip
    return runs.create(db, name="r", recipe={}, dataset_id=dataset.id, data={}, base_id="starter", **columns).id


def test_a_run_is_claimed_once(db: Database) -> None:
    run_id = queued(db)
    claims: list[Claim | None] = []
    threads = [threading.Thread(target=lambda: claims.append(runs.claim(db, run_id))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [c for c in claims if c] == [Claim(run_id, 1)]


def test_the_same_request_twice_is_one_run(db: Database) -> None:
    assert queued(db, request_key="k") == queued(db, request_key="k") != queued(db, request_key="other")


def test_a_stale_claim_may_not_write(db: Database) -> None:
    run_id = queued(db)
    claim = runs.claim(db, run_id)
    assert claim
    with pytest.raises(Lost), db.writing() as session:
        runs.report(session, Claim(run_id, claim.fence - 1), step=3)
    assert not runs.move(db, run_id, RunStatus.SUCCEEDED, fence=claim.fence - 1)
    assert runs.get(db, run_id).status == RunStatus.RUNNING


def test_an_ended_run_stays_as_it_is(db: Database) -> None:
    run_id = queued(db)
    assert runs.move(db, run_id, RunStatus.DISCARDED)
    assert not runs.move(db, run_id, RunStatus.FAILED)
    assert runs.claim(db, run_id) is None
    assert [event.new for event in runs.events(db, run_id)] == ["queued", "discarded"]


def test_a_report_brings_back_the_wish(db: Database) -> None:
    run_id = queued(db)
    claim = runs.claim(db, run_id)
    assert claim
    with db.writing() as session:
        assert runs.report(session, claim, step=1) is None
    runs.ask(db, run_id, Wish.KEEP)
    with db.writing() as session:
        assert runs.report(session, claim, step=2) is Wish.KEEP


def test_finish_leaves_the_adapter_in_the_same_moment(db: Database) -> None:
    run_id = queued(db)
    claim = runs.claim(db, run_id)
    assert claim
    adapter = {"path": "runs/1/adapter", "sha256": "a", "size_bytes": 1, "base_id": "starter", "base_fingerprint": "f"}
    assert not runs.finish(db, Claim(run_id, 99), RunStatus.SUCCEEDED, {}, adapter)
    assert runs.adapter_of(db, run_id) is None
    assert runs.finish(db, claim, RunStatus.SUCCEEDED, {"steps": 3}, adapter)
    assert runs.adapter_of(db, run_id) is not None


def test_an_unknown_run_is_said_in_words(db: Database) -> None:
    with pytest.raises(NotFound, match="There is no run 7"):
        runs.get(db, 7)


def test_metrics_complete_each_other_and_thin_out(db: Database) -> None:
    run_id = queued(db)
    with db.writing() as session:
        metrics.write(session, run_id, [{"step": n, "train_loss": float(n)} for n in range(1, 5001)])
        metrics.write(session, run_id, [{"step": 1234, "validation_loss": 0.5}])
    rows = metrics.read(db, run_id, at_most=100)
    assert 100 <= len(rows) <= 103
    assert rows[-1]["step"] == 5000
    checked = [row for row in rows if row["validation_loss"] is not None]
    assert [(row["step"], row["train_loss"]) for row in checked] == [(1234, 1234.0)]


def test_the_revision_changes_with_every_kind_of_news(db: Database) -> None:
    run_id = queued(db)
    seen = [metrics.revision(db, run_id)]
    for write in (
        lambda s: metrics.write(s, run_id, [{"step": 0, "validation_loss": 1.0}]),
        lambda s: metrics.write(s, run_id, [{"step": 1, "train_loss": 1.0}]),
        lambda s: metrics.write_samples(
            s, run_id, [{"step": 0, "position": 0, "question": "q", "expected": "e", "answer": "a"}]
        ),
    ):
        with db.writing() as session:
            write(session)
        seen.append(metrics.revision(db, run_id))
    assert len(set(seen)) == 4


def test_many_writers_at_once_all_succeed(db: Database) -> None:
    run_id = queued(db)
    failures: list[Exception] = []

    def write_some(start: int) -> None:
        own = Database(db.path)
        try:
            for n in range(20):
                with own.writing() as session:
                    metrics.write(session, run_id, [{"step": start + n, "train_loss": 1.0}])
        except Exception as error:
            failures.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=write_some, args=(100 * n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(metrics.read(db, run_id)) == 120
