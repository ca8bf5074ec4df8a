"""What each thing takes on disk, and how to be rid of it. Refusals name what still needs it."""

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.core.errors import NotFound, StudioError
from studio.core.run_state import ENDED, RunStatus
from studio.services import base_models
from studio.services.context import Studio
from studio.services.runs import parse_id
from studio.store import deletions
from studio.store.base_models import folder_of
from studio.store.locks import Held, exclusive
from studio.store.tables import Checkpoint, Dataset, Run

_PART = re.compile(r"(adapter\.zip)|(adapter)|(checkpoints)|(log\.txt)")
_PART_NAMES = ("exported zip", "adapter", "checkpoints", "log")
_BUSY = {
    RunStatus.QUEUED: "It waits to be trained. Stop it first.",
    RunStatus.RUNNING: "It is being trained. Stop it first.",
    RunStatus.PAUSED: "It is paused. Stop it first.",
}
_RUN_COLUMNS = (Run.id, Run.name, Run.status, Run.base_id, Run.dataset_id, Run.parent_id, Run.created_at)


class Kind(StrEnum):
    RUN = "run"
    CHECKPOINTS = "checkpoints"  # of the run with that number
    DATASET = "dataset"
    MODEL = "model"
    UPLOAD = "upload"
    BACKUP = "backup"


@dataclass(frozen=True)
class Thing:
    """Something that takes room. `in_use` says why it cannot be deleted, `warning` what is lost with it."""

    id: str
    name: str
    about: str
    size_bytes: int
    in_use: str = ""
    warning: str = ""
    parts: dict[str, int] = field(default_factory=dict)  # of a run, by name
    unended: bool = False  # a run whose checkpoints it still needs


@dataclass(frozen=True)
class Group:
    """Things of one kind, the largest first. A group without a kind cannot be deleted from."""

    title: str
    kind: Kind | None
    size_bytes: int
    count: int
    things: list[Thing]  # the largest of them


@dataclass(frozen=True)
class Report:
    size_bytes: int
    free_bytes: int  # on the disk that holds the home folder
    groups: list[Group]


def report(studio: Studio, most: int = 100) -> Report:
    """Everything, `most` things of each group named. Looks at every file: 1 s at 10,000 runs."""
    home = studio.home
    with studio.db.reading() as session:
        runs = session.execute(select(*_RUN_COLUMNS)).all()
        datasets = session.execute(select(Dataset.id, Dataset.name, Dataset.usable_rows, Dataset.created_at)).all()
    groups = [
        _group("Runs", Kind.RUN, most, _runs(studio, runs)),
        _group("Base models", Kind.MODEL, most, _models(studio, runs)),
        _group("Data sets", Kind.DATASET, most, _datasets(studio, datasets, runs)),
        _group("Uploads", Kind.UPLOAD, most, _uploads(studio)),
        _group("Backups", Kind.BACKUP, most, _backups(studio)),
        _group("Database and logs", None, most, _others(studio)),
    ]
    total = sum(group.size_bytes for group in groups)
    return Report(total, shutil.disk_usage(home.path).free, groups)


def delete(studio: Studio, kind: Kind, thing_id: str, even_if_used: bool = False) -> None:
    """Remove a thing for good: its rows, then its files; what a killed process leaves is removed at the next start.

    Raises NotFound if there is none, and StudioError, in words, while something needs it. `even_if_used`: a base
    model whose runs have ended is deleted all the same.
    """
    if kind == Kind.MODEL:
        _delete_model(studio, thing_id, even_if_used)
    elif kind in (Kind.UPLOAD, Kind.BACKUP):
        deletions.remove(_path_of(studio, kind, thing_id), studio.home.deleted)
    else:
        number = parse_id(thing_id) if kind != Kind.DATASET else _number(thing_id)
        with studio.db.writing() as session:
            {Kind.RUN: _delete_run, Kind.CHECKPOINTS: _delete_checkpoints, Kind.DATASET: _delete_dataset}[kind](
                studio, session, number
            )
        deletions.sweep(studio.db, studio.home)


def sweep(studio: Studio) -> None:
    """Remove what deletions that were cut off have left."""
    deletions.sweep(studio.db, studio.home)


