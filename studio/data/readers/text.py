"""Bytes to text, whatever wrote them, without ever holding the whole file."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from charset_normalizer import from_bytes

from studio.core.errors import DataError
from studio.data.readers.table import Source

LONGEST_LINE_BYTES = 64 * 2**20
_BLOCK_BYTES = 2**20
_WINDOWS = "cp1252"
_MARKS = "‘’“”„«»–—…·•€£°§´¡¿©®™½¼\u00a0"
_CONTROL = bytes([*range(9), *range(14, 27), 127])
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def encoding_of(source: Source) -> str:
    """UTF-8 wherever the whole file is valid UTF-8; otherwise the likeliest encoding.

    Raises DataError if the bytes are not text, or if a line is too long to be one.
    """
    with source.path.open("rb") as file:
        start = file.read(4)
    marked = next((encoding for bom, encoding in _BOMS.items() if start.startswith(bom)), "")
    if marked:
        if not _fits(source, marked):
            raise _no_encoding(source, marked)
        return marked
    if _fits(source, "utf-8"):
        return "utf-8"
    encoding = _likeliest(source.path)
    if not _fits(source, encoding):
        raise _no_encoding(source, encoding)
    return encoding


@contextmanager
def open_text(source: Source, encoding: str, newline: str | None) -> Iterator[TextIO]:
    with source.path.open(encoding=encoding, newline=newline) as file:
        yield file


def read_text(source: Source) -> tuple[str, str]:
    """(text, encoding) of a whole file."""
    encoding = encoding_of(source)
    return source.path.read_bytes().decode(encoding), encoding


def share_read(file: TextIO, size_bytes: int) -> float:
    """How far into the file the reading is; `tell` of the text itself is closed while its lines are walked through."""
    position: int = file.buffer.raw.tell()  # type: ignore[attr-defined]
    return min(1.0, position / max(1, size_bytes))


def _fits(source: Source, encoding: str) -> bool:
    """Whether every byte fits. Raises DataError for bytes that no text holds, and for endless lines."""
    decoder = codecs.getincrementaldecoder(encoding)()
    wide = encoding == "utf-16"
    since_break = 0
    with source.path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError:
                return False
            plain = text.encode("utf-8", "replace") if wide else block
            if len(plain.translate(None, _CONTROL)) != len(plain):
                raise DataError(
                    f"{source.name} is not text: it holds control characters.", "Save it as CSV or JSONL and try again."
                )
            since_break = 0 if b"\n" in plain or b"\r" in plain else since_break + len(plain)
            if since_break > LONGEST_LINE_BYTES:
                raise DataError(
                    f"{source.name} has a line of more than {LONGEST_LINE_BYTES >> 20} MiB.",
                    "Put each example on a line of its own.",
                )
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _likeliest(path: Path) -> str:
    """Western Windows wherever it gives nothing but letters and marks that people write; else the best guess."""
    sample = _around_first_strange_byte(path)
    western = sample.decode(_WINDOWS, "replace")
    if all(c.isascii() or c.isalpha() or c in _MARKS for c in western):
        return _WINDOWS
    best = from_bytes(sample).best()
    return best.encoding if best else _WINDOWS


def _around_first_strange_byte(path: Path) -> bytes:
    """200 kB from where the file stops being ASCII: a long file may begin with pages of it."""
    with path.open("rb") as file:
        while (block := file.read(_BLOCK_BYTES)) and block.isascii():
            pass
        file.seek(max(0, file.tell() - len(block)))
        skipped = len(block) - len(block.lstrip(bytes(range(128))))
        file.seek(max(0, skipped - 1000), 1)
        return file.read(200_000)


def _no_encoding(source: Source, encoding: str) -> DataError:
    return DataError(
        f"{source.name} has characters that fit no encoding ({encoding} was the likeliest).",
        "Save it again as UTF-8 and try once more.",
    )
