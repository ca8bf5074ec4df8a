"""PDF: the text of its pages. Pages that are pictures are told; nothing in a PDF is run or followed."""

import re
from collections.abc import Iterator

from studio.core.errors import DataError
from studio.core.mapping import Reading
from studio.data.extract import extract
from studio.data.readers.documents import Paragraph, pieces
from studio.data.readers.table import Broken, Row, Source, Table, Tick

_PICTURE = "is a picture; text in pictures cannot be read"
_DIVIDED = re.compile(r"(?<=\w)-\n(?=[a-zß-ÿ])")  # a word, at the end of a line


def read_pdf(source: Source, reading: Reading) -> Table:
    pages: list[str] = extract("pdf", source)
    empty = [number for number, text in enumerate(pages, 1) if not text]
    if pages and len(empty) == len(pages):
        raise DataError(
            f"The pages of {source.name} are pictures. Their text cannot be read.",
            "Run text recognition (OCR) over it first, or find the original document.",
        )

    def read(tick: Tick) -> Iterator[Row | Broken]:
        for number in empty:
            yield Broken(number, _PICTURE)
        yield from pieces(_paragraphs(pages))

    return Table(["text"], read, "", notes=["Rows are numbered by the page on which they begin."])


def _paragraphs(pages: list[str]) -> Iterator[Paragraph]:
    for number, text in enumerate(pages, 1):
        for paragraph in re.split(r"\n\s*\n", _DIVIDED.sub("", text)):
            if paragraph.strip():
                yield number, paragraph.strip()
