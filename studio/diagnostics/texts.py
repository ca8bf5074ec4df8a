"""What can be wrong inside one text, and the text without it. Each check looks for a telling character first, so that
most texts cost next to nothing."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from html import unescape

Find = Callable[[str], bool]
Fix = Callable[[str], str]

_HTML = re.compile(
    r"</?(?:p|br|div|span|a|b|i|u|li|ul|ol|dl|dt|dd|td|tr|th|table|tbody|thead|strong|em|h[1-6]|img|script|style|font"
    r"|blockquote|iframe|section|article|hr)(?:\s[^<>]*)?/?>|&(?:nbsp|amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-f]{1,6});",
    re.IGNORECASE,
)
_UNSEEN = re.compile(r"<(script|style)\b[^<>]*>[^<]*</\1>", re.IGNORECASE)
_BREAK = re.compile(r"<br\s*/?>|</(?:p|div|li|tr|h[1-6]|ul|ol|table|blockquote)>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{\{\s*[^\W\d][\w .-]{0,60}\}\}")
_TEMPLATE = re.compile(
    r"<\|[a-zA-Z_][\w ]{1,30}\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|\A\s*<s>|</s>\s*\Z|<｜[^<>｜]{2,40}｜>"
)
_SECRET = re.compile(
    r"\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_\w{30,}|\bhf_[A-Za-z0-9]{30,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[0-9A-Za-z_-]{35}|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{5,}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[^-]{1,8000}-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
    r"|\b(?i:api[_-]?key|secret|password|passwd)[\"']?\s*[:=]\s*[\"']?(?=[^\s\"']{0,60}\d)[^\s\"']{8,200}"
)
_SECRET_SIGNS = (
    "sk-",
    "AKIA",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "_pat_",
    "hf_",
    "xox",
    "AIza",
    "eyJ",
    "PRIVATE KEY",
)
_SECRET_WORDS = ("key", "secret", "passw")
_EMAIL = re.compile(r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,5}[A-Za-z]{2,24}\b")
_DIGITS = re.compile(r"[\d(+][\d ().+/-]{6,30}\d")  # before the slower patterns of long numbers
_PHONE = re.compile(
    r"(?<![\w.,/+-])(?:(?:\+|00)[1-9]|0[1-9]|\([0-9]{2,5}\) ?"
    r"|[2-9]\d\d[-. ][2-9]\d\d[-. ]\d{4}\b)(?:[\d ()/.-]{0,18}\d)?(?![\w%])"
)
_CARD = re.compile(r"(?<![\w.+-])(?:\d{13,19}|\d{4}([ -])\d{4}\1\d{4}\1\d{1,7}|3\d{3}([ -])\d{6}\2\d{5})(?![\w-])")
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{1,3}(?:\.\d{1,3}){3}")


@dataclass(frozen=True)
class Check:
    """`fix` returns the text without what `find` finds; None where no program can know what was meant."""

    find: Find
    fix: Fix | None


def _mojibake(text: str) -> bool:
    return not text.isascii() and _is_bad(text) and _repaired(text) != text


@cache
def _ftfy() -> tuple[Find, Fix]:
    import ftfy  # a third of a second that only files with accents need
    from ftfy.badness import is_bad

    return is_bad, ftfy.fix_encoding


def _is_bad(text: str) -> bool:
    return _ftfy()[0](text)


def _repaired(text: str) -> str:
    return _ftfy()[1](text)


def _html(text: str) -> bool:
    return ("<" in text or "&" in text) and "```" not in text and bool(_HTML.search(text))


def _plain(text: str) -> str:
    text = _BREAK.sub("\n", _UNSEEN.sub("", text))
    text = unescape(_TAG.sub("", text)).replace("\u00a0", " ")
    return re.sub(r"[ \t]*\n[ \t]*(?:\n[ \t]*)*", "\n", text).strip()


def _has_template(text: str) -> bool:
    return ("<" in text or "INST]" in text) and bool(_TEMPLATE.search(text))


def _without_template(text: str) -> str:
    while (cut := _TEMPLATE.sub("", text)) != text:  # what two marks held apart may be a third
        text = cut
    return re.sub(r"\A(?:system|user|assistant)\n", "", text.strip()).strip()


def _secrets(text: str) -> bool:
    likely = any(sign in text for sign in _SECRET_SIGNS) or any(word in text.lower() for word in _SECRET_WORDS)
    return likely and bool(_SECRET.search(text))


def _phones(text: str) -> bool:
    return bool(_DIGITS.search(text)) and any(_is_phone(m[0]) for m in _PHONE.finditer(text))


def _is_phone(found: str) -> bool:
    """Nine to fifteen digits, written as people write numbers to call: no sum, no date, no number of a card."""
    digits = sum(c.isdigit() for c in found)
    return 9 <= digits <= 15 and " - " not in found and not _DATE.search(found) and not _is_card(found)


def _cards(text: str) -> bool:
    return bool(_DIGITS.search(text)) and any(_is_card(m[0]) for m in _CARD.finditer(text))


def _is_card(found: str) -> bool:
    """A number of a payment card: 13 to 19 digits, a known first digit, and Luhn's check digit right."""
    digits = [int(c) for c in found if c.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) < 2:
        return False
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _masked(pattern: re.Pattern[str], word: str, really: Find = bool) -> Fix:
    return lambda text: pattern.sub(lambda m: word if really(m[0]) else m[0], text)


CHECKS: dict[str, Check] = {
    "mojibake": Check(_mojibake, _repaired),
    "lost_characters": Check(lambda text: "\ufffd" in text, None),
    "html": Check(_html, _plain),
    "placeholders": Check(lambda text: "{{" in text and bool(_PLACEHOLDER.search(text)), None),
    "template_tokens": Check(_has_template, _without_template),
    "secrets": Check(_secrets, _masked(_SECRET, "[secret]")),
    "emails": Check(lambda text: "@" in text and bool(_EMAIL.search(text)), _masked(_EMAIL, "[e-mail]")),
    "cards": Check(_cards, _masked(_CARD, "[card number]", _is_card)),
    "phones": Check(_phones, _masked(_PHONE, "[phone]", _is_phone)),
}


def found_in(text: str) -> list[str]:
    """The names of the checks that find something in `text`."""
    return [name for name, check in CHECKS.items() if check.find(text)]
