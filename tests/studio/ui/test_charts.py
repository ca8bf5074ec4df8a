"""A curve as columns for the charts, as a table, as sentences, and as a file."""

import csv
import io
import json
import math
from typing import Any

import pytest

from studio.store.metrics import COLUMNS
from studio.ui import charts


def row(step: int, **values: float | None) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS) | {"step": step} | values


def rows(count: int, check_every: int) -> list[dict[str, Any]]:
    return [
        row(
            step,
            train_loss=None if step == 0 else 4 - step / count,
            validation_loss=4 - step / count if step % check_every == 0 else None,
            tokens_per_second=100.0,
            memory_gib=1.25,
        )
        for step in range(count + 1)
    ]


def checked(*losses: float) -> list[dict[str, Any]]:
    """Checks every 60 steps, the first of the untrained model."""
    return [row(60 * at, validation_loss=value) for at, value in enumerate(losses)]


def test_the_chart_begins_with_the_untrained_model() -> None:
    columns = charts.columns(rows(10, 5))
    assert (columns["step"][0], columns["train_loss"][0], columns["validation_loss"][0]) == (0, None, 4.0)


def test_what_was_never_measured_is_no_series() -> None:
    assert set(charts.columns(rows(10, 5))) == {
        "step",
        "train_loss",
        "validation_loss",
        "tokens_per_second",
        "memory_gib",
    }
    assert "token_accuracy" in charts.columns([row(1, token_accuracy=0.0)])
    assert charts.columns([row(1, tokens=5)]) == {"step": []}


def test_a_number_that_json_does_not_know_is_a_gap() -> None:
    columns = charts.columns([row(1, gradient_norm=math.inf, train_loss=0.123456789), row(2, gradient_norm=1.5)])
    assert columns == {"step": [1, 2], "train_loss": [0.12346, None], "gradient_norm": [None, 1.5]}
    json.dumps(columns, allow_nan=False)
    assert charts.checks([row(0, validation_loss=math.inf), row(60, validation_loss=2.0)]) == {60: 2.0}


def test_the_table_keeps_every_check_and_the_last_step() -> None:
    table = charts.table(rows(1001, 100))
    steps = [cells[0] for cells in table["rows"]]
    assert {"0", "100", "1,000", "1,001"} <= set(steps)
    assert len(steps) < 90


def test_the_table_has_a_column_for_each_measure_and_empty_cells_where_none_was_taken() -> None:
    table = charts.table([row(0, validation_accuracy=0.25), row(1, learning_rate=2e-4, gradient_norm=12.3456)])
    assert table["head"] == ["Step", "Unseen examples (tokens right)", "Learning rate", "Gradient norm"]
    assert table["rows"] == [["0", "25.0%", "", ""], ["1", "", "2.00e-04", "12.3"]]


def test_a_curve_in_a_sentence() -> None:
    assert charts.sentence([]).startswith("The first numbers")
    assert charts.sentence(rows(10, 100)[:1]) == (
        "Before training, mistakes on unseen examples stand at 4.000. Lower is better."
    )
    assert charts.sentence(rows(10, 5)) == "Mistakes on unseen examples fell from 4.000 to 3.000. Lower is better."
    assert charts.sentence(checked(4.0, 3.5, 5.0)) == (
        "Mistakes on unseen examples rose from 4.000 to 5.000; the lowest was 3.500, at step 60."
    )
    assert charts.sentence(checked(4.0, 5.0)).endswith("the lowest was 4.000, before training.")


def test_the_best_step_is_the_lowest_check_until_the_end_says_which() -> None:
    found = checked(4.0, 3.0, 2.0, 2.5)
    assert charts.best_step(found, {}) == 120
    assert charts.best_step(found[:2], {}) == 60
    assert charts.best_step(found, {"validation_loss": {"best_step": 60}}) == 60
    assert charts.best_step(found, {"validation_loss": {"best_step": None}}) == 120
    assert charts.best_step([row(1, train_loss=1.0)], {}) is None


EARLY = "Training stopped at step 240 because it had not improved for 2 checks."


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ({}, ""),
        ({"kept_step": None, "ended_early": None}, ""),
        ({"ended_early": "It stopped by itself"}, "It stopped by itself."),
        ({"kept_step": 120}, "The adapter is from step 120, the best of 4 checks."),
        (
            {"kept_step": 120, "ended_early": EARLY},
            f"The adapter is from step 120, the best of 4 checks. {EARLY}",
        ),
        ({"kept_step": 240}, "The adapter is from step 240; the best check was at step 120."),
        (
            {"kept_step": 240, "validation_loss": {"best_step": 0}},
            "The adapter is from step 240; the best check was before training.",
        ),
    ],
)
def test_which_step_was_kept_and_why_it_ended(summary: dict[str, Any], said: str) -> None:
    assert charts.kept(checked(4.0, 3.0, 2.0, 2.5, 2.75), summary) == said


def test_a_kept_step_without_any_check_is_called_nothing_more() -> None:
    assert charts.kept([row(9, train_loss=1.0)], {"kept_step": 9}) == "The adapter is from step 9."
    assert charts.kept(checked(4.0, 3.0), {"kept_step": 60}) == "The adapter is from step 60."


def test_the_file_has_every_column_in_full_precision_and_empty_cells_for_gaps() -> None:
    written = "".join(charts.as_csv(COLUMNS, (row(n, train_loss=n / 3) for n in range(3000))))
    read = list(csv.DictReader(io.StringIO(written, newline="")))
    assert tuple(read[0]) == COLUMNS
    assert len(read) == 3000
    assert float(read[-1]["train_loss"]) == 2999 / 3
    assert read[0]["memory_gib"] == ""
