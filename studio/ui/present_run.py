"""A run as JSON for its page's script, which puts every value on the page as text, never as markup."""

from collections.abc import Callable
from typing import Any
from zlib import crc32

from studio.core.run_state import RunStatus
from studio.services import runs
from studio.services.context import Studio
from studio.services.runs import RunView
from studio.ui import charts, words
from studio.ui.present import line


def run_page(studio: Studio, run_id: int, known: str = "") -> dict[str, Any]:
    """All the run page shows. What only changes with `revision` is left out if the page knows that one already."""
    log = runs.log_tail(studio, run_id)
    view = runs.view(studio, run_id)
    revision = "-".join(map(str, (view.run.status, *runs.revision(studio, run_id), crc32(log.encode()))))
    page = _state(view) | {"revision": revision}
    if revision == known:
        return page
    rows = runs.curve(studio, run_id, at_most=1000)
    return page | {
        "facts": _facts(view, rows),
        "chart": charts.columns(rows),
        "table": charts.table(rows),
        "sentence": charts.sentence(rows),
        "best": _best(view, rows),
        "kept_step": _summary(view).get("kept_step"),
        "kept": charts.kept(rows, _summary(view)),
        "samples": _samples(studio, run_id),
        "log": log,
        "recipe": view.recipe.as_yaml(),
    }


def _state(view: RunView) -> dict[str, Any]:
    run = view.run
    running = run.status == RunStatus.RUNNING
    left = f"{words.duration(run.seconds_left)} left" if running and run.seconds_left is not None else ""
    saved = view.checkpoint_step
    return line(view) | {
        "wish": run.wish,
        "rests": view.rests,
        "checkpoint_step": saved,
        "saved": f"saved at step {saved:,}" if saved and not view.ended else "",
        "story": [{"when": words.moment(event.at), "text": event.reason} for event in view.interruptions],
        "phase": run.phase,
        "time_left": left,
        "forecast": _forecast(view),
        "step": f"step {run.step:,} of {run.total_steps:,}" if run.total_steps else "",
        "notice": run.notice or "",
        "error": {"message": run.error_message, "hint": run.error_hint or "", "detail": run.error_detail or ""}
        if run.error_message
        else None,
    }


def _facts(view: RunView, rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The key numbers, each with what it means."""
    run, summary = view.run, _summary(view)
    speed = summary.get("tokens_per_second") or next(reversed(_values(rows, "tokens_per_second")), None)
    memory = summary.get("peak_memory_gib") or max(_values(rows, "memory_gib"), default=0)
    facts = [
        *_course(rows, "validation_loss", "Unseen examples", words.loss, "Loss on held-back examples, {}"),
        *_course(rows, "train_loss", "While learning", words.loss, "Loss on the examples it learns from, {}"),
        *_course(rows, "validation_accuracy", "Tokens right", charts.share, "Of held-back answers, {}"),
    ]
    if speed:
        facts.append(_fact("Speed", f"{speed:,.0f} tokens/s", "A token is about three quarters of a word"))
    if memory:
        facts.append(_fact("Memory", f"{memory:.1f} GiB", "The most that training has used"))
    saved = summary.get("checkpoints") or {}
    if saved.get("count"):
        share = saved["seconds"] / max(sum(run.phase_seconds.values()), 1e-9)
        value = f"{saved['count']:,}, {share:.1%} of the time"
        facts.append(_fact("Checkpoints", value, "Saved on the way, to go on from after an interruption"))
    learned, held_back = run.data.get("train_rows", 0), run.data.get("validation_rows", 0)
    facts.append(_fact("Examples", f"{learned:,} + {held_back:,}", "To learn from, and held back to check"))
    return facts


def _course(
    rows: list[dict[str, Any]], name: str, label: str, say: Callable[[float], str], means: str
) -> list[dict[str, str]]:
    """A fact of the first and the newest value of a series; none if it has no value."""
    values = _values(rows, name)
    if not values:
        return []
    when = "first and now" if name == "train_loss" else "before training and now"
    return [_fact(label, " → ".join(map(say, values[:1] + values[1:][-1:])), means.format(when))]


def _values(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows if row[name] is not None]


def _fact(label: str, value: str, means: str) -> dict[str, str]:
    return {"label": label, "value": value, "means": means}


def _summary(view: RunView) -> dict[str, Any]:
    """The end's figures; none of an earlier end while a run goes on."""
    return view.run.summary if view.ended else {}


def _best(view: RunView, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The check to mark on the chart: its step and its loss."""
    step = charts.best_step(rows, _summary(view))
    value = charts.checks(rows).get(step) if step is not None else None
    return {"step": step, "value": value} if value is not None else None


def _forecast(view: RunView) -> list[list[str]]:
    """What was expected beside what happened, a row each: name, expected, was. Empty without a forecast."""
    forecast, run = view.run.data.get("forecast") or {}, view.run
    minutes, memory = forecast.get("minutes"), (forecast.get("memory_gib") or {}).get("total")
    told = []
    if minutes is not None:
        low, high = forecast.get("minutes_low"), forecast.get("minutes_high")
        between = f" ({_minutes(low).removesuffix(' min')} to {_minutes(high)})" if low is not None and high else ""
        spent = sum(run.phase_seconds.values()) / 60
        told.append(["Time", f"{_minutes(minutes)}{between}", _minutes(spent) if view.ended and spent else ""])
    if memory is not None:
        peak = _summary(view).get("peak_memory_gib")
        told.append(["Memory", f"{memory:.1f} GiB", f"{peak:.1f} GiB" if peak else ""])
    return told


def _minutes(minutes: float) -> str:
    """“0.4 min”, “12 min”, “2 h 5 min”: close enough to compare two of them."""
    if minutes < 10:
        return f"{minutes:.1f} min"
    hours, rest = divmod(round(minutes), 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def _samples(studio: Studio, run_id: int) -> dict[str, Any]:
    """`steps` after which the model was asked, and for each question the answers by step; 0 is the untrained model."""
    found: dict[int, dict[str, Any]] = {}
    steps: set[int] = set()
    for sample in runs.samples(studio, run_id):  # by question, then by step
        about = {"question": sample.question, "expected": sample.expected, "answers": {}}
        found.setdefault(sample.position, about)["answers"][sample.step] = sample.answer
        steps.add(sample.step)
    return {"steps": sorted(steps), "questions": list(found.values())}
