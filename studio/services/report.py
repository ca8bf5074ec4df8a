"""What is wrong with a data set, and what can be done about it. Pages, `studio check` and a run's start ask here."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from studio.core.conversation import Conversation
from studio.core.errors import DataError, StudioError
from studio.core.finding import Finding, from_dict, worst_first
from studio.core.mapping import Mapping
from studio.core.recipe import Recipe
from studio.data.split import held_back
from studio.diagnostics import left_out
from studio.diagnostics.dataset import FEWEST_EXAMPLES, KINDS_OF_ROWS, examine, too_few
from studio.diagnostics.repairs import REPAIRS, texts
from studio.services.context import Studio
from studio.services.datasets import examples_of
from studio.services.left_out import remaining
from studio.services.readings import UNTRAINED, untrained
from studio.store import datasets
from studio.store.examples import Examples, Version

__all__ = ["KINDS_OF_ROWS", "texts"]  # which pages may ask for beside what is here

AT_ONCE_ROWS = 4000  # up to which a check takes about a second, and is done before the answer
LOOK_ROWS = 1000  # of an upload, for the first page
_SAMPLES = 3


@dataclass(frozen=True)
class Report:
    """`findings` and `figures` are there when `state` is ready."""

    version: Version
    state: Literal["ready", "checking", "failed"]
    findings: list[Finding] = field(default_factory=list)  # the worst first
    figures: dict[str, Any] = field(default_factory=dict)
    done: int = 0  # rows, while checking
    left_out: list[Finding] = field(default_factory=list)  # those of `findings` that speak of no example


@dataclass(frozen=True)
class Sample:
    """A repair done to one example; `after` is None if it would be left out."""

    before: Conversation
    after: Conversation | None


def report(studio: Studio, dataset_id: int, version: int | None = None) -> Report:
    """The report on a version, the newest unless given. A large one is begun and comes with a later call."""
    dataset = datasets.get(studio.db, dataset_id)
    with datasets.opened(studio.home, dataset_id) as book:
        wanted = book.version(version)
        stored = book.report(wanted.equals)
        if stored is None and wanted.rows <= AT_ONCE_ROWS:
            stored = check(book, wanted)
        if stored is not None:
            found = [from_dict(finding) for finding in stored["findings"]]
            lost = left_out.findings(remaining(book, dataset, wanted))
            told = worst_first(found + lost + left_out.used(dataset.changed))
            return Report(wanted, "ready", told, stored["figures"], wanted.rows, lost)
        done = book.told(f"check {wanted.equals}")[0]
    errand = f"check {dataset_id} {wanted.equals}"
    if studio.errands.state(errand) == "failed":
        return Report(wanted, "failed")
    studio.errands.send(errand, "workers.check", str(studio.home.versions(dataset_id)), str(wanted.equals))
    return Report(wanted, "checking", done=done)


def first_look(studio: Studio, upload_id: str, mapping: Mapping | None) -> tuple[list[Finding], int]:
    """(what is wrong with the first rows of an upload, how many were looked at; 0 if all)"""
    some = list(islice(examples_of(studio, upload_id, mapping), LOOK_ROWS + 1))
    everything = len(some) <= LOOK_ROWS
    found = examine(enumerate(some), lambda positions: {p: some[p] for p in positions}).findings
    if not everything:
        found = [finding for finding in found if finding.kind != "too_few"]
    return found, 0 if everything else LOOK_ROWS


def check(book: Examples, version: Version) -> dict[str, Any]:
    """Examine a version here and now, and keep the report."""
    usual = Recipe()
    made = examine(
        ((e.position, e.conversation) for e in book.read(version.equals)),
        lambda positions: {e.position: e.conversation for e in book.at(version.equals, positions)},
        lambda rows: held_back(rows, usual.validation_fraction, usual.seed),
    )
    stored = made.as_dict()
    book.keep_report(version.equals, stored, made.flags)
    return stored


def samples(studio: Studio, dataset_id: int, version: int, kind: str) -> list[Sample]:
    """What a repair would do to the first examples that it changes."""
    repair = _repair(kind)
    with datasets.opened(studio.home, dataset_id) as book:
        positions = book.flagged_positions(book.version(version).equals, kind)[:_SAMPLES]
        return [Sample(e.conversation, repair.apply(e.conversation)) for e in book.at(version, positions)]


def repair(studio: Studio, dataset_id: int, seen: int, kind: str) -> Version:
    """A new version with the repair done. Raises DataError if `seen` is not the newest, or nothing is left to do."""
    chosen = _repair(kind)
    with datasets.opened(studio.home, dataset_id) as book:
        positions = book.flagged_positions(book.version(seen).equals, kind)
        return book.change(seen, chosen.done, chosen.apply, positions)


def repair_label(kind: str) -> str:
    """What the button says."""
    return str(_repair(kind).label)


def require_trainable(book: Examples, version: Version) -> None:
    """Raises DataError, in the report's words, if this version cannot be trained on."""
    if version.usable < FEWEST_EXAMPLES:
        raise DataError(too_few(version.usable))
    figures = (book.report(version.equals) or {}).get("figures", {})
    kinds = [kind for kind in figures.get("kinds", {}) if kind in UNTRAINED]
    if kinds:
        raise DataError(untrained(kinds[0]))


def _repair(kind: str) -> Any:
    if kind not in REPAIRS:
        raise StudioError("That cannot be repaired by the studio.", "Correct it in the file, and upload it again.")
    return REPAIRS[kind]
