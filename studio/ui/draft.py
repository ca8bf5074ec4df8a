"""What somebody has chosen on the first page and not started yet. It lives in their browser, so nothing in it is
trusted: `services` look at it again."""

from hashlib import sha256
from json import dumps
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from studio.core.catalog import STARTER
from studio.core.mapping import Mapping


class Draft(BaseModel):
    model_config = ConfigDict(extra="ignore", validate_assignment=True)

    nonce: str = Field(default_factory=lambda: uuid4().hex, max_length=64)
    upload_id: str = Field("", max_length=64)
    mapping: Mapping | None = None  # None: as guessed
    dataset_id: int = Field(0, ge=0)  # a data set that is kept, instead of an upload
    dataset_version: int = Field(0, ge=0)
    rows: int = Field(0, ge=0)  # usable ones, for the preview line only
    base_id: str = Field(STARTER, max_length=300)
    preset: str = Field("balanced", max_length=20)
    name: str = Field("", max_length=200)
    settings: dict[str, Any] = Field(default_factory=dict)  # only what differs from the preset

    @classmethod
    def read(cls, stored: Any) -> "Draft":
        """The draft a browser kept; a fresh one if there is none or it makes no sense."""
        try:
            return cls.model_validate(stored or {})
        except ValidationError:
            return cls()

    @property
    def request_key(self) -> str:
        """The same request twice is one run; anything chosen differently, or a new draft, is another."""
        return sha256(dumps(self.model_dump(exclude={"rows"}), sort_keys=True).encode()).hexdigest()
