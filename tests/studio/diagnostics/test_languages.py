import pytest

from studio.diagnostics.languages import language_of, name


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where can I collect my parcel, and until when is the shop open?", "English"),
        ("Wo kann ich mein Paket abholen, und wie lange ist der Laden offen?", "German"),
        ("¿Dónde puedo recoger mi paquete y hasta cuándo está abierta la tienda?", "Spanish"),
        ("荷物はどこで受け取れますか。お店は何時まで開いていますか。", "Japanese"),
    ],
)
def test_languages_are_told(text: str, language: str) -> None:
    assert name(language_of(text)) == language


@pytest.mark.parametrize("text", ["", "42", "ok", "Box 3", "x = y + 1", "12:30 – 14:00"])
def test_nobody_could_be_sure(text: str) -> None:
    assert language_of(text) == ""
