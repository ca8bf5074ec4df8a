"""Files in: keep an upload, show what was understood, make a data set of it."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import time

from studio.core.conversation import Conversation
from studio.core.errors import DataError, NotFound
from studio.core.mapping import Mapping
from studio.data.detect import guess
from studio.data.files import read_file
from studio.data.mapping import Skipped, convert
from studio.services.context import Studio
from studio.store import datasets, examples
from studio.store.artifacts import file_sha256
from studio.store.home import VERSIONS
from studio.store.tables import Dataset

SAMPLE = Path(__file__).parents[2] / "assets" / "samples" / "support-questions.csv"
FEWEST_EXAMPLES = 10
UPLOADS_KEPT_SECONDS = 7 * 24 * 3600
_SHOWN_EXAMPLES = 3


@dataclass(frozen=True)
class Preview:
    """What the studio understood of a file. `problem` says why it cannot be trained on, if it cannot."""

    upload_id: str
    filename: str
    columns: list[str]
    mapping: Mapping
    rows: int
    usable_rows: int
    skipped: list[Skipped]
    examples: list[Conversation]  # the first three
    encoding: str
    problem: str = ""

    @property
    def words(self) -> str:
        """“1,050 examples. Question = question, answer = answer.”"""
        return f"{self.usable_rows:,} examples. {self.mapping.words}."

    @property
    def advice(self) -> str:
        """What to expect from this many examples."""
        if self.usable_rows < 50:
            return "That is few. About 50 good ones is a solid start."
        return "That is a solid start." if self.usable_rows < 500 else "That is plenty to start."


def keep_upload(studio: Studio, path: Path, filename: str) -> str:
    """Copy a file into the studio; returns its upload id. The same file again is the same upload.

    Raises DataError if it is larger than the studio takes.
    """
    size_mib = path.stat().st_size / 2**20
    if size_mib > studio.settings.max_upload_mib:
        raise DataError(
            f"{filename} is {size_mib:,.0f} MiB; this studio takes files up to {studio.settings.max_upload_mib:,} MiB.",
            "Split the file, or raise STUDIO_MAX_UPLOAD_MIB.",
        )
    name = _safe_name(filename)
    upload_id = sha256(f"{file_sha256(path)} {name}".encode()).hexdigest()[:32]
    folder = studio.home.uploads / upload_id
    if not folder.is_dir():
        partial = folder.with_name(f"{upload_id}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        shutil.copyfile(path, partial / name)
        partial.rename(folder)
    folder.touch()  # in use again: it is kept for another week
    return upload_id


def preview(studio: Studio, upload_id: str, mapping: Mapping | None = None) -> Preview:
    """What an upload holds, read by `mapping`, or by a guess.

    Raises DataError if the file cannot be read at all.
    """
    return _understand(studio, upload_id, mapping)[0]


def make(studio: Studio, upload_id: str, mapping: Mapping | None = None) -> Dataset:
    """The data set that an upload gives; the one that is there already if its examples are the same.

    Raises DataError, in words, if it cannot be trained on.
    """
    view, conversations = _understand(studio, upload_id, mapping)
    if view.problem:
        raise DataError(view.problem)
    partial = studio.home.datasets / f"{upload_id}.partial"
    partial.mkdir(exist_ok=True)
    first = examples.create(partial / VERSIONS, conversations, datasets.FIRST_WORDS)
    source = source_of(studio, upload_id)
    dataset = datasets.create(
        studio.db,
        name=Path(view.filename).stem,
        filename=view.filename,
        sha256=first.sha256,
        file_sha256=file_sha256(source),
        shape=view.mapping.shape,
        mapping=view.mapping.model_dump(),
        columns=view.columns,
        rows=view.rows,
        usable_rows=view.usable_rows,
        skipped=[{"reason": s.reason, "count": s.count, "rows": s.rows[:1000]} for s in view.skipped],
    )
    target = studio.home.dataset(dataset.id)
    if target.is_dir():
        shutil.rmtree(partial)
    else:
        shutil.copyfile(source, partial / view.filename)
        partial.rename(target)
    return dataset


def conversations_of(studio: Studio, upload_id: str, mapping: Mapping | None = None) -> Iterator[Conversation]:
    """The examples of an upload, in a stream. Errors as `preview`."""
    yield from _understand(studio, upload_id, mapping)[1]


def sweep_uploads(studio: Studio) -> None:
    """Remove uploads that nobody has used for a week."""
    for folder in studio.home.uploads.iterdir():
        if time() - folder.stat().st_mtime > UPLOADS_KEPT_SECONDS:
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()


def _understand(studio: Studio, upload_id: str, mapping: Mapping | None) -> tuple[Preview, list[Conversation]]:
    path = source_of(studio, upload_id)
    table = read_file(path, path.name, studio.settings.max_rows)
    mapping = mapping or guess(table)
    conversations, skipped = convert(table, mapping, studio.settings.max_cell_chars) if mapping.complete else ([], [])
    view = Preview(
        upload_id=upload_id,
        filename=path.name,
        columns=table.columns,
        mapping=mapping,
        rows=table.total,
        usable_rows=len(conversations),
        skipped=skipped,
        examples=conversations[:_SHOWN_EXAMPLES],
        encoding=table.encoding,
        problem=_problem(table.columns, mapping, len(conversations), skipped),
    )
    return view, conversations


def _problem(columns: list[str], mapping: Mapping, usable: int, skipped: list[Skipped]) -> str:
    known = ", ".join(f"“{c}”" for c in columns[:12])
    if not mapping.complete:
        part = "the answer" if mapping.question or not mapping.answer else "the question"
        return f"No column looks like {part}. The columns are {known}. Choose the question and the answer yourself."
    named = [c for c in (mapping.question, mapping.answer, mapping.context, mapping.system, mapping.messages) if c]
    missing = [c for c in named if c not in columns]
    if missing:
        return f"There is no column “{missing[0]}”. The columns are {known}."
    if mapping.shape == "columns" and mapping.question == mapping.answer:
        return f"The question and the answer are the same column (“{mapping.answer}”). Choose two different ones."
    if usable == 0:
        return (
            f"None of the rows can be learned from. {skipped[0].words}." if skipped else "The file holds no examples."
        )
    if usable < FEWEST_EXAMPLES:
        return (
            f"{usable} example{'s are' if usable > 1 else ' is'} too few to learn from. "
            f"Add at least {FEWEST_EXAMPLES}; about 50 good ones is a solid start."
        )
    return ""


def source_of(studio: Studio, upload_id: str) -> Path:
    # the id may come from a browser: only what keep_upload makes is looked up
    folder = studio.home.uploads / upload_id
    if not re.fullmatch(r"[0-9a-f]{32}", upload_id) or not folder.is_dir():
        raise NotFound("That upload is not here any more.", "Choose the file once more.")
    return next(folder.iterdir())


def _safe_name(filename: str) -> str:
    name = re.sub(r"[^\w. -]", "_", Path(filename).name).strip(". ")
    suffix = Path(name).suffix[:10]
    return (name[: -len(suffix)] if suffix else name)[:100] + suffix if name else "upload"