def find(studio: Studio, kind: Kind, thing_id: str) -> Thing:
    """One thing with its size, to ask about before it is deleted. Raises NotFound."""
    of_runs = kind == Kind.CHECKPOINTS
    wanted = str(parse_id(thing_id)) if of_runs or kind == Kind.RUN else thing_id
    groups = report(studio, most=10**9).groups
    group = next(group for group in groups if group.kind == (Kind.RUN if of_runs else kind))
    thing = next((thing for thing in group.things if thing.id == wanted), None)
    if thing is None or (of_runs and "checkpoints" not in thing.parts):
        raise _not_there(kind, thing_id)
    if of_runs:
        return Thing(thing.id, f"the checkpoints of {thing.name}", "", thing.parts["checkpoints"])
    return thing


# what there is


def _group(title: str, kind: Kind | None, most: int, things: Iterable[Thing]) -> Group:
    ordered = sorted(things, key=lambda thing: thing.size_bytes, reverse=True)
    return Group(title, kind, sum(thing.size_bytes for thing in ordered), len(ordered), ordered[:most])


def _runs(studio: Studio, runs: Iterable[Any]) -> Iterable[Thing]:
    children = _by(runs, "parent_id")
    for run in runs:
        parts = _parts(studio.home.run(run.id))
        busy = _BUSY.get(RunStatus(run.status), "")
        yield Thing(
            id=str(run.id),
            name=f"{run.name} (run {run.id})",
            about=f"{run.status} · {base_models.display_name(run.base_id)}",
            size_bytes=sum(parts.values()),
            in_use=busy or (f"{_users(children[run.id])} started from it." if run.id in children else ""),
            warning="Its adapter, its figures and its log are removed for good.",
            parts=parts,
            unended=bool(busy),
        )


def _datasets(studio: Studio, datasets: Iterable[Any], runs: Iterable[Any]) -> Iterable[Thing]:
    users = _by(runs, "dataset_id")
    for dataset in datasets:
        yield Thing(
            id=str(dataset.id),
            name=dataset.name,
            about=f"{dataset.usable_rows:,} examples",
            size_bytes=_size(studio.home.dataset(dataset.id)),
            in_use=f"{_users(users[dataset.id])} learned from it." if dataset.id in users else "",
        )


def _models(studio: Studio, runs: Iterable[Any]) -> Iterable[Thing]:
    models = studio.home.models
    users = defaultdict(list)
    for run in runs:
        users[folder_of(models, run.base_id)].append(run)
    for folder in sorted(models.iterdir()):
        if folder.name.startswith(".") or folder.suffix == ".lock":
            continue
        active = [run for run in users[folder] if RunStatus(run.status) not in ENDED]
        warning = f"{_users(users[folder])} was trained on it: chatting needs it again." if users[folder] else ""
        yield Thing(
            id=folder.name,
            name=base_models.display_name(folder.name.replace("--", "/")),
            about="an unfinished download" if folder.suffix == ".partial" else "",
            size_bytes=_size(folder),
            in_use=f"{_users(active)} needs it to be trained." if active else "",
            warning=warning,
        )


def _uploads(studio: Studio) -> Iterable[Thing]:
    for folder in studio.home.uploads.iterdir():
        yield Thing(
            id=folder.name,
            name=next((path.name for path in sorted(folder.iterdir()) if path.is_file()), folder.name)
            if folder.is_dir()
            else folder.name,
            about=f"last used {_day(folder)}; removed a week after that",
            size_bytes=_size(folder),
            warning="A new model that is being set up with it will ask for the file again.",
        )


def _backups(studio: Studio) -> Iterable[Thing]:
    if not studio.home.backups.is_dir():
        return
    for path in studio.home.backups.iterdir():
        about = "put aside before a restore" if path.is_dir() else "copy of the database before it was changed"
        yield Thing(path.name, path.name, about, _size(path))


def _others(studio: Studio) -> Iterable[Thing]:
    home = studio.home
    for name, paths in {
        "Database": [*home.path.glob("studio.db*"), *home.path.glob("queue.db*")],
        "Logs": [home.logs],
        "Files being sent, or on their way out": [home.path / "received", home.deleted, home.models / ".deleted"],
    }.items():
        yield Thing(name, name, "", sum(_size(path) for path in paths))


# how it goes


def _delete_run(studio: Studio, session: Session, run_id: int) -> None:
    run = _ended(session, run_id)
    children = session.execute(select(Run.id, Run.name).where(Run.parent_id == run_id)).all()
    if children:
        raise StudioError(f"Run {run.id} cannot be deleted: {_users(children)} started from it.", "Delete that first.")
    deletions.run(session, studio.home, run_id)


