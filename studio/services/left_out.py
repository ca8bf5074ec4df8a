"""Rows of the user's file that became no example: look at them, and complete them by hand."""

from dataclasses import dataclass
from typing import Any

from studio.core.errors import DataError
from studio.core.mapping import Mapping
from studio.data.by_hand import COMPLETED, Draft, completed, draft
from studio.data.mapping import ROWS_KEPT
from studio.data.readers.table import Broken, Row, no_tick
from studio.services.context import Studio
from studio.services.datasets import source_table
from studio.services.examples import PAGE_ROWS
from studio.services.hold_back import group_of
from studio.store import datasets
from studio.store.examples import Examples, Version
from studio.store.tables import Dataset

Place = tuple[str, int]  # file, row; the file is "" where there is only one


@dataclass(frozen=True)
class LeftOut:
    row: int
    file: str
    reason: str
    draft: Draft


@dataclass(frozen=True)
class Page:
    version: Version
    number: int  # from 0
    count: int  # of rows on all pages
    more: bool  # there are more than are listed
    completable: bool  # a question and an answer make an example of this data set
    rows: list[LeftOut]


def page(studio: Studio, dataset_id: int, number: int = 0) -> Page:
    """A page of the rows that the newest version does not have. Raises DataError if the file cannot be read again."""
    dataset = datasets.get(studio.db, dataset_id)
    with datasets.opened(studio.home, dataset_id) as book:
        shown = book.version()
        entries = remaining(book, dataset, shown)
    reasons = _reasons(entries)
    places = sorted(reasons)[number * PAGE_ROWS : (number + 1) * PAGE_ROWS]
    mapping, found = Mapping.model_validate(dataset.mapping), _rows_at(studio, dataset, set(places))
    rows = [
        LeftOut(row, file, reasons[file, row], draft(found[file, row], mapping) if (file, row) in found else Draft())
        for file, row in places
    ]
    more = any(entry["count"] > ROWS_KEPT for entry in entries)
    return Page(shown, number, len(reasons), more, mapping.shape in COMPLETED, rows)


def complete(
    studio: Studio, dataset_id: int, seen: int, file: str, row: int, question: str, answer: str
) -> Version:  # fmt: skip
    """A new version with this row as an example. Raises DataError if it has it already, or one text is missing."""
    dataset = datasets.get(studio.db, dataset_id)
    mapping = Mapping.model_validate(dataset.mapping)
    with datasets.opened(studio.home, dataset_id) as book:
        if (file, row) not in _reasons(remaining(book, dataset, book.version(seen))):
            raise DataError(f"Row {row} is not left out.", "Look at the data set again.")
        if mapping.shape not in COMPLETED:
            raise DataError("Such a row cannot be filled in here.", "Correct it in the file, and upload it again.")
        found = _rows_at(studio, dataset, {(file, row)}).get((file, row))
        known = found if isinstance(found, Row) else Row(row, {}, file)
        made = completed(known, mapping, _typed(question), _typed(answer), studio.settings.max_cell_chars)
        grouped = {column: group_of(known, column) for column in book.group_columns()}
        return book.add(seen, f"Row {row} filled in", made, grouped)


def remaining(book: Examples, dataset: Dataset, version: Version) -> list[dict[str, Any]]:
    """What `dataset.skipped` says, less the rows that were completed in this version."""
    held = book.rows_held(version.equals, [row for entry in dataset.skipped for row in entry["rows"]])
    left = []
    for entry in dataset.skipped:
        rows = [row for row in entry["rows"] if (entry.get("file", ""), row) not in held]
        if count := entry["count"] - len(entry["rows"]) + len(rows):
            left.append(entry | {"rows": rows, "count": count})
    return left


def _reasons(entries: list[dict[str, Any]]) -> dict[Place, str]:
    return {(entry.get("file", ""), row): entry["reason"] for entry in entries for row in entry["rows"]}


def _rows_at(studio: Studio, dataset: Dataset, places: set[Place]) -> dict[Place, Row | Broken]:
    """These rows as they stand in the user's file, which is read as far as the last of them."""
    found: dict[Place, Row | Broken] = {}
    if places:
        with source_table(studio, dataset) as table:
            for row in table.read(no_tick):
                if (row.file, row.number) in places:
                    found[row.file, row.number] = row
                    if len(found) == len(places):
                        break
    return found


def _typed(text: str) -> str:
    return text.replace("\r\n", "\n").encode("utf-8", "replace").decode()
