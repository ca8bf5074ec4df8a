import pickle
from pathlib import Path

import pytest

from studio.core.errors import DatabaseBusy, DatabaseDamaged, RecipeError, StudioError


@pytest.mark.parametrize(
    "error",
    [
        StudioError("It is gone.", "Look elsewhere."), DatabaseBusy(), DatabaseDamaged(Path("a.db"), None),
        RecipeError({"rank": "Too small."}),
    ],
)  # fmt: skip
def test_an_error_passes_from_process_to_process(error: StudioError) -> None:
    passed = pickle.loads(pickle.dumps(error))
    assert type(passed) is type(error) and str(passed) == str(error) and vars(passed) == vars(error)
