"""JSON that is not quite JSON: trailing commas, single or curly quotes, a bracket that is missing.

Nothing is mended unless somebody has seen what would become of it and said yes.
"""

from dataclasses import dataclass
from json import dumps
from typing import Any

from json_repair import repair_json

from studio.core.errors import DataError

_SHOWN_CHARS = 300


@dataclass(frozen=True, slots=True)
class Mending:
    """What a repair would do to one line."""

    row: int
    before: str
    after: str


class Mendable(DataError):
    """A file that cannot be read as it stands, but could be after a repair."""

    def __init__(self, message: str, hint: str, before: str, text: str) -> None:
        super().__init__(message, hint)
        self.before = before
        self._text = text

    @property
    def mending(self) -> Mending | None:
        """What the file's first example would be, or None if there is no repair."""
        content = mend(self._text)
        first = content[0] if isinstance(content, list) and content else content
        if not isinstance(first, dict) or not first:
            return None
        return Mending(1, self.before, dumps(first, ensure_ascii=False)[:_SHOWN_CHARS])


def mend(text: str) -> Any:
    """The likeliest meaning of the text; "" if it has none."""
    try:
        return repair_json(text, return_objects=True, skip_json_loads=True)
    except (RecursionError, ValueError):
        return ""


def mending(row: int, raw: str) -> Mending | None:
    """What a repair would make of a line, or None if it would make nothing of it."""
    content = mend(raw)
    if not isinstance(content, dict) or not content:
        return None
    return Mending(row, raw[:_SHOWN_CHARS], dumps(content, ensure_ascii=False)[:_SHOWN_CHARS])
