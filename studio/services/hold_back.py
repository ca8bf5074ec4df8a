"""Which examples of a run are held back to check: what the recipe wishes, held against the data sets that are there."""

from studio.core.errors import NotFound, RecipeError
from studio.core.recipe import Recipe
from studio.data.readers.table import Row, no_tick
from studio.data.split import held_back_groups, validation_count
from studio.data.turns import text_of
from studio.services.context import Studio
from studio.services.datasets import source_table
from studio.store import datasets
from studio.store.examples import Examples, Version

GROUP_CHARS = 200  # of a group's name


def settled(studio: Studio, recipe: Recipe, dataset_id: int) -> Recipe:
    """The recipe with another data set named by number and version, so that the run can be repeated.

    Raises RecipeError if the column or the data set is not there.
    """
    by = recipe.hold_back_by.strip()
    if recipe.hold_back == "random":
        return recipe
    if recipe.hold_back == "group":
        columns = datasets.get(studio.db, dataset_id).columns
        if by not in columns:
            known = f"The columns are {', '.join(f'“{c}”' for c in columns[:12])}."
            raise RecipeError({"hold_back_by": f"The data set has no column “{by[:40]}” to group by. {known}"})
        _note_groups(studio, dataset_id, by)
        return recipe.model_copy(update={"hold_back_by": by})
    number, _, version = by.partition("@")
    try:
        if int(number) == dataset_id:
            raise RecipeError({"hold_back_by": "A data set cannot check itself. Give the number of another one."})
        with datasets.opened(studio.home, int(number)) as book:
            kept = book.version(int(version) if version else None)
    except (ValueError, OverflowError, NotFound):
        raise RecipeError(
            {"hold_back_by": f"There is no data set “{by[:40]}” to check with. “Data” lists them with their numbers."}
        ) from None
    return recipe.model_copy(update={"hold_back_by": f"{int(number)}@{kept.number}"})


def count(studio: Studio, book: Examples, version: Version, recipe: Recipe) -> int:
    """How many examples a settled recipe holds back."""
    if recipe.hold_back == "dataset":
        number, _, other = recipe.hold_back_by.partition("@")
        with datasets.opened(studio.home, int(number)) as beside:
            return beside.version(int(other)).usable
    if recipe.hold_back == "random":
        return validation_count(version.usable, recipe.validation_fraction)
    groups = [group.get(recipe.hold_back_by, "") for group in book.groups(version.number)]
    return len(held_back_groups(groups, recipe.validation_fraction, recipe.seed))


def group_of(row: Row, column: str) -> str:
    return text_of(row.values.get(column))[:GROUP_CHARS]


def _note_groups(studio: Studio, dataset_id: int, column: str) -> None:
    """Look up the column in the file that the data set was made of, once."""
    with datasets.opened(studio.home, dataset_id) as book:
        if column in book.group_columns():
            return
        with source_table(studio, datasets.get(studio.db, dataset_id)) as table:
            found = {
                (row.file, row.number): group_of(row, column) for row in table.read(no_tick) if isinstance(row, Row)
            }
        book.keep_groups(column, lambda conversation: found.get((conversation.file, conversation.row), ""))
