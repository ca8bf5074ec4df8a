"""ZIP and .gz files: looked through before a byte of them is unpacked, and counted while they are."""

import gzip
import re
import shutil
import stat
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from errno import EINVAL
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from studio.core.errors import DataError
from studio.data.limits import MIB, Limits
from studio.data.readers.table import Source

ARCHIVES = frozenset({".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".zst", ".7z", ".rar"})
_RATIO = 200  # plain text shrinks to a fifth, or to a thirtieth if it repeats itself; bombs to a thousandth
_SMALL_BYTES = 50 * MIB  # below which a high ratio does no harm
_BLOCK_BYTES = MIB
_CLUTTER = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


def unpack(source: Source, folder: Path, suffixes: Container[str], limits: Limits) -> tuple[list[Source], list[str]]:
    """(the archive's files that end in one of `suffixes`, the names of the others). `folder` is made.

    Raises DataError, in words, and leaves nothing behind, if anything in it is unsafe or too large.
    """
    folder.mkdir(parents=True)
    try:
        with _in_words(source, "Pack it again and choose the new file."):
            names, others = (_unzip if _is_zip(source.path) else _gunzip)(source, folder, suffixes, limits)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return [Source(folder / str(place), name) for place, name in enumerate(names)], others


def check_office(source: Source, limits: Limits) -> None:
    """Word, Excel and OpenDocument files are ZIP archives: they are held to the same limits before they are opened."""
    with _in_words(source, "Open it in its own program and save it again."), ZipFile(source.path) as archive:
        _check_sizes(source, archive.infolist(), limits.whole_mib * 4, limits.archive_files * 10)


def names_in(path: Path) -> list[str]:
    """Of a ZIP; [] if it is none that can be read."""
    try:
        with ZipFile(path) as archive:
            return archive.namelist()
    except (BadZipFile, ValueError, NotImplementedError, OSError):
        return []


@contextmanager
def _in_words(source: Source, hint: str) -> Iterator[None]:
    """Turns what Python's own readers of archives raise over a damaged one into a sentence."""
    try:
        yield
    except (BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, NotImplementedError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in {None, EINVAL}:  # EINVAL: sent to a place before its start
            raise
        raise DataError(f"{source.name} is damaged.", hint) from None


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _unzip(source: Source, folder: Path, suffixes: Container[str], limits: Limits) -> tuple[list[str], list[str]]:
    with ZipFile(source.path) as archive:
        entries = archive.infolist()
        _check_sizes(source, entries, limits.archive_mib, limits.archive_files)
        for entry in entries:
            _check_entry(source, entry)
        entries = [e for e in entries if not e.is_dir() and not _CLUTTER.search(e.filename)]
        if not entries:
            raise DataError(f"{source.name} holds no files.", "Choose a file with at least 10 examples.")
        wanted = [e for e in entries if Path(e.filename).suffix.lower() in suffixes and e.file_size]
        names = [e.filename for e in wanted]
        twice = sorted({n for n in names if sum(n.casefold() == other.casefold() for other in names) > 1})
        if twice:
            raise DataError(f"{source.name} holds two files called “{twice[0]}”.", "Pack it again with each file once.")
        left = limits.archive_mib * MIB
        for place, entry in enumerate(wanted):
            with archive.open(entry) as packed, (folder / str(place)).open("wb") as file:
                left -= _copy(packed, file, min(left, entry.file_size), source)
    common = len(_common_folder([e.filename for e in entries]))
    return [name[common:] for name in names], [e.filename[common:] for e in entries if e not in wanted]


def _check_sizes(source: Source, entries: list[ZipInfo], most_mib: int, most_files: int) -> None:
    if len(entries) > most_files:
        raise DataError(
            f"{source.name} holds {len(entries):,} files; this studio unpacks {most_files:,}.",
            "Put the examples into fewer files.",
        )
    unpacked, packed = sum(e.file_size for e in entries), sum(e.compress_size for e in entries)
    if unpacked > most_mib * MIB:
        raise DataError(
            f"{source.name} would take {unpacked / MIB:,.0f} MiB unpacked; this studio unpacks {most_mib:,} MiB.",
            "Split it, or raise STUDIO_MAX_ARCHIVE_MIB.",
        )
    if (unpacked > _SMALL_BYTES and unpacked > _RATIO * packed) or packed > source.path.stat().st_size:
        raise DataError(
            f"{source.name} grows {unpacked // max(1, packed):,} times when unpacked, as only a trap would.",
            "Choose the files themselves.",
        )


def _check_entry(source: Source, entry: ZipInfo) -> None:
    shown = entry.filename[:80]
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", entry.filename) or not shown.strip("/ "):
        raise DataError(f"{source.name} wants to write outside its folder (“{shown}”).", "Do not use this archive.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise DataError(f"{source.name} holds a link (“{shown}”).", "Pack it again with the files themselves.")
    if entry.flag_bits & 1:
        raise DataError(f"{source.name} is locked with a password.", "Pack it again without one.")
    if path.suffix.lower() in ARCHIVES and not _CLUTTER.search(entry.filename):
        raise DataError(f"{source.name} holds another archive (“{shown}”).", "Unpack that one first.")


def _gunzip(source: Source, folder: Path, suffixes: Container[str], limits: Limits) -> tuple[list[str], list[str]]:
    name = source.name[:-3] if source.name.lower().endswith(".gz") else source.name
    if Path(name).suffix.lower() in ARCHIVES or source.name.lower().endswith(".tgz"):
        raise DataError(f"{source.name} is an archive in an archive.", "Unpack it and choose the files, or use a ZIP.")
    if Path(name).suffix.lower() not in suffixes:
        return [], [name]
    room = min(limits.archive_mib * MIB, max(_SMALL_BYTES, _RATIO * source.path.stat().st_size))
    with gzip.open(source.path) as packed, (folder / "0").open("wb") as file:
        _copy(packed, file, room, source)
    return [name], []


def _copy(packed: gzip.GzipFile | IO[bytes], file: IO[bytes], most_bytes: int, source: Source) -> int:
    """Bytes written. Raises DataError before more than `most_bytes` are."""
    written = 0
    while block := packed.read(_BLOCK_BYTES):
        written += len(block)
        if written > most_bytes:
            raise DataError(
                f"{source.name} grows to more than {most_bytes / MIB:,.0f} MiB when unpacked.",
                "Split it, or raise STUDIO_MAX_ARCHIVE_MIB.",
            )
        file.write(block)
    return written


def _common_folder(names: list[str]) -> str:
    """The folder that everything lies in, which people add by packing a folder; "" if there is none."""
    first = names[0].split("/")[0] + "/"
    return first if all(name.startswith(first) for name in names) else ""
