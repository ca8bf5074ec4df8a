"""What something else on the page wants of the settings: a forecast's advice, a reset, a `recipe.yaml`.

It travels as JSON in one hidden place, so that all changes of the settings have one listener.
"""

from typing import Any
from uuid import uuid4

from pydantic import Field, ValidationError

from studio.ui.draft import Kept


class Wish(Kept):
    id: str = Field(default_factory=lambda: uuid4().hex, max_length=64)  # each is granted once
    preset: str = ""  # empty: as it is
    fields: dict[str, Any] = Field(default_factory=dict)  # None: what the preset says
    alone: bool = False  # all other changes go

    @classmethod
    def parse(cls, text: Any) -> "Wish":
        try:
            return cls.model_validate_json(text or "")
        except (ValidationError, TypeError):
            return cls(id="")

    def granted(self, settings: dict[str, Any], showable: dict[str, Any]) -> dict[str, Any]:
        """`settings` with the wish laid over them; `showable` are those of its fields that can be."""
        kept = {} if self.alone else {name: v for name, v in settings.items() if name not in self.fields}
        return kept | {name: v for name, v in showable.items() if v is not None}
