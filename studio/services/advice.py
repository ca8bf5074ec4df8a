"""What is known of a run that is yet to be started, for `core.presets` to advise on."""

import shutil
import subprocess
from contextlib import suppress
from functools import cache
from typing import Any, Literal

import psutil

from studio.core.errors import StudioError
from studio.core.mapping import Mapping
from studio.core.presets import GIB, Facts, task_of
from studio.services import base_models, lengths, readings
from studio.services.context import Studio
from studio.store import datasets

TYPICAL_ROWS = 1000  # where there are no examples yet


def of_nothing(studio: Studio, base_id: str, rows: int = 0) -> Facts:
    """Before there are examples; `rows` if their number is known at least."""
    return _facts(studio, base_id, rows or TYPICAL_ROWS)


def of_upload(studio: Studio, base_id: str, rows: int, upload_id: str, mapping: Mapping | None = None) -> Facts:
    """`rows` that can be used, of an upload that is yet to become a data set."""
    try:
        shape = (mapping and mapping.shape) or readings.read(studio, upload_id)[0].mapping.shape
    except StudioError:
        shape = ""  # whoever shows the upload tells why it cannot be read
    return _facts(studio, base_id, rows, kind=task_of(shape))


def of_dataset(studio: Studio, base_id: str, rows: int, dataset_id: int, version: int | None = None) -> Facts:
    """The same of a data set that is kept; its tokens too where they have been counted. Raises NotFound."""
    counted = lengths.lengths(studio, dataset_id, base_id, version, start=False).lengths
    known = counted if counted and counted.rows else None
    return _facts(
        studio,
        base_id,
        rows,
        kind=task_of(datasets.get(studio.db, dataset_id).shape),
        tokens=known.total if known else None,
        longest=known.max if known else None,
    )


def _facts(studio: Studio, base_id: str, rows: int, **known: Any) -> Facts:
    device, memory_gib = _device()
    return Facts(rows, base_models.parameters(studio, base_id), memory_gib=memory_gib, device=device, **known)


@cache
def _device() -> tuple[Literal["cpu", "cuda"], float]:
    """What would train here, and its memory in GiB, without loading torch to ask it: a page must not wait for that."""
    if smi := shutil.which("nvidia-smi"):
        asked = [smi, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        with suppress(OSError, subprocess.SubprocessError, ValueError, IndexError):
            told = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout
            return "cuda", float(told.splitlines()[0]) / 1024
    return "cpu", psutil.virtual_memory().total / GIB
