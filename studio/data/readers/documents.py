"""Plain text and Markdown, and what all documents have in common: paragraphs, gathered into pieces to learn from."""

from collections.abc import Iterable, Iterator

from studio.core.mapping import Reading
from studio.data.readers.table import TICK_ROWS, Broken, Row, Source, Table, Tick
from studio.data.readers.text import encoding_of, open_text, share_read

PIECE_CHARS = 2000
Paragraph = tuple[int, str]  # where it begins: a line or a page


def read_document(source: Source, reading: Reading) -> Table:
    encoding = encoding_of(source)

    def read(tick: Tick) -> Iterator[Row | Broken]:
        yield from pieces(_paragraphs(source, encoding, tick))

    return Table(["text"], read, encoding)


def pieces(paragraphs: Iterable[Paragraph]) -> Iterator[Row]:
    """Neighbouring paragraphs together, up to PIECE_CHARS; a longer one is cut between sentences, or words."""
    start, gathered, length, count = 0, list[str](), 0, 1
    for number, paragraph in paragraphs:
        for part in _cut(paragraph):
            if gathered and length + len(part) > PIECE_CHARS:
                yield Row(start, {"text": "\n\n".join(gathered)}, piece=count, goes_on=True)
                gathered, length, count = [], 0, count + 1
            if not gathered:
                start = number
            gathered.append(part)
            length += len(part) + 2
    if gathered:
        yield Row(start, {"text": "\n\n".join(gathered)}, piece=count)


def _paragraphs(source: Source, encoding: str, tick: Tick) -> Iterator[Paragraph]:
    size = source.path.stat().st_size
    start, lines, length = 1, list[str](), 0
    with open_text(source, encoding, newline=None) as file:
        for number, line in enumerate(file, 1):
            if number % TICK_ROWS == 0:
                tick(share_read(file, size))
            blank = line.isspace()
            if lines and (blank or length > 8 * PIECE_CHARS):  # a text without one empty line is cut all the same
                yield start, "".join(lines).strip()
                lines, length = [], 0
            if not blank:
                start = start if lines else number
                lines.append(line)
                length += len(line)
    if lines:
        yield start, "".join(lines).strip()


def _cut(paragraph: str) -> Iterator[str]:
    rest = paragraph
    while len(rest) > PIECE_CHARS:
        end = max(rest.rfind(mark, PIECE_CHARS // 2, PIECE_CHARS) for mark in (". ", "! ", "? ", ".\n", "。", "\n"))
        if end < 0:
            end = rest.rfind(" ", PIECE_CHARS // 2, PIECE_CHARS)
        end = end + 1 if end >= 0 else PIECE_CHARS
        yield rest[:end].strip()
        rest = rest[end:].strip()
    if rest:
        yield rest
