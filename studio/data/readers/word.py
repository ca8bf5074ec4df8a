"""Word (.docx): the text of its paragraphs."""

from collections.abc import Iterator

from studio.core.errors import DataError
from studio.core.mapping import Reading
from studio.data.extract import extract
from studio.data.readers.documents import pieces
from studio.data.readers.table import Broken, Row, Source, Table, Tick


def read_word(source: Source, reading: Reading) -> Table:
    paragraphs = [(number, text) for number, text in enumerate(extract("word", source), 1) if text]
    if not paragraphs:
        raise DataError(
            f"{source.name} holds no text.",
            "If its pages are pictures, their text cannot be read; else check the file.",
        )

    def read(tick: Tick) -> Iterator[Row | Broken]:
        yield from pieces(paragraphs)

    return Table(["text"], read, "", notes=["Rows are numbered by the paragraph with which they begin."])
