"""Bytes to text, whatever wrote them."""

import re

from charset_normalizer import from_bytes

from studio.core.errors import DataError

_WINDOWS = "cp1252"
_MARKS = "‘’“”„«»–—…·•€£°§´¡¿©®™½¼\u00a0"
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x7f]")
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def decode(data: bytes, filename: str) -> tuple[str, str]:
    """(text, encoding). UTF-8 wherever it is valid; otherwise the likeliest encoding.

    Raises DataError if the bytes are not text.
    """
    for bom, encoding in _BOMS.items():
        if data.startswith(bom):
            return _strict(data, encoding, filename), encoding
    try:
        return _plain(data.decode("utf-8"), filename), "utf-8"
    except UnicodeDecodeError:
        encoding = _likeliest(data)
        return _plain(_strict(data, encoding, filename), filename), encoding


def _likeliest(data: bytes) -> str:
    """Western Windows wherever it gives nothing but letters and marks that people write; else the best guess."""
    start = data[:200_000]
    western = start.decode(_WINDOWS, "replace")
    if all(c.isascii() or c.isalpha() or c in _MARKS for c in western):
        return _WINDOWS
    best = from_bytes(start).best()
    return best.encoding if best else _WINDOWS


def _plain(text: str, filename: str) -> str:
    if _CONTROL.search(text):
        raise DataError(
            f"{filename} is not text: it holds control characters.", "Save it as CSV or JSONL and try again."
        )
    return text


def _strict(data: bytes, encoding: str, filename: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(
            f"{filename} has characters that fit no encoding ({encoding} was the likeliest).",
            "Save it again as UTF-8 and try once more.",
        ) from None
