"""What a run learns from and what is held back: its data set in the version it was started with."""

from studio.core.conversation import Conversation
from studio.core.errors import DataError
from studio.core.recipe import Recipe
from studio.data.split import split
from studio.store import datasets
from studio.store.home import Home
from studio.store.tables import Run

Parts = tuple[list[Conversation], list[Conversation]]


def parts(home: Home, run: Run, recipe: Recipe) -> Parts:
    """(to learn from, held back), as the recipe has it. Raises DataError, in words, if there is no such column."""
    conversations, groups = _read(home, run.dataset_id, run.dataset_version or 1)
    if recipe.hold_back == "dataset":
        dataset_id, _, version = recipe.hold_back_by.partition("@")
        return conversations, _read(home, int(dataset_id), int(version))[0]
    if recipe.hold_back == "random":
        return split(conversations, recipe.validation_fraction, recipe.seed)
    column = recipe.hold_back_by
    if not any(column in group for group in groups):
        raise DataError(f"The data set has no column “{column}” to group by.", "Choose another way to hold rows back.")
    return split(conversations, recipe.validation_fraction, recipe.seed, [g.get(column, "") for g in groups])


def _read(home: Home, dataset_id: int, version: int) -> tuple[list[Conversation], list[dict[str, str]]]:
    with datasets.opened(home, dataset_id) as book:
        return [e.conversation for e in book.read(version, learning_only=True)], book.groups(version)
