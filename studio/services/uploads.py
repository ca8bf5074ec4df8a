"""Files a person has handed over and not used yet: from the browser, from the clipboard, from a hub."""

import re
import shutil
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from itertools import chain, count
from pathlib import Path
from time import time

from studio.core.errors import DataError, NotFound
from studio.data.hub import fetch
from studio.data.limits import Limits
from studio.data.readers.table import Source, Tick, no_tick
from studio.services.context import Studio
from studio.store.artifacts import file_sha256

KEPT_SECONDS = 7 * 24 * 3600
# of an upload, under a name no user's file has here: what it was understood as
READINGS = ".readings"


def limits(studio: Studio) -> Limits:
    settings = studio.settings
    return Limits(
        rows=settings.max_rows,
        cell_chars=settings.max_cell_chars,
        whole_mib=settings.max_whole_file_mib,
        archive_mib=settings.max_archive_mib,
        archive_files=settings.max_archive_files,
    )


def keep(studio: Studio, files: Sequence[tuple[Path, str]]) -> str:
    """Copy files, each given with its name, into the studio; returns their upload id. The same files again are the
    same upload.

    Raises DataError if they are more than the studio takes.
    """
    if not files:
        raise DataError("No file was chosen.", "Choose one or more files.")
    named = _named_apart([Source(path, name) for path, name in files])
    _check_size(studio, named)
    upload_id = sha256("\n".join(f"{file_sha256(f.path)} {f.name}" for f in named).encode()).hexdigest()[:32]
    folder = studio.home.uploads / upload_id
    if not folder.is_dir():
        partial = Path(tempfile.mkdtemp(prefix=f"{upload_id}.", suffix=".partial", dir=studio.home.uploads))
        try:
            for file in named:
                shutil.copyfile(file.path, partial / file.name)
            partial.rename(folder)
        except FileExistsError:
            pass  # another tab was faster
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    folder.touch()  # in use again: it is kept for another week
    return upload_id


def keep_pasted(studio: Studio, text: str) -> str:
    """What was copied from a spreadsheet, or typed as CSV, JSON or lines of JSON."""
    text = text.strip("\ufeff\r\n")
    if not text.strip():
        raise DataError("Nothing was pasted.", "Copy the rows in your spreadsheet, header included, and paste them.")
    first = text.lstrip()[0]
    name = "pasted.json" if first == "[" else "pasted.jsonl" if first == "{" else "pasted.tsv"
    with tempfile.TemporaryDirectory(dir=studio.home.uploads) as folder:
        path = Path(folder) / name
        path.write_text(text + "\n", encoding="utf-8", errors="replace")
        return keep(studio, [(path, name)])


def keep_from_hub(studio: Studio, dataset_id: str, tick: Tick = no_tick) -> str:
    """The training files of a data set on a model hub."""
    with tempfile.TemporaryDirectory(dir=studio.home.uploads) as folder:
        fetched = fetch(studio.settings.hub_url, dataset_id, Path(folder), limits(studio), tick)
        return keep(studio, [(source.path, source.name) for source in fetched])


def sources(studio: Studio, upload_id: str) -> list[Source]:
    # the id may come from a browser: only what `keep` makes is looked up
    folder = studio.home.uploads / upload_id
    if not re.fullmatch(r"[0-9a-f]{32}", upload_id) or not folder.is_dir():
        raise NotFound("That upload is not here any more.", "Choose the file once more.")
    return [Source(path, path.name) for path in sorted(folder.iterdir()) if path.is_file()]


def sweep(studio: Studio) -> None:
    """Remove uploads that nobody has used for a week."""
    for folder in studio.home.uploads.iterdir():
        if time() - folder.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()


def _check_size(studio: Studio, files: Sequence[Source]) -> None:
    size_mib = sum(f.path.stat().st_size for f in files) / 2**20
    most_mib, most_files = studio.settings.max_upload_mib, studio.settings.max_archive_files
    if size_mib > most_mib:
        verb = f"{files[0].name} is" if len(files) == 1 else f"The {len(files)} files are"
        raise DataError(
            f"{verb} {size_mib:,.0f} MiB; this studio takes files up to {most_mib:,} MiB.",
            "Split the file, or raise STUDIO_MAX_UPLOAD_MIB.",
        )
    if len(files) > most_files:
        raise DataError(
            f"{len(files):,} files are too many; this studio takes {most_files:,} at once.", "Choose fewer."
        )


def _named_apart(files: Sequence[Source]) -> list[Source]:
    """The files under names that are safe, and different: “a.csv”, “a 2.csv”."""
    named: dict[str, Source] = {}
    for file in files:
        wanted = Path(_safe_name(file.name))
        numbers = (f"{wanted.stem} {number}{wanted.suffix}" for number in count(2))
        name = next(name for name in chain([wanted.name], numbers) if name not in named)
        named[name] = Source(file.path, name)
    return list(named.values())


def _safe_name(filename: str) -> str:
    name = re.sub(r"[^\w. -]", "_", Path(filename).name).strip(". ")
    suffix = Path(name).suffix[:10]
    return (name[: -len(suffix)] if suffix else name)[:100] + suffix if name else "upload"