def _delete_checkpoints(studio: Studio, session: Session, run_id: int) -> None:
    _ended(session, run_id)
    # each by its own name: the run may be let go on before a killed deletion is finished
    for folder in studio.home.run(run_id).glob("checkpoints/*"):
        deletions.note(session, studio.home, folder)
    session.execute(sql_delete(Checkpoint).where(Checkpoint.run_id == run_id))


def _ended(session: Session, run_id: int) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise _not_there(Kind.RUN, str(run_id))
    if busy := _BUSY.get(RunStatus(run.status)):
        raise StudioError(f"Run {run_id}, “{run.name}”, cannot be deleted.", busy)
    return run


def _delete_dataset(studio: Studio, session: Session, dataset_id: int) -> None:
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise _not_there(Kind.DATASET, str(dataset_id))
    users = session.execute(select(Run.id, Run.name).where(Run.dataset_id == dataset_id)).all()
    if users:
        raise StudioError(
            f"The data set “{dataset.name}” cannot be deleted: {_users(users)} learned from it.",
            "Delete what learned from it first.",
        )
    deletions.dataset(session, studio.home, dataset_id)


def _delete_model(studio: Studio, name: str, even_if_used: bool) -> None:
    path = _path_of(studio, Kind.MODEL, name)
    with studio.db.reading() as session:
        runs = session.execute(select(*_RUN_COLUMNS)).all()
    thing = next(thing for thing in _models(studio, runs) if thing.id == name)
    if thing.in_use or (thing.warning and not even_if_used):
        raise StudioError(
            f"The base model {thing.name} is in use. {thing.in_use or thing.warning}",
            "Stop that first." if thing.in_use else "Ask for it all the same if you can get the model again.",
        )
    try:
        with exclusive(studio.home.models / f"{name.removesuffix('.partial')}.lock", wait=False):
            deletions.remove(path, studio.home.models / ".deleted")
    except Held:
        raise StudioError(f"The base model {thing.name} is being fetched just now.", "Wait until it is here.") from None


def _path_of(studio: Studio, kind: Kind, name: str) -> Path:
    """What of that name lies in the kind's folder. The name may come from a browser: only what is listed is taken."""
    folder = {Kind.UPLOAD: studio.home.uploads, Kind.BACKUP: studio.home.backups, Kind.MODEL: studio.home.models}[kind]
    listed = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if name not in listed or name.startswith(".") or name.endswith(".lock"):
        raise _not_there(kind, name)
    return folder / name


def _not_there(kind: Kind, thing_id: str) -> NotFound:
    noun = {Kind.DATASET: "data set", Kind.MODEL: "base model", Kind.CHECKPOINTS: "run with checkpoints and number"}
    return NotFound(
        f"There is no {noun.get(kind, kind.value)} {thing_id[:60]}.", "The page “Storage” lists what there is."
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise _not_there(Kind.DATASET, text)
    return int(text)


# sizes and words


def _parts(run: Path) -> dict[str, int]:
    """A run's folder by what its entries are."""
    parts: dict[str, int] = {}
    for entry in _entries(run):
        found = _PART.match(entry.name)
        name = _PART_NAMES[(found.lastindex or 1) - 1] if found else "other"
        if size := _entry_size(entry):
            parts[name] = parts.get(name, 0) + size
    return parts


def _size(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(_entry_size(entry) for entry in _entries(path))
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # removed meanwhile


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _entry_size(entry: os.DirEntry[str]) -> int:
    if entry.is_dir(follow_symlinks=False):
        return sum(map(_entry_size, _entries(entry.path)))
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def _by(runs: Iterable[Any], column: str) -> dict[int, list[Any]]:
    grouped = defaultdict(list)
    for run in runs:
        grouped[getattr(run, column)].append(run)
    return grouped


def _users(runs: Sequence[Any]) -> str:
    """“Run 3, “Support helper”, and 2 other runs”."""
    others = len(runs) - 1
    more = f" and {others} other run{'s' if others > 1 else ''}" if others else ""
    return f"Run {runs[0].id}, “{runs[0].name}”,{more}"


def _day(path: Path) -> str:
    then = datetime.fromtimestamp(path.stat().st_mtime)
    return f"{then.day} {then:%b %Y}"
