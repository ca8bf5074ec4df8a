from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from studio.services import advice
from studio.services.context import Studio


@pytest.fixture(autouse=True)
def looked_at_anew() -> Iterator[None]:
    advice._device.cache_clear()
    yield
    advice._device.cache_clear()


@pytest.mark.parametrize(("says", "device"), [("echo 24576", "cuda"), ("exit 9", "cpu"), ("echo broken", "cpu")])
def test_a_graphics_card_counts_where_its_driver_answers(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, device: str
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    facts = advice.of_nothing(studio, "starter")
    assert facts.device == device
    assert facts.memory_gib == (24 if device == "cuda" else psutil.virtual_memory().total / 2**30)
    assert facts.rows == advice.TYPICAL_ROWS
