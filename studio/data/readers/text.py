"""Bytes to text, whatever wrote them."""

from charset_normalizer import from_bytes

from studio.core.errors import DataError

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def decode(data: bytes, filename: str) -> tuple[str, str]:
    """(text, encoding). UTF-8 wherever it is valid; otherwise the likeliest encoding.

    Raises DataError if the bytes are not text.
    """
    for bom, encoding in _BOMS.items():
        if data.startswith(bom):
            return _strict(data, encoding, filename), encoding
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(data[:200_000]).best()
        if best is None:
            raise DataError(f"{filename} is not text.", "Save it as CSV or JSONL in UTF-8 and try again.") from None
        return _strict(data, best.encoding, filename), best.encoding
    if "\x00" in text:
        raise DataError(f"{filename} is not text: it holds zero bytes.", "Save it as CSV or JSONL and try again.")
    return text, "utf-8"


def _strict(data: bytes, encoding: str, filename: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(
            f"{filename} has characters that fit no encoding ({encoding} was the likeliest).",
            "Save it again as UTF-8 and try once more.",
        ) from None
