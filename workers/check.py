"""Examine one version of a data set and keep the report beside it. By hand:

    python -m workers.check EXAMPLES VERSION        EXAMPLES is a data set's examples.db

A process of its own only because a million rows take a minute; the studio does the same itself where there are few.
"""

import argparse
import signal
import sys
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.lifeline import end_with_parent
from studio.core.recipe import Recipe
from studio.data.split import held_back
from studio.diagnostics.dataset import examine
from studio.store import examples


def check(path: Path, number: int) -> None:
    usual = Recipe()
    with examples.opened(path) as book, examples.opened(path) as beside:
        total = book.version(number).rows
        report = examine(
            ((e.position, e.conversation) for e in book.read(number)),
            lambda positions: {e.position: e.conversation for e in beside.at(number, positions)},
            lambda rows: held_back(rows, usual.validation_fraction, usual.seed),
            lambda done: beside.tell(f"check {number}", done, total),
        )
        beside.keep_report(number, report.as_dict(), report.flags)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.check", description="Examine a data set.")
    parser.add_argument("examples", type=Path)
    parser.add_argument("version", type=int)
    parser.add_argument("--parent", type=int, help="end when this process is not the parent any more")
    options = parser.parse_args(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.parent:
        end_with_parent(options.parent)
    try:
        check(options.examples, options.version)
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
