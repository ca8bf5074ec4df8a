"""The report on files that are no data set yet, as `studio check` prints it. Leaves nothing behind but the upload."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from studio.core.catalog import STARTER
from studio.core.conversation import read_jsonl
from studio.core.errors import ModelError
from studio.core.finding import Finding, from_dict, worst_first
from studio.core.mapping import Mapping
from studio.data.readers.table import Tick, no_tick
from studio.diagnostics import left_out
from studio.diagnostics.lengths import Lengths, distribution, finding
from studio.services import base_models as choices
from studio.services import lengths, readings, report
from studio.services.context import Studio
from studio.services.readings import Preview
from studio.store import base_models, examples
from studio.store.home import VERSIONS

Say = Callable[[str], None]
ROWS_OF_LONG = 100


@dataclass(frozen=True)
class Checkup:
    """`problem` is the sentence why the files cannot be trained on; empty if they can, perhaps after repairs."""

    view: Preview
    findings: list[Finding]
    figures: dict[str, Any]
    lengths: Lengths | None  # None where the base model is not here, or there is nothing to count
    problem: str

    def as_dict(self) -> dict[str, Any]:
        counted = self.lengths
        return {
            "rows": self.view.rows,
            "usable_rows": self.view.usable_rows,
            "shape": self.view.mapping.shape,
            "mapping": self.view.mapping.model_dump(exclude_defaults=True),
            "encoding": self.view.encoding,
            "usable": not self.problem,
            "problem": self.problem or None,
            "tokens": {
                "total": counted.total,
                "learned": counted.learned,
                "p50": counted.p50,
                "p95": counted.p95,
                "max": counted.max,
            }
            if counted
            else None,
            "figures": self.figures,
            "findings": [found.as_dict() for found in self.findings],
        }


def checkup(
    studio: Studio, upload_id: str, mapping: Mapping, base_id: str = "", say: Say = lambda words: None,
    tick: Tick = no_tick,
) -> Checkup:  # fmt: skip
    """Read, examine and count an upload. Without `base_id` tokens are counted for the starter, if it is here.

    Raises DataError if the files cannot be read at all, ModelError if `base_id` cannot be used.
    """
    folder = _model(studio, base_id)
    view, reading = readings.read(studio, upload_id, mapping, tick)
    told = left_out.findings(map(asdict, view.skipped)) + left_out.used(map(asdict, view.changed))
    if not (reading / readings.EXAMPLES).is_file() or not view.usable_rows:
        return Checkup(view, worst_first(told), {}, None, view.problem)
    with TemporaryDirectory(dir=studio.home.uploads, suffix=".partial") as scratch:
        path = Path(scratch) / VERSIONS
        version = examples.create(path, read_jsonl(reading / readings.EXAMPLES), "Uploaded")
        say(f"Checking {version.rows:,} rows ...")
        with examples.opened(path) as book:
            stored = report.check(book, version)
        found = [from_dict(entry) for entry in stored["findings"]] + told
        counted = _count(path, folder, say, view.mapping.shape == "text") if folder else None
        if counted and (long := _too_long(path, folder, counted)):
            found.append(long)
    found = worst_first(found)
    reasons = [view.problem, view.untrained, *(entry.message for entry in found if entry.severity == "error")]
    return Checkup(view, found, stored["figures"], counted, next(filter(None, reasons), ""))


def _model(studio: Studio, base_id: str) -> Path | None:
    if not base_id:
        return lengths.model_folder(studio, STARTER)
    chosen = choices.usable(studio, base_id, typed_by_operator=True)
    folder = lengths.model_folder(studio, chosen)
    if folder is None:
        raise ModelError(
            f"{choices.display_name(chosen)} is not on this computer, so its tokens cannot be counted.",
            "Leave --model out to count those of the starter model.",
        )
    return folder


def _count(path: Path, folder: Path, say: Say, goes_on: bool) -> Lengths:
    say("Counting tokens ...")
    command = [sys.executable, "-m", "workers.lengths", str(path), "--model", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ModelError("The tokens could not be counted.", lines[-1] if lines else "")
    with examples.opened(path) as book:
        return distribution(book.lengths(1, base_models.tokenizer_fingerprint(folder)), [lengths.USUAL], goes_on)


def _too_long(path: Path, folder: Path | None, counted: Lengths) -> Finding | None:
    assert folder is not None
    with examples.opened(path) as book:
        longer = book.longer_than(1, base_models.tokenizer_fingerprint(folder), lengths.USUAL, 0, ROWS_OF_LONG)
    return finding(counted, lengths.USUAL, [example.conversation.row for example in longer])
