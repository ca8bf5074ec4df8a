"""Numbers as people say them, and a curve as a sentence and a table."""

from typing import Any

import pytest

from studio.ui import charts, words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (3, "less than a minute"),
        (60, "about 1 min"),
        (3540, "about 59 min"),
        (3600, "about 1 h"),
        (5400, "about 1 h 30 min"),
        (40_000, "about 11 hours"),
    ],
)
def test_a_duration_in_words(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(0.3, "less than one pass"), (1, "about 1 pass"), (5, "about 5 passes"), (2.46, "about 2.5 passes")],
)
def test_passes_in_words(number: float, said: str) -> None:
    assert words.passes(number) == said


def rows(count: int, check_every: int) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "train_loss": None if step == 0 else 4 - step / count,
            "validation_loss": 4 - step / count if step % check_every == 0 else None,
            "tokens_per_second": 100.0,
            "memory_gib": 1.25,
        }
        for step in range(count + 1)
    ]


def test_the_chart_begins_with_the_untrained_model() -> None:
    columns = charts.columns(rows(10, 5))
    assert (columns["step"][0], columns["learning"][0], columns["unseen"][0]) == (0, None, 4.0)


def test_the_table_keeps_every_check_and_the_last_step() -> None:
    steps = [row[0] for row in charts.table(rows(1001, 100))]
    assert {"0", "100", "1,000", "1,001"} <= set(steps)
    assert len(steps) < 90


def test_a_curve_in_a_sentence() -> None:
    assert charts.sentence([]).startswith("The first numbers")
    assert charts.sentence(rows(10, 100)[:1]) == (
        "Before training, mistakes on unseen examples stand at 4.000. Lower is better."
    )
    assert charts.sentence(rows(10, 5)) == "Mistakes on unseen examples fell from 4.000 to 3.000. Lower is better."
    worse = rows(10, 5)
    worse[-1]["validation_loss"] = 5.0
    assert charts.sentence(worse) == ("Mistakes on unseen examples rose from 4.000 to 5.000; the lowest was 3.500.")
