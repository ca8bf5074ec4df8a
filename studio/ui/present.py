"""Trained models and storage as JSON for the pages' own scripts, which show every value as text, never as markup."""

from typing import Any

from studio.services import runs, storage
from studio.services.context import Studio
from studio.services.runs import RunView
from studio.services.storage import Kind, Report, Thing
from studio.ui import words


def models_page(studio: Studio) -> dict[str, Any]:
    """What was trained, and the runs that left nothing or are not done."""
    trained = runs.trained(studio)
    with_adapter = {view.run.id for view in trained}
    others = [runs.view(studio, run.id) for run in runs.every(studio)[:100] if run.id not in with_adapter]
    return {
        "trained": [line(view) | {"result": _result(view)} for view in trained],
        "others": [line(view) for view in others],
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


def line(view: RunView) -> dict[str, Any]:
    """What every page says of a run."""
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


def _result(view: RunView) -> str:
    loss = view.run.summary.get("validation_loss") or {}
    base, last = loss.get("base"), loss.get("last")
    if base is None or last is None:
        return ""
    held_back = words.count(view.run.data.get("validation_rows", 0), "unseen example")
    return f"On {held_back}: loss {words.loss(base)} → {words.loss(last)}"
