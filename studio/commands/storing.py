"""Commands around what is kept: storage, delete, backup and restore."""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from studio.commands.common import Command, add_json, open_studio, settings_of, size


def add(command: Command) -> None:
    sub = command("storage", _storage, "Say what each thing takes on disk.")
    add_json(sub)
    sub = command("delete", _delete, "Delete something for good; asks first.")
    sub.add_argument("kind", choices=["run", "checkpoints", "dataset", "model", "upload", "backup"])
    sub.add_argument("id", help="a run's number (for its checkpoints too), or an id that `studio storage` lists")
    sub.add_argument("--yes", action="store_true", help="do not ask")
    sub = command("backup", _backup, "Write everything but base models into one file; the studio may be running.")
    sub.add_argument("out", type=Path, metavar="OUT.zip")
    sub.add_argument("--without-checkpoints", action="store_true", help="runs that have not ended start afresh")
    add_json(sub)
    sub = command("restore", _restore, "Put a backup back into an empty home.")
    sub.add_argument("file", type=Path, metavar="FILE.zip")
    sub.add_argument("--replace", action="store_true", help="move what the home holds aside first")
    add_json(sub)


def _storage(options: argparse.Namespace) -> None:
    from studio.services import storage

    report = storage.report(open_studio(options), most=1_000_000)
    if options.json:
        print(json.dumps(asdict(report)))
        return
    for group in report.groups:
        print(f"{group.title}: {size(group.size_bytes)}")
        for thing in group.things:
            named = thing.name if thing.id in thing.name else f"{thing.name} [{thing.id}]"
            print(f"  {size(thing.size_bytes):>9}  {named}")
    print(f"{size(report.size_bytes)} used, {size(report.free_bytes)} free.")


def _delete(options: argparse.Namespace) -> int:
    from studio.services import storage

    studio, kind = open_studio(options), storage.Kind(options.kind)
    thing = storage.find(studio, kind, options.id)
    if not options.yes:
        asked = f"Delete {thing.name}, {size(thing.size_bytes)}? {thing.in_use or thing.warning} [y/N] "
        print(asked, end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            print("Nothing was deleted.", file=sys.stderr)
            return 1
    storage.delete(studio, kind, thing.id, even_if_used=True)
    print(f"Deleted: {thing.name}, {size(thing.size_bytes)}.")
    return 0


def _backup(options: argparse.Namespace) -> None:
    from studio.services import backup

    written = backup.write(open_studio(options), options.out, not options.without_checkpoints, _Said().progress)
    if options.json:
        print(json.dumps(asdict(written)))
        return
    runs, datasets = written.runs, written.datasets
    print(f"Written: {written.path} ({size(written.size_bytes)}; {runs} runs, {datasets} data sets)")
    for missing in written.missing:
        print(f"studio: not in it, because it is not here: {missing}", file=sys.stderr)
    for model in written.base_models:
        print(f"  base model, to be had again: {model['id']}, fingerprint {str(model['fingerprint'])[:12]}")


def _restore(options: argparse.Namespace) -> None:
    from studio.services import backup
    from studio.store.home import Home

    home = Home.at(settings_of(options))
    restored = backup.restore(home, options.file, options.replace, _Said().progress)
    if options.json:
        print(json.dumps(asdict(restored)))
        return
    print(f"Restored: {restored.runs} runs and {restored.datasets} data sets, as of {restored.made_at}.")
    if restored.aside:
        print(f"What was there before is in {restored.aside}.")
    for model in restored.absent_base_models:
        print(f"  base model to get again: {model}")


class _Said:
    """Progress on stderr, at most every second."""

    def __init__(self) -> None:
        self._last = 0.0

    def progress(self, done: int, total: int) -> None:
        if time.monotonic() - self._last > 1:
            self._last = time.monotonic()
            print(f"{size(done)} of {size(total)}", file=sys.stderr)
