"""Put several things of a folder in the place of others, all or none, however the process ends.

What is to be done is written down first. Killed after that, `finish` does the rest; killed before, nothing was done.
"""

import json
from pathlib import Path

from studio.store.snapshots import sync

_PLAN = "exchange.json"


def exchange(folder: Path, incoming: Path, aside: Path, names: list[str]) -> None:
    """For each of `names`: move what `folder` has to `aside`, and what `incoming` has into `folder`.

    All three must lie on one disk, and `incoming` and `aside` below `folder`.
    """
    plan = {
        "incoming": str(incoming.relative_to(folder)),
        "aside": str(aside.relative_to(folder)),
        "moves": [[name, (folder / name).exists(), (incoming / name).exists()] for name in names],
    }
    partial = folder / f"{_PLAN}.partial"
    partial.write_text(json.dumps(plan), encoding="utf-8")
    sync(partial)
    partial.rename(folder / _PLAN)
    sync(folder)
    finish(folder)


def is_planned(folder: Path) -> bool:
    """Whether an exchange was cut off and will be finished."""
    return (folder / _PLAN).is_file()


def finish(folder: Path) -> None:
    """Do what is left of an exchange; nothing if none was cut off."""
    written = folder / _PLAN
    if not written.is_file():
        return
    plan = json.loads(written.read_text(encoding="utf-8"))
    incoming, aside = folder / plan["incoming"], folder / plan["aside"]
    aside.mkdir(parents=True, exist_ok=True)
    for name, was_there, comes in plan["moves"]:
        if was_there and not (aside / name).exists():
            (folder / name).rename(aside / name)
        if comes and (incoming / name).exists():
            (incoming / name).rename(folder / name)
    for changed in (aside, folder):
        sync(changed)
    if incoming.is_dir():
        incoming.rmdir()
    written.unlink()
    sync(folder)
