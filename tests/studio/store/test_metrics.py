"""Numbers of a run: all of them, in order, whoever else has written some."""

from pathlib import Path
from typing import Any

import pytest

from studio.store import datasets, metrics, runs
from studio.store.db import Database, open_database


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return open_database(tmp_path / "studio.db")


def a_run(db: Database) -> int:
    about: dict[str, Any] = {"name": "d", "filename": "d.csv", "sha256": "x", "shape": "columns", "mapping": {}}
    dataset = datasets.create(db, **about, columns=[], rows=1, usable_rows=1, skipped=[])
    return runs.create(db, name="r", recipe={}, dataset_id=dataset.id, data={}, base_id="starter").id


def test_every_row_comes_once_and_in_order_across_slices(db: Database) -> None:
    first, other = a_run(db), a_run(db)
    count = metrics.ROWS_AT_ONCE + 7
    with db.writing() as session:
        metrics.write(session, first, [{"step": n, "train_loss": n / 3} for n in range(count)])
        metrics.write(session, other, [{"step": n, "train_loss": 0.5} for n in range(9)])
    read = list(metrics.every(db, first))
    assert [row["step"] for row in read] == list(range(count))
    assert read[-1]["train_loss"] == (count - 1) / 3
    assert set(read[0]) == set(metrics.COLUMNS)


def test_shares_of_tokens_right_are_kept_beside_the_losses(db: Database) -> None:
    run_id = a_run(db)
    with db.writing() as session:
        metrics.write(session, run_id, [{"step": 4, "train_loss": 1.0, "token_accuracy": 0.5}])
        metrics.write(session, run_id, [{"step": 4, "validation_loss": 2.0, "validation_accuracy": 0.25}])
    (row,) = metrics.read(db, run_id)
    assert (row["train_loss"], row["token_accuracy"], row["validation_accuracy"]) == (1.0, 0.5, 0.25)


def test_a_run_without_numbers_has_no_rows(db: Database) -> None:
    assert list(metrics.every(db, a_run(db))) == []
