"""A disk with no room left, for real: a tiny file system of our own, where one may be made."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may make a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_in_words_and_loses_nothing(
    small_disk: Path, faq: Path, pretend_starter: None, tmp_path: Path
) -> None:
    environment = os.environ | {"STUDIO_HOME": str(small_disk / "home"), "STUDIO_MODELS": str(tmp_path / "models")}

    def studio(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "studio", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert "No runs yet" in studio("runs").stdout
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    refused = studio("train", str(faq))
    assert refused.returncode == 1 and refused.stderr.startswith("studio: The disk is full.")
    assert "No runs yet" in studio("runs").stdout
    filler.unlink()
    assert studio("train", str(faq)).returncode == 0
    assert "queued" in studio("runs").stdout
