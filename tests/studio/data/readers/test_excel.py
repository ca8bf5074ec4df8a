import io
from collections.abc import Callable
from datetime import date, datetime
from zipfile import ZipFile

import pytest
from openpyxl import Workbook

from studio.core.errors import DataError
from studio.core.mapping import Reading
from tests.studio.data.conftest import Read, broken_in, rows_in

ODS = (
    '<?xml version="1.0"?><office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
    '<table:table table:name="Sheet1">{}</table:table></office:spreadsheet></office:body></office:document-content>'
)


def book(fill: Callable[[Workbook], None]) -> bytes:
    workbook, file = Workbook(), io.BytesIO()
    fill(workbook)
    workbook.save(file)
    return file.getvalue()


def two_sheets(workbook: Workbook) -> None:
    workbook.active.title = "Empty"
    for name, word in (("German", "Hallo"), ("Italian", "Ciao")):
        sheet = workbook.create_sheet(name)
        sheet.append(["question", "answer"])
        sheet.append(["Hi", word])


def test_the_first_filled_sheet_is_read_and_another_can_be_chosen(read: Read) -> None:
    data = book(two_sheets)
    table = read("a.xlsx", data)
    assert (table.sheets, table.sheet) == (["German", "Italian"], "German")
    assert rows_in(table)[0].values == {"question": "Hi", "answer": "Hallo"}
    assert rows_in(read("a.xlsx", data, reading=Reading(sheet="Italian")))[0].values["answer"] == "Ciao"
    with pytest.raises(DataError, match="no filled sheet “French”"):
        read("a.xlsx", data, reading=Reading(sheet="French"))


def test_rows_have_the_numbers_that_excel_shows(read: Read) -> None:
    def fill(workbook: Workbook) -> None:
        sheet = workbook.active
        sheet["B2"] = "Our questions, June"
        sheet["B4"], sheet["C4"] = "question", "answer"
        sheet["B5"], sheet["C5"] = "Hi", "Hello"
        sheet["B8"], sheet["C8"] = "Bye", "Ciao"
        sheet["B9"], sheet["E9"] = "Stray", "note"

    table = read("a.xlsx", book(fill))
    assert table.columns == ["question", "answer", "column 3"] and "row 4" in table.notes[0]
    assert [(row.number, row.values["answer"]) for row in rows_in(table)] == [(5, "Hello"), (8, "Ciao"), (9, "")]
    assert not broken_in(table)


def test_cells_become_the_text_they_show(read: Read) -> None:
    def fill(workbook: Workbook) -> None:
        workbook.active.append(["question", "answer"])
        for value in (3.0, 2.5, True, date(2026, 1, 2), datetime(2026, 1, 2, 3, 4), "=1+1", "=cmd|' /C calc'!A0"):
            workbook.active.append(["q", value])

    answers = [row.values["answer"] for row in rows_in(read("a.xlsx", book(fill)))]
    # what openpyxl writes as formulas was never calculated by anybody, and is not calculated here
    assert answers == ["3", "2.5", "TRUE", "2026-01-02", "2026-01-02 03:04:00", "", ""]


def test_two_columns_of_one_name_are_refused(read: Read) -> None:
    with pytest.raises(DataError, match="two columns called “answer”"):
        read("a.xlsx", book(lambda b: [b.active.append(row) for row in (["answer", "answer"], ["a", "b"])]))  # type: ignore[arg-type,func-returns-value]


def test_open_document_spreadsheets_are_read(read: Read) -> None:
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    rows = "".join(
        f"<table:table-row>{''.join(cell.format(text) for text in row)}</table:table-row>"
        for row in (("question", "answer"), ("Hi", "Hello"))
    )
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", ODS.format(rows))
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    assert rows_in(read("a.ods", file.getvalue()))[0].values == {"question": "Hi", "answer": "Hello"}


@pytest.mark.parametrize("cut", [30, 500, 3000])
def test_a_damaged_workbook_is_refused_in_words(read: Read, cut: int) -> None:
    with pytest.raises(DataError, match="damaged"):
        read("a.xlsx", book(two_sheets)[:-cut])


def test_an_empty_workbook_is_refused_in_words(read: Read) -> None:
    with pytest.raises(DataError, match="no sheet with anything in it"):
        read("a.xlsx", book(lambda workbook: None))


def test_a_workbook_that_unfolds_without_end_takes_nothing_down(read: Read) -> None:
    def fill(workbook: Workbook) -> None:
        workbook.active["A1"], workbook.active["XFD1048576"] = "question", "answer"

    with pytest.raises(DataError, match="needs more memory"):
        read("a.xlsx", book(fill))
