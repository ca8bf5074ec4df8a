"""What takes room, what may be deleted, and that a deletion is whole however it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.errors import NotFound, StudioError
from studio.core.run_state import RunStatus
from studio.services import datasets, runs, storage
from studio.services.context import Studio
from studio.services.storage import Kind, Thing
from studio.store import runs as rows
from studio.store.deletions import Deletion
from studio.store.locks import exclusive
from studio.store.tables import Checkpoint, Metric

pytestmark = pytest.mark.usefixtures("pretend_starter")


def ended_run(studio: Studio, faq: Path, name: str = "Shelves", status: RunStatus = RunStatus.FAILED) -> int:
    """A run that has left a log, a checkpoint and a figure."""
    upload = datasets.keep_upload(studio, faq, "faq.csv")
    run = runs.start(studio, upload, None, "starter", {}, name=name)
    claim = rows.claim(studio.db, run.id)
    assert claim
    folder = studio.home.checkpoint(run.id, 5, claim.fence)
    folder.mkdir(parents=True)
    (folder / "state").write_bytes(bytes(1000))
    studio.home.log(run.id).write_bytes(bytes(10))
    path = str(folder.relative_to(studio.home.path))
    with studio.db.writing() as session:
        session.add(Checkpoint(run_id=run.id, step=5, fence=claim.fence, path=path, size_bytes=1000, sha256="x"))
        session.add(Metric(run_id=run.id, step=1, train_loss=1.0))
    assert rows.move(studio.db, run.id, status)
    return run.id


def things(studio: Studio, kind: Kind) -> dict[str, Thing]:
    group = next(group for group in storage.report(studio).groups if group.kind == kind)
    return {thing.id: thing for thing in group.things}


def test_everything_is_counted_once(studio: Studio, faq: Path) -> None:
    run_id = ended_run(studio, faq)
    report = storage.report(studio)
    run = things(studio, Kind.RUN)[str(run_id)]
    assert run.parts == {"checkpoints": 1000, "log": 10} and run.size_bytes == 1010
    assert things(studio, Kind.MODEL)["starter"].size_bytes == 12
    (upload,) = things(studio, Kind.UPLOAD).values()
    assert upload.name == "faq.csv" and upload.size_bytes > faq.stat().st_size  # and what was understood of it
    assert report.size_bytes == sum(group.size_bytes for group in report.groups) > studio.home.database.stat().st_size
    assert report.free_bytes > 0


def test_a_deleted_run_leaves_nothing_and_its_number_is_not_given_again(studio: Studio, faq: Path) -> None:
    run_id = ended_run(studio, faq)
    storage.delete(studio, Kind.RUN, str(run_id))
    with pytest.raises(NotFound):
        rows.get(studio.db, run_id)
    assert not studio.home.run(run_id).exists() and not list(studio.home.deleted.iterdir())
    with studio.db.reading() as session:
        assert session.query(Deletion).count() == session.query(Metric).count() == 0
    assert ended_run(studio, faq) == run_id + 1


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.PAUSED])
def test_a_run_that_has_not_ended_is_not_deleted(studio: Studio, faq: Path, status: RunStatus) -> None:
    run = runs.start(studio, datasets.keep_upload(studio, faq, "faq.csv"), None, "starter", {})
    if status != RunStatus.QUEUED:
        assert rows.claim(studio.db, run.id)
    if status == RunStatus.PAUSED:
        assert rows.move(studio.db, run.id, status)
    for kind in (Kind.RUN, Kind.CHECKPOINTS):
        with pytest.raises(StudioError, match=f"Run {run.id}, “Faq”, cannot be deleted") as refused:
            storage.delete(studio, kind, str(run.id))
        assert "Stop it first" in refused.value.hint
    assert "Stop it first" in things(studio, Kind.RUN)[str(run.id)].in_use
    with pytest.raises(StudioError, match="needs it to be trained"):
        storage.delete(studio, Kind.MODEL, "starter", even_if_used=True)


def test_what_something_came_from_stays_as_long_as_that(studio: Studio, faq: Path) -> None:
    parent, child = ended_run(studio, faq), ended_run(studio, faq, "Second")
    with studio.db.writing() as session:
        session.get_one(rows.Run, child).parent_id = parent
    with pytest.raises(StudioError, match=f"Run {child}, “Second”, started from it"):
        storage.delete(studio, Kind.RUN, str(parent))
    (dataset,) = things(studio, Kind.DATASET)
    with pytest.raises(StudioError, match=f"Run {parent}, “Shelves”, and 1 other run learned from it"):
        storage.delete(studio, Kind.DATASET, dataset)
    for run in (child, parent):
        storage.delete(studio, Kind.RUN, str(run))
    storage.delete(studio, Kind.DATASET, dataset)
    assert not list(studio.home.datasets.iterdir())
    ended_run(studio, faq)
    assert list(things(studio, Kind.DATASET)) == [str(int(dataset) + 1)]


def test_checkpoints_go_and_the_run_stays(studio: Studio, faq: Path) -> None:
    run_id = ended_run(studio, faq)
    storage.delete(studio, Kind.CHECKPOINTS, str(run_id))
    assert things(studio, Kind.RUN)[str(run_id)].parts == {"log": 10}
    with studio.db.reading() as session:
        assert session.query(Checkpoint).count() == 0


def test_a_base_model_is_deleted_only_when_asked_for_all_the_same(studio: Studio, faq: Path) -> None:
    ended_run(studio, faq)
    with pytest.raises(StudioError, match="was trained on it"):
        storage.delete(studio, Kind.MODEL, "starter")
    with exclusive(studio.home.models / "starter.lock"), pytest.raises(StudioError, match="being fetched just now"):
        storage.delete(studio, Kind.MODEL, "starter", even_if_used=True)
    storage.delete(studio, Kind.MODEL, "starter", even_if_used=True)
    assert not (studio.home.models / "starter").exists()


def test_uploads_and_backups_are_deleted_by_the_names_that_are_listed(studio: Studio, faq: Path) -> None:
    upload = datasets.keep_upload(studio, faq, "faq.csv")
    studio.home.backups.mkdir()
    (studio.home.backups / "studio-0001-to-0002.db").write_bytes(b"x")
    for kind in (Kind.UPLOAD, Kind.BACKUP, Kind.MODEL):
        for name in ("..", ".", "../studio.db", str(studio.home.database), "", "nothing"):
            with pytest.raises(NotFound):
                storage.delete(studio, kind, name)
    storage.delete(studio, Kind.UPLOAD, upload)
    storage.delete(studio, Kind.BACKUP, "studio-0001-to-0002.db")
    assert not list(studio.home.uploads.iterdir()) and not list(studio.home.backups.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from studio.services import storage
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import deletions

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(*{"before the files": (deletions, "remove", die), "in the files": (deletions, "_away", die)}[sys.argv[1]])
storage.delete(Studio.open(Settings(home=Path(sys.argv[2]))), storage.Kind.RUN, sys.argv[3])
"""


@pytest.mark.parametrize("moment", ["before the files", "in the files"])
def test_a_deletion_killed_in_the_middle_is_finished_at_the_next_start(studio: Studio, faq: Path, moment: str) -> None:
    run_id, other = ended_run(studio, faq), ended_run(studio, faq)
    command = [sys.executable, "-c", KILLED, moment, str(studio.home.path), str(run_id)]
    assert subprocess.run(command).returncode == -9
    left = [*studio.home.runs.iterdir(), *(studio.home.deleted.iterdir() if studio.home.deleted.is_dir() else [])]
    assert len(left) == 2
    storage.sweep(studio)
    assert list(studio.home.runs.iterdir()) == [studio.home.run(other)]
    assert not list(studio.home.deleted.iterdir())
