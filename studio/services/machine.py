"""What this machine has, what is missing, and how to get it."""

import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

from studio.core.catalog import STARTER
from studio.core.errors import DatabaseDamaged, ModelError
from studio.services.context import Studio
from studio.store import base_models
from studio.store.db import journal_mode

FEWEST_FREE_GIB = 2.0
_PROBE_SECONDS = 180


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    words: str
    needed: bool = True  # False: the studio works without it


def report(studio: Studio) -> dict[str, Any]:
    """The machine as the training process sees it, and one check for each thing the studio stands on."""
    machine, problem = _probe()
    checks = [_python(), _disk(studio), _database(studio), _starter(studio), *_training(machine, problem)]
    return {
        "ok": all(check.ok for check in checks if check.needed),
        "home": str(studio.home.path),
        "machine": machine,
        "checks": [asdict(check) for check in checks],
    }


def _probe() -> tuple[dict[str, Any] | None, str]:
    """torch is asked in a process of its own: this one never imports it."""
    done = subprocess.run(
        [sys.executable, "-m", "workers.probe"], capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False
    )
    if done.returncode == 0:
        return json.loads(done.stdout), ""
    lines = done.stderr.strip().splitlines()
    return None, lines[-1] if lines else f"it ended with code {done.returncode}"


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("Python", sys.version_info >= (3, 11), f"{version} (3.11 or newer is needed)")


def _disk(studio: Studio) -> Check:
    free = shutil.disk_usage(studio.home.path).free / 2**30
    return Check(
        "Disk", free >= FEWEST_FREE_GIB, f"{free:.1f} GiB free in {studio.home.path} ({FEWEST_FREE_GIB:.0f} needed)"
    )


def _database(studio: Studio) -> Check:
    mode = "WAL" if journal_mode() == "wal" else "rollback journal, as WAL is not safe before 3.51.3"
    try:
        studio.db.check_whole()
    except DatabaseDamaged as error:
        return Check("Database", False, str(error))
    return Check("Database", True, f"whole; SQLite {sqlite3.sqlite_version} ({mode})")


def _starter(studio: Studio) -> Check:
    try:
        model = base_models.find(studio.home.models, STARTER)
        if model is None:
            return Check("Starter model", False, "not here yet. Get it with: python -m workers.starter")
        return Check("Starter model", True, f"{model.source}, fingerprint {base_models.fingerprint(model.path)[:12]}")
    except ModelError as error:
        return Check("Starter model", False, str(error))


def _training(machine: dict[str, Any] | None, problem: str) -> list[Check]:
    if machine is None:
        return [Check("Training", False, f"torch could not be asked: {problem}. Install again with: make install")]
    words = f"{machine['device_name']} ({machine['device']}), {machine['memory_gib']:.1f} GiB"
    device = Check("Device", True, f"{words}, computes in {machine['compute_dtype']}")
    bits = [
        Check(f"{bits}-bit base models", not reason, reason or "work here", needed=False)
        for bits, reason in machine["bits"].items()
    ]
    return [device, *bits]
