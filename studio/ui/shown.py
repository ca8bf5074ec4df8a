"""What the form in a browser shows already, so that an answer carries only what must change.

An update that changes nothing is not harmless: it undoes what is being typed when it arrives, or opens a list again.
"""

from collections.abc import Iterable
from hashlib import sha256
from json import dumps
from typing import Any

from pydantic import Field

from studio.ui.draft import Kept

Look = dict[str, Any]  # what `gradio.update` takes


class Shown(Kept):
    """With what the widgets were last filled."""

    preset: str = ""
    usual: dict[str, Any] = Field(default_factory=dict)  # the preset's settings; what differs, the user has changed
    wish: str = ""  # the last that was granted
    looks: dict[str, str] = Field(default_factory=dict)  # a digest a look

    def take(self, looks: Iterable[tuple[str, Any, Look]]) -> dict[Any, Look]:
        """The looks that differ from what is shown, by widget; from now on they are what is shown.

        Each has a key of its own, because one widget may have several parts.
        """
        new: dict[Any, Look] = {}
        for key, widget, look in looks:
            digest = sha256(dumps(look, sort_keys=True).encode()).hexdigest()[:8]
            if self.looks.get(key) != digest:
                self.looks[key] = digest
                new[widget] = new.get(widget, {}) | look
        return new
