"""Storage, backup and restore at a command line, without training."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("pretend_starter")


def test_a_home_goes_into_a_file_and_comes_out_in_another_place(faq: Path, tmp_path: Path) -> None:
    def studio(home: str, *arguments: str, says: str = "", answer: str = "") -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"STUDIO_HOME": str(tmp_path / home), "STUDIO_MODELS": str(tmp_path / "models")}
        command = [sys.executable, "-m", "studio", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, input=answer)
        assert "Traceback" not in done.stderr and says in done.stdout + done.stderr, done
        return done

    studio("home", "train", str(faq), "--name", "Shelves")
    out = str(tmp_path / "b.zip")
    written = json.loads(studio("home", "backup", out, "--json").stdout)
    assert written["runs"] == written["datasets"] == 1 and written["size_bytes"] == Path(out).stat().st_size
    studio("second", "restore", out, says="Restored: 1 runs and 1 data sets")
    studio("second", "runs", says="Shelves")
    assert studio("second", "restore", out, says="is not empty").returncode == 1
    studio("second", "restore", out, "--replace", says="What was there before is in")
    groups = json.loads(studio("second", "storage", "--json").stdout)["groups"]
    assert [thing["name"] for thing in groups[0]["things"]] == ["Shelves (run 1)"]
    studio("second", "delete", "run", "1", "--yes", says="It waits to be trained. Stop it first.")
    studio("second", "stop", "1", "--discard")
    assert studio("second", "delete", "run", "1", says="Nothing was deleted.", answer="n\n").returncode == 1
    studio("second", "delete", "run", "1", says="Deleted: Shelves (run 1)", answer="y\n")
