"""The whole way at a command line: check, train, look, chat, export, load elsewhere, repeat. With the real starter."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.conftest import QUESTION, TAUGHT

pytestmark = pytest.mark.slow


class Shell:
    def __init__(self, home: Path, models: Path) -> None:
        self.home = home
        self.environment = os.environ | {"STUDIO_HOME": str(home), "STUDIO_MODELS": str(models)}

    def __call__(self, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "studio", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def json(self, *arguments: str, ok: bool = True) -> dict[str, Any]:
        shown = json.loads(self(*arguments, "--json", ok=ok).stdout)
        assert isinstance(shown, dict)
        return shown


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, starter_models: Path) -> Shell:
    return Shell(tmp_path_factory.mktemp("home"), starter_models)


@pytest.fixture(scope="module")
def run(shell: Shell, taught: Path) -> dict[str, Any]:
    brief = ["--preset", "quick", "--set", "max_steps=35"]
    return shell.json("train", str(taught), *brief, "--name", "Brumble helper", "--wait")


def test_a_run_leaves_an_adapter_and_its_figures(shell: Shell, run: dict[str, Any]) -> None:
    assert run["status"] == "succeeded"
    assert shell.json("show", str(run["id"])) == run
    losses = run["metrics"]["validation_loss"]
    assert losses["last"] < 0.5 * losses["base"]
    assert run["metrics"]["train_loss"]["last"] < run["metrics"]["train_loss"]["first"]
    assert run["metrics"]["steps"] > 0 and run["metrics"]["tokens_per_second"] > 0
    assert 0.2 < run["metrics"]["peak_memory_gib"] < 16
    assert set(run["metrics"]["seconds"]) == {"loading", "checking", "training", "saving"}
    assert run["data"]["rows"] == 60 and run["data"]["train_rows"] + run["data"]["validation_rows"] == 60
    assert len(run["base"]["fingerprint"]) == 64
    assert Path(run["adapter"]["path"]).is_dir()
    assert run["error"] is None
    assert [r["status"] for r in shell.json("runs")["runs"]] == ["succeeded"]


def test_the_taught_answer_is_given_and_the_base_does_not_know_it(shell: Shell, run: dict[str, Any]) -> None:
    asked = ["chat", str(run["id"]), "--prompt", QUESTION, "--temperature", "0", "--max-tokens", "40"]
    assert shell(*asked).stdout.strip() == TAUGHT
    assert "Odo" not in shell(*asked, "--base").stdout


def test_the_zip_holds_nothing_of_this_computer(shell: Shell, run: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "adapter.zip"
    shell("export", str(run["id"]), "--format", "adapter", "--out", str(out))
    with zipfile.ZipFile(out) as file:
        names = set(file.namelist())
        file.extractall(tmp_path / "out")
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md", "recipe.yaml", "try_it.py"} <= names
    for path in (tmp_path / "out").rglob("*"):
        assert str(shell.home).encode() not in path.read_bytes()
        assert path.suffix not in {".bin", ".pt", ".pkl"}


def test_an_exported_recipe_repeats_the_run(shell: Shell, run: dict[str, Any], taught: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter.zip"
    shell("export", str(run["id"]), "--out", str(out))
    with zipfile.ZipFile(out) as file:
        file.extract("recipe.yaml", tmp_path)
    again = shell.json("train", str(taught), "--recipe", str(tmp_path / "recipe.yaml"))
    assert again["recipe"] == run["recipe"] and again["data"] == run["data"]
    shell("stop", str(again["id"]), "--discard")


def test_what_is_wrong_is_one_sentence_and_a_failed_exit(shell: Shell, taught: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    for arguments, sentence in (
        (("train", str(empty)), "is empty"),
        (("train", str(tmp_path / "none.csv")), "There is no file"),
        (("train", str(taught), "--set", "rank=10000000"), "must be a whole number from 1 to 256"),
        (("train", str(taught), "--set", "ranc=4"), "Did you mean “rank”"),
        (("train", str(taught), "--model", "/nowhere"), "There is no base model"),
        (("train", str(taught), "--model", str(tmp_path)), "not a model"),
        (("train", str(taught), "--answer", "price"), "There is no column “price”"),
        (("show", "99"), "There is no run 99"),
        (("chat", "99", "--prompt", "Hi"), "There is no run 99"),
        (("export", "99", "--out", str(tmp_path / "x.zip")), "There is no run 99"),
        (("up", "--host", "0.0.0.0"), "no login is set"),
        (("up", "--port", "70000"), "The setting port cannot be used"),
        (("runs", "--home", str(taught / "below a file")), "cannot keep its files"),
    ):
        done = shell(*arguments, ok=False)
        assert sentence in done.stderr and not done.stdout, (arguments, done)
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_run_that_fails_says_why_and_exits_badly(shell: Shell, taught: Path) -> None:
    done = shell(
        "train",
        str(taught),
        "--set",
        "target_modules=nonsense_proj",
        "--set",
        "max_steps=1",
        "--wait",
        "--json",
        ok=False,
    )
    shown = json.loads(done.stdout)
    assert shown["status"] == "failed" and "nonsense_proj" in shown["error"]["message"]
    assert shown["error"]["message"] in done.stderr


def test_the_doctor_finds_the_machine_fit(shell: Shell) -> None:
    found = shell.json("doctor")
    assert found["ok"] and {"4", "8", "16"} == set(found["machine"]["bits"])


def test_a_document_teaches_its_style_from_its_first_page_on(shell: Shell, tmp_path: Path) -> None:
    chapters = (
        "\n\n".join(
            f"The clock of Brumble struck {n} and {place} answered it. " * 12 for place in ("the sea", "a goat")
        )
        for n in range(1, 21)
    )
    book = tmp_path / "book.txt"
    book.write_text("\n\n".join(chapters), encoding="utf-8")
    brief = ["--preset", "quick", "--set", "max_steps=6", "--set", "batch_size=2", "--set", "max_length=256"]
    run = shell.json("train", str(book), *brief, "--wait")
    assert run["status"] == "succeeded"
    losses = run["metrics"]["validation_loss"]
    assert losses["last"] < 0.9 * losses["base"]
    assert run["metrics"]["skipped"]["cut"]["count"] == 0
    # nearly all that was read was learned: only the first token of a row is not
    assert run["metrics"]["learned_tokens"] > 0.95 * run["metrics"]["tokens"]
    asked = shell("chat", str(run["id"]), "--prompt", "Hello", "--max-tokens", "8").stdout
    assert asked.strip()
