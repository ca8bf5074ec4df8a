"""Which languages texts are in, by a model of 5 MB that comes with its library; nothing is downloaded."""

from collections.abc import Iterable
from functools import cache
from typing import Any

FEWEST_LETTERS = 20  # in less the guess is a coin toss
SURE = 0.9

NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sr": "Serbian", "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


def language_of(text: str) -> str:
    """The language's two-letter code; empty where nobody could be sure."""
    text = text[:500]
    if sum(c.isalpha() for c in text) < (FEWEST_LETTERS if text.isascii() else FEWEST_LETTERS // 2):
        return ""
    code, sure = _identifier().classify(text)
    return str(code) if sure >= SURE else ""


def name(code: str) -> str:
    return NAMES.get(code, code)


def languages_of(texts: Iterable[str]) -> list[str]:
    return [language_of(text) for text in texts]


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # 0.4 s that a page need not wait for

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(NAMES))
    return identifier
