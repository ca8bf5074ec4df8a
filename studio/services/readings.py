"""What the studio understood of an upload: read once for each mapping, and kept beside it."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from time import time

from pydantic import TypeAdapter

from studio.core.conversation import Conversation, Kind, write_jsonl
from studio.core.errors import DataError
from studio.core.mapping import Mapping
from studio.data.detect import guess
from studio.data.files import read_files
from studio.data.mapping import MOST_LABELS, Skipped, Tally, convert, labels_in, places_in
from studio.data.readers.table import Source, Table, Tick, no_tick
from studio.data.repair import Mendable, Mending, mending
from studio.services import uploads
from studio.services.context import Studio

FEWEST_EXAMPLES = 10
EXAMPLES = "examples.jsonl"
_VIEW = "view.json"
_UNPACKED = "unpacked"
_FORM = 2  # another number, and what earlier versions understood of an upload is not looked at any more
_SHOWN_EXAMPLES = 3
_KEPT_SECONDS = 3600.0  # of what was understood by a mapping that nobody asked for again
UNTRAINED: dict[Kind, str] = {
    "preference": "preference pairs",
    "verdict": "answers marked good or bad",
}


@dataclass(frozen=True)
class Preview:
    """What the studio understood of an upload.

    `problem` says why it is no data set, `untrained` why a good data set cannot be trained on.
    """

    upload_id: str
    filename: str
    columns: list[str]
    mapping: Mapping
    rows: int
    usable_rows: int  # examples; of documents, pieces
    skipped: list[Skipped]
    examples: list[Conversation]  # the first three
    encoding: str
    problem: str = ""
    untrained: str = ""
    changed: list[Skipped] = field(default_factory=list)  # rows that are used, but not as they stand in the file
    confidence: str = ""  # “Sure”, “Quite sure”, “Not sure”; empty where somebody chose
    reason: str = ""  # why this shape and these columns
    notes: list[str] = field(default_factory=list)  # on how the file was read
    sheets: list[str] = field(default_factory=list)  # of a workbook with several
    sheet: str = ""
    headed: bool | None = None  # whether the first row was taken for names; None where there is no question
    mendings: list[Mending] = field(default_factory=list)  # what a repair would make of the first lines it can mend
    mendable: int = 0

    @property
    def words(self) -> str:
        """“1,050 examples. Question = question, answer = answer.”"""
        one, many = ("piece of text", "pieces of text") if self.mapping.shape == "text" else ("example", "examples")
        labels = (
            f" {len(self.mapping.labels)} labels; it learns to answer with one of them." if self.mapping.labels else ""
        )
        return f"{self.usable_rows:,} {one if self.usable_rows == 1 else many}. {self.mapping.words}.{labels}"

    @property
    def advice(self) -> str:
        """What to expect from this many examples, or from texts."""
        if self.mapping.shape == "text":
            return (
                "The model learns to write like these texts. Documents teach style and vocabulary, not reliable facts."
            )
        if self.usable_rows < 50:
            return "That is few. About 50 good ones is a solid start."
        return "That is a solid start." if self.usable_rows < 500 else "That is plenty to start."


_VIEWS = TypeAdapter(Preview)


def read(studio: Studio, upload_id: str, mapping: Mapping | None = None, tick: Tick = no_tick) -> tuple[Preview, Path]:
    """The view of an upload, and the folder with its EXAMPLES, which has them unless the view tells of a problem.

    A reading that is broken off leaves nothing behind. Raises DataError if the files cannot be read at all.
    """
    sources, limits = uploads.sources(studio, upload_id), uploads.limits(studio)
    folder = studio.home.uploads / upload_id / uploads.READINGS
    folder.mkdir(exist_ok=True)
    asked = (mapping or Mapping(shape="")).model_dump_json()
    target = folder / sha256(f"{_FORM} {limits} {asked}".encode()).hexdigest()[:32]
    if not target.is_dir():
        _forget_old(folder)
        partial = Path(tempfile.mkdtemp(suffix=".partial", dir=folder))
        try:
            view = _understand(studio, upload_id, sources, mapping, partial, tick)
            shutil.rmtree(partial / _UNPACKED, ignore_errors=True)
            (partial / _VIEW).write_bytes(_VIEWS.dump_json(view))
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # else another tab was faster
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    target.touch()
    return _VIEWS.validate_json((target / _VIEW).read_bytes()), target


def _forget_old(folder: Path) -> None:
    for reading in folder.iterdir():
        if time() - reading.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(reading, ignore_errors=True)


def _understand(
    studio: Studio, upload_id: str, sources: list[Source], mapping: Mapping | None, folder: Path, tick: Tick
) -> Preview:
    asked = mapping or Mapping(shape="")
    name = sources[0].name if len(sources) == 1 else f"{sources[0].name} and {len(sources) - 1} more"
    view = Preview(upload_id, name, [], asked, 0, 0, [], [], "")
    try:
        table = read_files(sources, asked.reading, uploads.limits(studio), folder / _UNPACKED)
    except Mendable as error:
        found = error.mending
        if found is None:
            raise DataError(error.message, error.hint) from None
        return replace(view, problem=error.message, mendings=[found], mendable=1)
    view = replace(
        view, columns=table.columns, encoding=table.encoding, notes=table.notes, sheets=table.sheets,
        sheet=table.sheet, headed=table.headed,
    )  # fmt: skip
    if asked.missing:
        found_shape = guess(table, asked)
        view = replace(view, confidence="" if asked.shape else found_shape.words, reason=found_shape.reason)
        asked = found_shape.mapping
    if asked.shape == "labels" and asked.answer and not asked.labels:
        labels = labels_in(table, asked.answer)
        asked = asked.model_copy(update={"labels": labels if len(labels) <= MOST_LABELS else ()})
    view = replace(view, mapping=asked)
    if table.head and (problem := _cannot_map(table, asked)):
        return replace(view, problem=problem)
    return _convert(studio, view, table, folder / EXAMPLES, tick)


def _convert(studio: Studio, view: Preview, table: Table, examples: Path, tick: Tick) -> Preview:
    tally, first, usable, reason = Tally(), list[Conversation](), 0, ""

    def passing() -> Iterator[Conversation]:
        nonlocal usable, reason
        for conversation in convert(table, view.mapping, studio.settings.max_cell_chars, tally, tick):
            usable += 1
            if usable <= _SHOWN_EXAMPLES:
                first.append(conversation)
            if not reason and conversation.kind in UNTRAINED:
                reason = untrained(conversation.kind)
            yield conversation

    write_jsonl(examples, passing())
    if view.mapping.shape == "text" and 0 < usable < FEWEST_EXAMPLES:
        reason = (
            f"Texts of {usable} page{'' if usable == 1 else 's'} can be kept and shown, but are too few to train on. "
            f"Add documents until there are at least {FEWEST_EXAMPLES}."
        )
    return replace(
        view,
        rows=tally.rows,
        usable_rows=usable,
        skipped=tally.skipped,
        changed=tally.changed,
        examples=first,
        mendings=[m for line in tally.unquoted if (m := mending(line.number, line.raw))],
        mendable=tally.mendable,
        problem=_too_little(usable, tally.skipped, bool(reason)),
        untrained=reason,
    )


def untrained(kind: Kind) -> str:
    """Why examples of this kind are not trained on."""
    return f"The studio can keep and show {UNTRAINED[kind]}, but cannot train on them yet."


def _cannot_map(table: Table, mapping: Mapping) -> str:
    """Why no row could be converted by this mapping; "" if some may."""
    known = ", ".join(f"“{c}”" for c in table.columns[:12])
    if mapping.missing:
        if mapping.shape == "columns" and len(mapping.missing) == 1 and len(table.columns) == 1:
            return (
                f"There are no answers to learn from: “{table.columns[0]}” is the only column. Add a column with them."
            )
        part = mapping.missing[-1]
        return f"No column looks like the {part}. The columns are {known}. Choose the columns yourself."
    places = [place for t in (mapping.question_template, mapping.answer_template) for place in places_in(t)]
    missing = [c for c in (*mapping.columns, *places) if c not in table.columns]
    if missing:
        return f"There is no column “{missing[0]}”. The columns are {known}."
    for template, part in ((mapping.question_template, "question"), (mapping.answer_template, "answer")):
        if template and not places_in(template):
            return f"The template of the {part} names no column. Write one in curly brackets: {{{table.columns[0]}}}."
    if mapping.shape != "messages" and mapping.question == mapping.answer != "" and not mapping.question_template:
        return f"The question and the answer are the same column (“{mapping.answer}”). Choose two different ones."
    return ""


def _too_little(usable: int, skipped: list[Skipped], untrained: bool) -> str:
    if usable == 0:
        return (
            f"None of the rows can be learned from. {skipped[0].words}." if skipped else "The file holds no examples."
        )
    if usable < FEWEST_EXAMPLES and not untrained:
        return (
            f"{usable} example{'s are' if usable > 1 else ' is'} too few to learn from. "
            f"Add at least {FEWEST_EXAMPLES}; about 50 good ones is a solid start."
        )
    return ""
