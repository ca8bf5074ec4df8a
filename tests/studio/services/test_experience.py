"""A real probe: the training worker itself, on a tiny model."""

import json
from pathlib import Path

import pytest

from studio.core.errors import StudioError
from studio.core.recipe import Recipe
from studio.diagnostics.forecast import Machine
from studio.services import experience
from studio.services.context import Studio
from studio.settings import Settings

MACHINE = Machine("cpu", "A processor", 16.0, 16.0, "bfloat16", {"4": "", "8": "", "16": ""}, 0.5)


@pytest.fixture
def studio(tmp_path: Path, chat_models: Path) -> Studio:
    return Studio.open(Settings(home=tmp_path / "home", models=chat_models))


def test_a_probe_trains_a_few_steps_and_leaves_nothing_but_its_figures(studio: Studio) -> None:
    recipe = Recipe(bits=16, rank=4, batch_size=2, max_length=128)
    experience.probe(studio, "tiny", recipe, 100, MACHINE)
    (kept,) = json.loads(studio.home.probes.read_text())
    assert (kept["base_id"], kept["bits"], kept["device"]) == ("tiny", 16, "A processor")
    assert kept["tokens"] == 2 * 100
    assert kept["seconds_per_step"] > 0 and kept["around"] > 0
    assert list(studio.home.runs.iterdir()) == []


def test_a_probe_that_fails_says_why(studio: Studio) -> None:
    with pytest.raises(StudioError, match="The trial did not work: This base model has no"):
        experience.probe(studio, "tiny", Recipe(bits=16, target_modules=["no_such_layer"]), 100, MACHINE)
    assert not studio.home.probes.exists()
