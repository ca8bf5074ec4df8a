"""What somebody has chosen on the first page and not started yet. It lives in their browser, so nothing in it is
trusted: `services` look at it again.

It has two halves, because reading a big file takes long: what is chosen meanwhile must not be undone by its answer.
"""

from hashlib import sha256
from json import dumps
from typing import Any, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.core.catalog import STARTER
from studio.core.mapping import Mapping


class Kept(BaseModel):
    """Something that a browser keeps between two answers."""

    model_config = ConfigDict(extra="ignore", validate_assignment=True)

    @classmethod
    def read(cls, stored: Any) -> Self:
        """What a browser kept; a fresh one if there is none or it makes no sense."""
        try:
            return cls.model_validate(stored or {})
        except ValidationError:
            return cls()


class ExamplesDraft(Kept):
    """What to learn from."""

    upload_id: str = Field("", max_length=64)
    mapping: Mapping | None = None  # None: as guessed
    dataset_id: int = Field(0, ge=0)  # a data set that is kept, instead of an upload
    dataset_version: int = Field(0, ge=0)
    rows: int = Field(0, ge=0)  # usable ones, for previews only


class ModelDraft(Kept):
    """What to make of it."""

    nonce: str = Field(default_factory=lambda: uuid4().hex, max_length=64)
    base_id: str = Field(STARTER, max_length=300)
    preset: str = Field("balanced", max_length=20)
    name: str = Field("", max_length=200)
    settings: dict[str, Any] = Field(default_factory=dict)  # only what differs from the preset


def request_key(examples: ExamplesDraft, model: ModelDraft) -> str:
    """The same request twice is one run; anything chosen differently, or a new draft, is another."""
    asked = examples.model_dump(exclude={"rows"}) | model.model_dump()
    return sha256(dumps(asked, sort_keys=True).encode()).hexdigest()
