"""What a person reads when something cannot be done: what, where, and what to do next."""

from errno import ENOSPC
from pathlib import Path
from typing import Any


class StudioError(Exception):
    """Anything the studio refuses or could not finish. `message` says what and where, `hint` what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by what it says, not by what its constructor takes, so that it passes from process to process."""
        return self.__class__.__new__, (self.__class__, *self.args), self.__dict__


class DataError(StudioError):
    """A file or a row that cannot be used."""


class RecipeError(StudioError):
    """One or more settings that cannot be used; `fields` maps each setting's name to its sentence."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(" ".join(fields.values()))
        self.fields = fields


class ModelError(StudioError):
    """A base model or an adapter that cannot be used."""


class NotFound(StudioError):
    """A run, data set or adapter that does not exist."""


class DiskFull(StudioError):
    """No room left where the studio keeps its files."""

    def __init__(self) -> None:
        super().__init__("The disk is full.", "Free some space where the studio keeps its files, then try again.")


class DatabaseBusy(StudioError):
    """Another program kept the database to itself for too long. The same again may work."""

    def __init__(self) -> None:
        super().__init__(
            "The studio's database is busy: another program keeps it locked.", "Nothing was changed. Try again."
        )


class DatabaseDamaged(StudioError):
    """The database's file is not one any more."""

    def __init__(self, path: Path, backup: Path | None) -> None:
        there = f"Stop the studio, then put the newest copy in its place: {backup}." if backup else ""
        super().__init__(
            f"The database {path} is damaged.",
            there or "Put one back from a backup with `studio restore FILE.zip --replace`, or move the file away.",
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether the operating system or SQLite said so."""
    return (isinstance(error, OSError) and error.errno == ENOSPC) or "disk is full" in str(error)
