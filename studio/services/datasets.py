"""Make a data set of an upload, once it is plain what the upload holds."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio.core.conversation import Conversation, read_jsonl
from studio.core.errors import DataError
from studio.core.mapping import Mapping
from studio.data.files import read_files
from studio.data.mapping import Skipped
from studio.data.readers.table import Source, Table, Tick, no_tick
from studio.services import readings, uploads
from studio.services.context import Studio
from studio.services.readings import EXAMPLES, Preview
from studio.store import datasets, examples
from studio.store.home import VERSIONS
from studio.store.tables import Dataset

SAMPLE = Path(__file__).parents[2] / "assets" / "samples" / "support-questions.csv"
_SOURCE = "source"  # of a data set: the files it was made of


def keep_upload(studio: Studio, path: Path, filename: str) -> str:
    """Copy one file into the studio; returns its upload id."""
    return uploads.keep(studio, [(path, filename)])


def preview(studio: Studio, upload_id: str, mapping: Mapping | None = None, tick: Tick = no_tick) -> Preview:
    """What an upload holds, read by `mapping`, or by a guess. `tick` is told how far it is, and may raise to stop it.

    Raises DataError if the file cannot be read at all.
    """
    return readings.read(studio, upload_id, mapping, tick)[0]


def make(studio: Studio, upload_id: str, mapping: Mapping | None = None, tick: Tick = no_tick) -> Dataset:
    """The data set that an upload gives; the one that is there already if its examples are the same.

    Raises DataError, in words, if it is none.
    """
    view, folder = readings.read(studio, upload_id, mapping, tick)
    if view.problem:
        raise DataError(view.problem)
    partial = Path(tempfile.mkdtemp(prefix=f"{upload_id}.", suffix=".partial", dir=studio.home.datasets))
    try:
        first = examples.create(partial / VERSIONS, read_jsonl(folder / EXAMPLES), datasets.FIRST_WORDS)
        dataset = datasets.create(
            studio.db,
            name=Path(view.filename).stem,
            filename=view.filename,
            sha256=first.sha256,
            upload_id=upload_id,
            shape=view.mapping.shape,
            mapping=view.mapping.model_dump(),
            columns=view.columns,
            rows=view.rows,
            usable_rows=view.usable_rows,
            skipped=[_told(rows) for rows in view.skipped],
            changed=[_told(rows) for rows in view.changed],
        )
        target = studio.home.dataset(dataset.id)
        if not target.is_dir():
            (partial / _SOURCE).mkdir()
            for source in uploads.sources(studio, upload_id):
                _link(source.path, partial / _SOURCE / source.name)
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return dataset


def examples_of(studio: Studio, upload_id: str, mapping: Mapping | None = None) -> Iterator[Conversation]:
    """The examples of an upload, in a stream; none if there is a problem. Errors as `preview`."""
    view, folder = readings.read(studio, upload_id, mapping)
    return iter(()) if view.problem else read_jsonl(folder / EXAMPLES)


@contextmanager
def source_table(studio: Studio, dataset: Dataset) -> Iterator[Table]:
    """The files that a data set was made of, read once more as they were then. Raises DataError if they are gone."""
    folder = studio.home.dataset(dataset.id) / _SOURCE
    if not folder.is_dir():
        raise DataError(f"The file that “{dataset.name}” was made of is not here.", "Upload it once more.")
    files = [Source(path, path.name) for path in sorted(folder.iterdir())]
    reading = Mapping.model_validate(dataset.mapping).reading
    with tempfile.TemporaryDirectory(dir=studio.home.uploads, suffix=".partial") as unpacked:
        yield read_files(files, reading, uploads.limits(studio), Path(unpacked))


def check_trainable(view: Preview) -> None:
    """Raises DataError, in words, if a run on these examples cannot be started."""
    if view.problem or view.untrained:
        raise DataError(view.problem or view.untrained)


def _told(rows: Skipped) -> dict[str, Any]:
    return {"reason": rows.reason, "count": rows.count, "rows": rows.rows, "file": rows.file}


def _link(source: Path, target: Path) -> None:
    """The same file in another place; a copy where the disk knows no links. Neither is ever written to again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
