"""A run's metric rows as what the chart, the table and the sentence beside it need."""

from collections.abc import Sequence
from typing import Any

from studio.ui.words import loss

TABLE_ROWS = 60


def columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """uPlot's shape: one list a series, gaps as None."""
    shown = [r for r in rows if r["train_loss"] is not None or r["validation_loss"] is not None]
    return {
        "step": [r["step"] for r in shown],
        "learning": [_rounded(r["train_loss"]) for r in shown],
        "unseen": [_rounded(r["validation_loss"]) for r in shown],
    }


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The same numbers in at most about TABLE_ROWS rows: every check of the unseen examples and some steps between."""
    stride = max(1, -(-len(rows) // TABLE_ROWS))
    shown = [r for i, r in enumerate(rows) if i % stride == 0 or r["validation_loss"] is not None or i == len(rows) - 1]
    return [
        [
            f"{r['step']:,}",
            _cell(r["train_loss"]),
            _cell(r["validation_loss"]),
            f"{r['tokens_per_second']:,.0f}" if r["tokens_per_second"] else "",
            f"{r['memory_gib']:.1f}" if r["memory_gib"] else "",
        ]
        for r in shown
    ]


def sentence(rows: Sequence[dict[str, Any]]) -> str:
    """What the chart shows, for whoever cannot see it or cannot read it."""
    checks = [r["validation_loss"] for r in rows if r["validation_loss"] is not None]
    learning = [r["train_loss"] for r in rows if r["train_loss"] is not None]
    if len(checks) >= 2:
        went = "fell" if checks[-1] < checks[0] else "rose"
        text = f"Mistakes on unseen examples {went} from {loss(checks[0])} to {loss(checks[-1])}"
        best = min(checks)
        return f"{text}; the lowest was {loss(best)}." if best < checks[-1] else f"{text}. Lower is better."
    if len(learning) >= 2:
        return f"Mistakes while learning went from {loss(learning[0])} to {loss(learning[-1])}. Lower is better."
    if checks:
        return f"Before training, mistakes on unseen examples stand at {loss(checks[0])}. Lower is better."
    return "The first numbers appear when training begins."


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _cell(value: float | None) -> str:
    return "" if value is None else loss(value)
