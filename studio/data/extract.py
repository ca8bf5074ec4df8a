"""What stands in a workbook, a PDF or a Word document, found out in a process of its own. By hand:

    python -m studio.data.extract pdf FILE NAME

Such files can be made to fill any memory and to take any time. Here they can only take this process's share of it.
"""

import json
import logging
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from studio.core.errors import DataError
from studio.data.readers.table import Source

MEMORY_BYTES = 3 * 2**30
SECONDS = 300
MOST_BYTES = 256 * 2**20
MOST_PAGES = 5000


def extract(kind: str, source: Source, *more: str) -> Any:
    """What the function of that name below makes of the file. Raises DataError, in words, whatever is wrong with it."""
    command = [sys.executable, "-m", "studio.data.extract", kind, str(source.path), source.name, *more]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise DataError(
            f"{source.name} is damaged, or needs more memory or time to be read than it should.",
            "Open it in its own program, save it again, or save what you need of it as CSV or text.",
        ) from None
    if "refused" in answer:
        raise DataError(*answer["refused"])
    return answer["content"]


def workbook(path: Path, name: str, wanted: str) -> dict[str, Any]:
    """{sheets: those with anything in them, sheet: the one that was read, lines: [[row number, [cell, …]], …]}."""
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    try:
        book = CalamineWorkbook.from_path(path)
        filled = [sheet for sheet in book.sheet_names if book.get_sheet_by_name(sheet).height]
        if not filled:
            raise DataError(f"{name} has no sheet with anything in it.", "Choose another file.")
        if wanted and wanted not in filled:
            known = ", ".join(f"“{sheet}”" for sheet in filled[:12])
            raise DataError(f"{name} has no filled sheet “{wanted}”.", f"Choose one of: {known}.")
        sheet = wanted or filled[0]
        rows = enumerate(book.get_sheet_by_name(sheet).iter_rows(), 1)  # blank rows above the first count too
        lines = [(number, [_cell(value) for value in row]) for number, row in rows]
    except PasswordError:
        raise _locked(name) from None
    except (CalamineError, OSError, ValueError):
        if "EncryptedPackage".encode("utf-16-le") in path.read_bytes():
            raise _locked(name) from None
        raise DataError(
            f"{name} is damaged, or not really a workbook.", "Open it in Excel and save it again."
        ) from None
    return {"sheets": filled, "sheet": sheet, "lines": [line for line in lines if any(line[1])]}


def pdf(path: Path, name: str) -> list[str]:
    """The text of each page; "" for a picture."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it writes a line for every flaw it can live with
    try:
        document = PdfReader(path)
        if document.is_encrypted and not document.decrypt(""):
            raise _locked(name)
        if len(document.pages) > MOST_PAGES:
            raise DataError(
                f"{name} has {len(document.pages):,} pages; {MOST_PAGES:,} can be read at once.",
                "Split it and choose its parts.",
            )
        return [_printable(page.extract_text()) for page in document.pages]
    except DataError:
        raise
    except DependencyError:
        raise _locked(name) from None
    except Exception:  # a hostile PDF finds something for every kind of error that pypdf and zlib can raise
        raise DataError(
            f"{name} is damaged, or not really a PDF.", "Open it in a PDF viewer and print it into a new PDF."
        ) from None


def word(path: Path, name: str) -> list[str]:
    """The paragraphs, empty ones included."""
    from mammoth import extract_raw_text

    try:
        with path.open("rb") as file:
            return [_printable(part) for part in str(extract_raw_text(file).value).split("\n\n")]
    except Exception:  # a damaged document finds something for every kind of error that mammoth and minidom can raise
        raise DataError(
            f"{name} is damaged, or not really a Word document.", "Open it in Word and save it again."
        ) from None


def _cell(value: Any) -> str:
    match value:
        case str():
            return _printable(value)
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
        case datetime():
            return value.isoformat(" ", "seconds") if value.time() != time() else value.date().isoformat()
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
    return str(value)


def _printable(text: str) -> str:
    """Without what no UTF-8 file can keep: zero bytes and halves of surrogate pairs."""
    return re.sub(r"[\x00\ud800-\udfff]", "", text).strip()


def _locked(name: str) -> DataError:
    return DataError(f"{name} is locked with a password.", "Save it without one and choose it again.")


_KINDS: dict[str, Callable[..., Any]] = {"workbook": workbook, "pdf": pdf, "word": word}


def main(kind: str, path: str, *more: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer = {"content": _KINDS[kind](Path(path), *more)}
    except DataError as error:
        answer = {"refused": [error.message, error.hint]}
    told = json.dumps(answer, ensure_ascii=False).encode()
    if len(told) > MOST_BYTES:
        refused = f"{more[0]} holds more than {MOST_BYTES >> 20} MiB of text.", "Split it, or save it as CSV."
        told = json.dumps({"refused": refused}).encode()
    sys.stdout.buffer.write(told)


if __name__ == "__main__":
    main(*sys.argv[1:])
