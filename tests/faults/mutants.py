"""The studio with one of its safeguards taken out, to see that the harness notices. Chosen by FAULTS_MUTANT."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from studio.core.run_state import Wish
from studio.jobs import supervisor
from studio.store import artifacts, checkpoints, runs
from studio.store.tables import Run
from workers import checkpoints as keeping
from workers import progress


def _no_fence() -> None:
    guarded = runs._guarded

    def unguarded(
        session: Session, run_id: int, old: Any, new: Any, reason: str = "", fence_is: Any = None, **c: Any
    ) -> Any:
        return guarded(session, run_id, old, new, reason, None, **c)

    def report(session: Session, claim: runs.Claim, **columns: Any) -> Wish | None:
        session.connection().execute(update(Run).where(Run.id == claim.run_id).values(**columns))
        return None

    runs._guarded, progress.report = unguarded, report  # type: ignore[assignment]


def _no_reconciler() -> None:
    supervisor.let_orphans_go_on = lambda db: None


def _no_rename() -> None:
    def publish(target: Path, fill: Callable[[Path], None]) -> artifacts.Published:
        target.mkdir(parents=True, exist_ok=True)
        fill(target)
        files = sorted(target.glob("part-*"))
        manifest = {p.name: artifacts.file_sha256(p) for p in files}
        (target / artifacts.MANIFEST).write_text(json.dumps(manifest))
        return artifacts.Published(1, artifacts.file_sha256(target / artifacts.MANIFEST))

    keeping.publish = artifacts.publish = publish


def _no_manifest_check() -> None:
    checkpoints.is_whole = lambda folder, sha256="": True


MUTANTS: dict[str, Callable[[], None]] = {
    "fence": _no_fence,
    "reconciler": _no_reconciler,
    "rename": _no_rename,
    "manifest": _no_manifest_check,
}


def apply() -> None:
    if name := os.environ.get("FAULTS_MUTANT"):
        MUTANTS[name]()
