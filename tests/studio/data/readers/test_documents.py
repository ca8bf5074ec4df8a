"""Text, Markdown, PDF and Word: pieces to learn from, numbered as a person would look for them."""

import io
from zipfile import ZipFile

import pytest
from pypdf import PdfReader, PdfWriter

from studio.core.errors import DataError
from studio.data.readers.documents import PIECE_CHARS
from tests.studio.data.conftest import Read, broken_in, rows_in

SENTENCE = "The clock at Brumble strikes thirteen. "
_RELATIONS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)
_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)


def word(*paragraphs: str) -> bytes:
    body = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs)
    main = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _RELATIONS)
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{main}"><w:body>{body}</w:body></w:document>')
    return file.getvalue()


def pdf(*pages: str) -> bytes:
    """A PDF by hand: a page with a line of text for each, or, where that is empty, a page with nothing to read."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", ""]
    kids = []
    for text in pages:
        stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET" if text else ""
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 200]/Contents {len(objects) + 2} 0 R/Resources<</Font<</F1"
            "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>>>"
        )
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
    objects[1] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(kids)}>>"
    data, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(data)}\n%%EOF"
    return data + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


def test_a_text_is_cut_between_paragraphs(read: Read) -> None:
    paragraphs = [f"Chapter {n}\n{SENTENCE * 20}" for n in range(10)]
    table = read("book.md", "\n\n".join(paragraphs))
    rows = rows_in(table)
    assert table.columns == ["text"]
    assert [row.number for row in rows] == [1, 7, 13, 19, 25]
    assert all(len(row.values["text"]) <= PIECE_CHARS for row in rows)
    assert "\n\n".join(row.values["text"] for row in rows) == "\n\n".join(p.strip() for p in paragraphs)


def test_a_long_paragraph_is_cut_between_sentences_and_loses_nothing(read: Read) -> None:
    rows = rows_in(read("a.txt", SENTENCE * 500))
    assert all(len(row.values["text"]) <= PIECE_CHARS and row.values["text"].endswith("thirteen.") for row in rows)
    assert " ".join(row.values["text"] for row in rows) == (SENTENCE * 500).strip()


def test_a_text_without_spaces_or_breaks_is_cut_all_the_same(read: Read) -> None:
    rows = rows_in(read("a.txt", "x" * 10_000))
    assert [len(row.values["text"]) for row in rows] == [PIECE_CHARS] * 5


def test_a_pdf_is_read_page_by_page(read: Read) -> None:
    table = read("a.pdf", pdf("Clocks of Brumble", "", "They strike thirteen"))
    assert [(row.number, row.values["text"]) for row in rows_in(table)] == [
        (1, "Clocks of Brumble\n\nThey strike thirteen")
    ]
    assert [(row.number, row.reason) for row in broken_in(table)] == [
        (2, "is a picture; text in pictures cannot be read")
    ]


def test_a_pdf_of_pictures_says_so(read: Read) -> None:
    with pytest.raises(DataError, match="are pictures"):
        read("scan.pdf", pdf("", ""))


def test_a_locked_pdf_says_so(read: Read) -> None:
    writer, file = PdfWriter(PdfReader(io.BytesIO(pdf("Secret")))), io.BytesIO()
    writer.encrypt("password", algorithm="RC4-128")
    writer.write(file)
    with pytest.raises(DataError, match="locked with a password"):
        read("a.pdf", file.getvalue())


def test_a_word_document_is_read_paragraph_by_paragraph(read: Read) -> None:
    rows = rows_in(read("a.docx", word("Clocks of Brumble", SENTENCE * 60)))
    assert [row.number for row in rows] == [1, 2, 2]
    assert rows[0].values["text"] == "Clocks of Brumble"


def test_an_empty_word_document_says_so(read: Read) -> None:
    with pytest.raises(DataError, match="holds no text"):
        read("a.docx", word(""))


def test_a_word_document_that_unfolds_without_end_is_refused(read: Read) -> None:
    lol = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9)
    )
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _RELATIONS)
        archive.writestr("word/document.xml", lol + "]><x>&j;</x>")
    with pytest.raises(DataError, match="damaged"):
        read("a.docx", file.getvalue())
