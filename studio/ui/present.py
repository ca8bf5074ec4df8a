"""Runs and storage as JSON for the pages' own scripts, which put every value on the page as text, never as markup."""

from typing import Any
from zlib import crc32

from studio.core.run_state import RunStatus
from studio.services import runs, storage
from studio.services.context import Studio
from studio.services.runs import RunView
from studio.services.storage import Kind, Report, Thing
from studio.ui import charts, words


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
        "samples": _samples(studio, run_id),
        "log": log,
        "recipe": view.recipe.as_yaml(),
    }


def models_page(studio: Studio) -> dict[str, Any]:
    """What was trained, and the runs that left nothing or are not done."""
    trained = runs.trained(studio)
    with_adapter = {view.run.id for view in trained}
    others = [runs.view(studio, run.id) for run in runs.every(studio)[:100] if run.id not in with_adapter]
    return {
        "trained": [_line(view) | {"result": _result(view)} for view in trained],
        "others": [_line(view) for view in others],
        "active": any(not view.ended for view in others),
    }


def storage_page(report: Report) -> dict[str, Any]:
    """What takes how much room, with the question to ask before each thing is deleted."""
    return {
        "total": words.size(report.size_bytes),
        "free": words.size(report.free_bytes),
        "groups": [_group(group) for group in report.groups if group.count or group.kind == Kind.RUN],
    }


def _group(group: storage.Group) -> dict[str, Any]:
    hidden = group.count - len(group.things)
    about = f"{words.count(group.count, 'entry', 'entries')}, {words.size(group.size_bytes)} in all"
    return {
        "title": group.title,
        "size": words.size(group.size_bytes),
        "share": group.size_bytes,
        "about": f"{about}. The largest {len(group.things):,} are shown." if hidden else f"{about}.",
        "hidden": hidden,
        "things": [_thing(group.kind, thing) for thing in group.things],
    }


def _thing(kind: Kind | None, thing: Thing) -> dict[str, Any]:
    size = words.size(thing.size_bytes)
    shown: dict[str, Any] = {
        "id": thing.id,
        "kind": kind,
        "name": thing.name,
        "href": f"/run?id={thing.id}" if kind == Kind.RUN else None,
        "about": " · ".join([thing.about] * bool(thing.about) + _parts(thing)),
        "in_use": thing.in_use,
        "size": size,
    }
    if kind is not None and not thing.in_use:
        warning = thing.warning or "It is removed for good."
        shown |= {"ask": f"Delete {thing.name}, {size}? {warning}", "done": f"Deleted: {thing.name}, {size}."}
    checkpoints = thing.parts.get("checkpoints")
    if checkpoints and not thing.unended:
        freed = words.size(checkpoints)
        shown["checkpoints"] = {
            "kind": Kind.CHECKPOINTS,
            "id": thing.id,
            "ask": f"Delete the checkpoints of {thing.name}, {freed}? It cannot go on after that.",
            "done": f"Deleted: the checkpoints of {thing.name}, {freed}.",
        }
    return shown


def _parts(thing: Thing) -> list[str]:
    return [f"{name} {words.size(size)}" for name, size in thing.parts.items()]


def _state(view: RunView) -> dict[str, Any]:
    run = view.run
    running = run.status == RunStatus.RUNNING
    left = f"{words.duration(run.seconds_left)} left" if running and run.seconds_left is not None else ""
    saved = view.checkpoint_step
    return _line(view) | {
        "wish": run.wish,
        "rests": view.rests,
        "checkpoint_step": saved,
        "saved": f"saved at step {saved:,}" if saved and not view.ended else "",
        "story": [{"when": words.moment(event.at), "text": event.reason} for event in view.interruptions],
        "phase": run.phase,
        "time_left": left,
        "step": f"step {run.step:,} of {run.total_steps:,}" if run.total_steps else "",
        "notice": run.notice or "",
        "error": {"message": run.error_message, "hint": run.error_hint or "", "detail": run.error_detail or ""}
        if run.error_message
        else None,
    }


def _line(view: RunView) -> dict[str, Any]:
    run = view.run
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status,
        "headline": view.headline,
        "ended": view.ended,
        "percent": round(100 * view.share_done),
        "has_adapter": view.adapter is not None,
        "about": f"{view.base_name} · {words.count(run.data.get('rows', 0), 'example')} · {view.recipe.preset}",
        "when": words.moment(run.created_at),
    }


def _facts(view: RunView, rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The key numbers, each with what it means."""
    summary = view.run.summary

    def newest(name: str) -> Any:
        return next((row[name] for row in reversed(rows) if row[name] is not None), None)

    speed = summary.get("tokens_per_second") or newest("tokens_per_second")
    memory = summary.get("peak_memory_gib") or max((r["memory_gib"] or 0 for r in rows), default=0)
    facts = []
    checks = [r["validation_loss"] for r in rows if r["validation_loss"] is not None]
    if checks:
        now = checks[-1] if len(checks) > 1 else None
        value = f"{words.loss(checks[0])} → {words.loss(now)}" if now is not None else words.loss(checks[0])
        facts.append(_fact("Unseen examples", value, "Loss on held-back examples, before training and now"))
    learning = [r["train_loss"] for r in rows if r["train_loss"] is not None]
    if learning:
        value = f"{words.loss(learning[0])} → {words.loss(learning[-1])}"
        facts.append(_fact("While learning", value, "Loss on the examples it learns from, first and now"))
    if speed:
        facts.append(_fact("Speed", f"{speed:,.0f} tokens/s", "A token is about three quarters of a word"))
    if memory:
        facts.append(_fact("Memory", f"{memory:.1f} GiB", "The most that training has used"))
    saved = summary.get("checkpoints") or {}
    if saved.get("count"):
        share = saved["seconds"] / max(sum(view.run.phase_seconds.values()), 1e-9)
        value = f"{saved['count']:,}, {share:.1%} of the time"
        facts.append(_fact("Checkpoints", value, "Saved on the way, to go on from after an interruption"))
    held_back = view.run.data.get("validation_rows", 0)
    facts.append(
        _fact(
            "Examples",
            f"{view.run.data.get('train_rows', 0):,} + {held_back:,}",
            "To learn from, and held back to check",
        )
    )
    return facts


def _fact(label: str, value: str, means: str) -> dict[str, str]:
    return {"label": label, "value": value, "means": means}


def _result(view: RunView) -> str:
    loss = view.run.summary.get("validation_loss") or {}
    base, last = loss.get("base"), loss.get("last")
    if base is None or last is None:
        return ""
    held_back = words.count(view.run.data.get("validation_rows", 0), "unseen example")
    return f"On {held_back}: loss {words.loss(base)} → {words.loss(last)}"


def _samples(studio: Studio, run_id: int) -> list[dict[str, str]]:
    """One entry a question: what was expected, the untrained model's answer and the newest one."""
    found: dict[int, dict[str, str]] = {}
    for sample in runs.samples(studio, run_id):  # by question, then by step
        entry = found.setdefault(
            sample.position, {"question": sample.question, "expected": sample.expected, "before": "", "now": ""}
        )
        entry["before" if sample.step == 0 else "now"] = sample.answer
    return list(found.values())
