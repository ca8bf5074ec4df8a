"""What several commands share: opening the studio, naming data, sizes in words."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from studio.core.errors import StudioError
from studio.settings import Settings

Call = Callable[[argparse.Namespace], int | None]
Command = Callable[[str, Call, str], argparse.ArgumentParser]  # name, what to call, words: adds a command


def add_json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def settings_of(options: argparse.Namespace) -> Settings:
    given = {name: getattr(options, name, None) for name in ("home", "host", "port")}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        raise StudioError(
            f"The setting {name} cannot be used: {problem['msg'][0].lower()}{problem['msg'][1:]}.",
            f"Correct --{name} or STUDIO_{name.upper()}.",
        ) from None


def open_studio(options: argparse.Namespace) -> Any:
    from studio.services.context import Studio

    return Studio.open(settings_of(options))


def add_data(sub: argparse.ArgumentParser, needed: bool = True) -> None:
    sub.add_argument("data", nargs="+" if needed else "*", help="files with examples, or hub:owner/name")
    sub.add_argument("--sheet", default="", help="sheet of a workbook (the first with rows)")
    sub.add_argument("--question", default="", help="column with the question (guessed)")
    sub.add_argument("--answer", default="", help="column with the answer (guessed)")


def take_data(studio: Any, options: argparse.Namespace) -> tuple[str, Any]:
    """(upload id, mapping) of what `_add_data` has asked for."""
    from studio.core.mapping import Mapping, Reading
    from studio.services import uploads

    asked = Mapping(
        shape="columns" if options.question or options.answer else "",
        question=options.question,
        answer=options.answer,
        reading=Reading(sheet=options.sheet),
    )
    if len(options.data) == 1 and options.data[0].startswith("hub:"):
        return uploads.keep_from_hub(studio, options.data[0].removeprefix("hub:")), asked
    for name in options.data:
        if not Path(name).is_file():
            raise StudioError(f"There is no file {name}.", "Check the name and the folder.")
    return uploads.keep(studio, [(Path(name), Path(name).name) for name in options.data]), asked


def size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MB"
