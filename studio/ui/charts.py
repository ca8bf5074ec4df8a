"""A run's metric rows as what the charts, the table, the sentence and the file beside them need."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from studio.ui.words import loss

Row = dict[str, Any]

TABLE_ROWS = 60
SERIES = (
    "train_loss",
    "validation_loss",
    "token_accuracy",
    "validation_accuracy",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "memory_gib",
)
SIGNIFICANT_DIGITS = 5  # of what is drawn: more than a screen has pixels


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """uPlot's shape: `step` and one list a series, gaps as None. A series without any value is left out."""
    shown = [row for row in rows if any(row[name] is not None for name in SERIES)]
    found = {name: [_drawn(row[name]) for row in shown] for name in SERIES}
    kept = {name: values for name, values in found.items() if any(value is not None for value in values)}
    return {"step": [row["step"] for row in shown]} | kept


def checks(rows: Iterable[Row]) -> dict[int, float]:
    """The loss on held-back examples by step; step 0 is the untrained model."""
    return {row["step"]: row["validation_loss"] for row in rows if _drawn(row["validation_loss"]) is not None}


def best_step(rows: Iterable[Row], summary: Mapping[str, Any]) -> int | None:
    """The step of the lowest loss on held-back examples: what the end says of it, else the lowest so far."""
    told = (summary.get("validation_loss") or {}).get("best_step")
    found = checks(rows)
    return told if told is not None else min(found, key=found.__getitem__, default=None)


def table(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """`head` and `rows`: the same numbers in at most about TABLE_ROWS rows, every check and some steps between."""
    stride = max(1, -(-len(rows) // TABLE_ROWS))
    shown = [r for i, r in enumerate(rows) if i % stride == 0 or r["validation_loss"] is not None or i == len(rows) - 1]
    told = {name: about for name, about in _TABLE.items() if any(row[name] is not None for row in shown)}
    return {
        "head": ["Step", *(title for title, _ in told.values())],
        "rows": [
            [f"{row['step']:,}", *("" if row[name] is None else say(row[name]) for name, (_, say) in told.items())]
            for row in shown
        ],
    }


def sentence(rows: Sequence[Row]) -> str:
    """What the chart shows, for whoever cannot see it or cannot read it."""
    found = checks(rows)
    measured = list(found.values())
    learning = [row["train_loss"] for row in rows if row["train_loss"] is not None]
    if len(measured) >= 2:
        went = "fell" if measured[-1] < measured[0] else "rose"
        text = f"Mistakes on unseen examples {went} from {loss(measured[0])} to {loss(measured[-1])}"
        best = min(found, key=found.__getitem__)
        if found[best] == measured[-1]:
            return f"{text}. Lower is better."
        return f"{text}; the lowest was {loss(found[best])}, {f'at step {best:,}' if best else 'before training'}."
    if len(learning) >= 2:
        return f"Mistakes while learning went from {loss(learning[0])} to {loss(learning[-1])}. Lower is better."
    if measured:
        return f"Before training, mistakes on unseen examples stand at {loss(measured[0])}. Lower is better."
    return "The first numbers appear when training begins."


def kept(rows: Iterable[Row], summary: Mapping[str, Any]) -> str:
    """Which step's weights the adapter has, and why training ended before its time; "" if nothing is said of either."""
    parts = []
    step, best = summary.get("kept_step"), best_step(rows, summary)
    if step is not None:
        made = sum(check > 0 for check in checks(rows))
        if step != best:
            more = (
                f"; the best check was {f'at step {best:,}' if best else 'before training'}" if best is not None else ""
            )
        else:
            more = f", the best of {made} checks" if made > 1 else ""
        parts.append(f"The adapter is from step {step:,}{more}.")
    if early := str(summary.get("ended_early") or "").strip():
        parts.append(early if early.endswith((".", "!", "?")) else f"{early}.")
    return " ".join(parts)


def as_csv(names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Lines of a CSV file with all columns, in full precision; what was not measured is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([row[name] for name in names])
        if buffer.tell() > 1 << 15:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def share(value: float) -> str:
    """“62.5%”"""
    return f"{value:.1%}"


def _drawn(value: float | None) -> float | None:
    """Infinity is no number in JSON, and no point on a chart."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if value is not None and math.isfinite(value) else None


_TABLE: dict[str, tuple[str, Callable[[float], str]]] = {
    "train_loss": ("Learning (loss)", loss),
    "validation_loss": ("Unseen examples (loss)", loss),
    "token_accuracy": ("Learning (tokens right)", share),
    "validation_accuracy": ("Unseen examples (tokens right)", share),
    "learning_rate": ("Learning rate", lambda value: f"{value:.2e}"),
    "gradient_norm": ("Gradient norm", lambda value: f"{value:.3g}"),
    "tokens_per_second": ("Tokens/s", lambda value: f"{value:,.0f}"),
    "memory_gib": ("Memory (GiB)", lambda value: f"{value:.1f}"),
}
