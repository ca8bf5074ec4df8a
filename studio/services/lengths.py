"""How long examples are in real tokens, and how the base model sees them. Both are found out by `workers.lengths`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import DataError, ModelError
from studio.core.finding import Finding
from studio.core.recipe import Recipe
from studio.diagnostics.lengths import Lengths, distribution, finding
from studio.services.context import Studio
from studio.store import base_models, datasets
from studio.store.examples import Example, Examples, Version

USUAL = Recipe().max_length
QUICK_ROWS = 5000
_KNOWN_MOST = 20
_ROWS_NAMED = 100


@dataclass(frozen=True)
class Counted:
    """`lengths` are there when `state` is ready. `absent`: the model is not on this computer."""

    state: Literal["ready", "counting", "failed", "absent"]
    lengths: Lengths | None = None
    done: int = 0
    total: int = 0


def lengths(studio: Studio, dataset_id: int, base_id: str, version: int | None = None, start: bool = True) -> Counted:
    """The token counts of a version, the newest unless given; begun if `start`, and there with a later call."""
    dataset = datasets.get(studio.db, dataset_id)
    folder = model_folder(studio, base_id)
    if folder is None:
        return Counted("absent")
    model = base_models.tokenizer_fingerprint(folder)
    with datasets.opened(studio.home, dataset_id) as book:
        wanted = book.version(version)
        if book.uncounted(wanted.equals, model) == 0:
            return Counted("ready", _distribution(book, wanted, model, goes_on=dataset.shape == "text"))
        done, total, _ = book.told(f"tokens {model}")
    errand = f"tokens {dataset_id} {wanted.equals} {model}"
    if studio.errands.state(errand) == "failed":
        return Counted("failed")
    if start:
        path = str(studio.home.versions(dataset_id))
        studio.errands.send(errand, "workers.lengths", path, "--model", str(folder), "--version", str(wanted.equals))
    running = studio.errands.state(errand) == "running"
    return Counted("counting", done=done if running else 0, total=total if running else wanted.rows)


def too_long(studio: Studio, dataset_id: int, base_id: str) -> Finding | None:
    """What the usual length would cut off, if tokens have been counted; counting is begun where it is quick."""
    with datasets.opened(studio.home, dataset_id) as book:
        quick = book.version().rows <= QUICK_ROWS
    counted = lengths(studio, dataset_id, base_id, start=quick).lengths
    if counted is None or not counted.rows:
        return None
    rows = [example.conversation.row for example in longer(studio, dataset_id, base_id, USUAL, 0, _ROWS_NAMED)[0]]
    return finding(counted, USUAL, rows)


def longer(
    studio: Studio, dataset_id: int, base_id: str, tokens: int, number: int, size: int
) -> tuple[list[Example], int]:
    """(page `number` of the examples longer than `tokens`, how many there are); none before they are counted."""
    folder = model_folder(studio, base_id)
    if folder is None:
        return [], 0
    with datasets.opened(studio.home, dataset_id) as book:
        shown, model = book.version().equals, base_models.tokenizer_fingerprint(folder)
        return book.longer_than(shown, model, tokens, number, size), book.count_longer(shown, model, tokens)


def seen(
    studio: Studio, dataset_id: int, base_id: str, position: int, version: int | None = None
) -> list[dict[str, Any]]:
    """One example as the base model reads it: texts of [piece, learned] tokens, see `workers.lengths.show`.

    Raises ModelError if the model is not here, StudioError if the example cannot be shown.
    """
    folder = model_folder(studio, base_id)
    if folder is None:
        raise ModelError(
            "This base model is not on the computer yet, so its tokens are not known.",
            "It is fetched when the first run with it starts. Choose one that is ready meanwhile.",
        )
    with datasets.opened(studio.home, dataset_id) as book:
        shown = book.version(version).equals
        if not book.at(shown, [position]):
            raise DataError("This version has no such row.", "Load the page again.")
    asked = {
        "examples": str(studio.home.versions(dataset_id)),
        "version": shown,
        "position": position,
        "model": str(folder),
    }
    texts: list[dict[str, Any]] = studio.errands.ask(asked)["texts"]
    return texts


def require_something_to_learn(studio: Studio, dataset_id: int, version: int, base_id: str, max_length: int) -> None:
    """Raises DataError if it is known that every example is cut before its answer begins."""
    counted = lengths(studio, dataset_id, base_id, version, start=False).lengths
    if counted and counted.rows and counted.first >= max_length:
        raise DataError(
            f"No example is left to learn from: at {max_length} tokens each is cut before its answer begins.",
            "Raise “Longest example” under More settings, or shorten the questions.",
        )


def model_folder(studio: Studio, base_id: str) -> Path | None:
    """Where the base model lies, if it is on this computer and can be used."""
    try:
        found = base_models.find(studio.home.models, base_id)
    except ModelError:
        return None
    return found.path if found and (found.path / "tokenizer.json").is_file() else None


_known: dict[tuple[str, str], Lengths] = {}  # a version never changes, so what was found out about it stays true


def _distribution(book: Examples, version: Version, model: str, goes_on: bool) -> Lengths:
    key = (version.sha256, model)
    if key not in _known:
        while len(_known) >= _KNOWN_MOST:
            _known.pop(next(iter(_known)))
        _known[key] = distribution(book.lengths(version.equals, model), [USUAL], goes_on)
    return _known[key]
