"""A backup and back: everything comes back as it was, and nothing comes in that is not a backup."""

import json
import sqlite3
import stat
import warnings
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from studio.core.errors import StudioError
from studio.core.run_state import RunStatus
from studio.services import backup, datasets, runs
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import exchange
from studio.store import runs as rows
from studio.store.artifacts import publish
from studio.store.home import Home
from studio.store.locks import exclusive
from studio.store.tables import Checkpoint

pytestmark = pytest.mark.usefixtures("pretend_starter")
Files = dict[str, bytes]


def quiet(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def full(studio: Studio, faq: Path) -> Studio:
    """A run with an adapter and a log, and one that has not ended, with a checkpoint."""
    upload = datasets.keep_upload(studio, faq, "faq.csv")
    for number in (1, 2):
        run = runs.start(studio, upload, None, "starter", {}, name=f"Run {number}")
        claim = rows.claim(studio.db, run.id)
        assert claim
        if number == 1:
            folder = studio.home.adapter(run.id, claim.fence)
            publish(folder, lambda f: (f / "adapter_model.safetensors").write_bytes(bytes(5000)) and None)
            studio.home.log(run.id).write_text("all well")
            adapter = {
                "path": str(folder.relative_to(studio.home.path)), "sha256": "s", "size_bytes": 5000,
                "base_id": "starter", "base_fingerprint": "f",
            }  # fmt: skip
            assert rows.finish(studio.db, claim, RunStatus.SUCCEEDED, {}, adapter)
            continue
        folder = studio.home.checkpoint(run.id, 7, claim.fence)
        published = publish(folder, lambda f: (f / "state.safetensors").write_bytes(bytes(300)) and None)
        path = str(folder.relative_to(studio.home.path))
        with studio.db.writing() as session:
            session.add(
                Checkpoint(run_id=run.id, step=7, fence=claim.fence, path=path, size_bytes=300, sha256=published.sha256)
            )
    return studio


@pytest.fixture
def zipped(full: Studio, tmp_path: Path) -> Path:
    out = tmp_path / "out.zip"
    backup.write(full, out, True, quiet)
    return out


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    return Home.at(Settings(home=tmp_path / "other", models=tmp_path / "models"))


def contents(home: Home) -> Files:
    folders = (home.datasets, home.runs)
    return {str(p.relative_to(home.path)): p.read_bytes() for f in folders for p in f.rglob("*") if p.is_file()}


def everything(home: Home) -> Files:
    files = (p for p in home.path.rglob("*") if p.is_file() and p.suffix != ".lock")
    return {str(p.relative_to(home.path)): p.read_bytes() for p in files}


def test_everything_comes_back_while_the_studio_has_it_open(full: Studio, empty: Home, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    written = backup.write(full, tmp_path / "b.zip", True, lambda done, total: told.append((done, total)))
    assert (written.runs, written.datasets, written.missing) == (2, 1, [])
    assert written.base_models == [{"id": "starter", "fingerprint": None}]
    assert told[-1][0] == told[-1][1]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    restored = backup.restore(empty, tmp_path / "b.zip", False, quiet)
    assert (restored.runs, restored.datasets, restored.aside) == (2, 1, "")
    assert contents(empty) == contents(full.home)
    back = Studio.open(Settings(home=empty.path, models=empty.models))
    assert [run.name for run in runs.every(back)] == ["Run 2", "Run 1"]
    assert rows.adapter_of(back.db, 1) is not None
    with ZipFile(tmp_path / "b.zip") as archive:
        assert not [name for name in archive.namelist() if "queue" in name or "secret" in name or "models" in name]


def test_without_checkpoints_none_is_held_and_none_is_pointed_to(full: Studio, empty: Home, tmp_path: Path) -> None:
    backup.write(full, tmp_path / "b.zip", False, quiet)
    backup.restore(empty, tmp_path / "b.zip", False, quiet)
    assert not [name for name in contents(empty) if "checkpoints" in name]
    with Studio.open(Settings(home=empty.path)).db.reading() as session:
        assert session.query(Checkpoint).count() == 0


def test_what_is_gone_from_the_disk_is_told(full: Studio, empty: Home, tmp_path: Path) -> None:
    folder = full.home.run(1) / "adapter-1"
    folder.rename(tmp_path / "gone")
    written = backup.write(full, tmp_path / "b.zip", True, quiet)
    assert written.missing == ["runs/1/adapter-1"]
    assert backup.restore(empty, tmp_path / "b.zip", False, quiet).runs == 2


def test_a_backup_that_cannot_be_written_leaves_the_old_one(full: Studio, tmp_path: Path) -> None:
    with pytest.raises(StudioError, match="could not be written"):
        backup.write(full, tmp_path / "no such folder" / "b.zip", True, quiet)


def test_a_home_that_holds_something_is_moved_aside_only_when_asked(full: Studio, zipped: Path, tmp_path: Path) -> None:
    full.db.close()
    before = contents(full.home)
    with pytest.raises(StudioError, match="is not empty") as refused:
        backup.restore(full.home, zipped, False, quiet)
    assert "--replace" in refused.value.hint
    (full.home.run(1) / "log.txt").write_text("written since")
    aside = Path(backup.restore(full.home, zipped, True, quiet).aside)
    assert contents(full.home) == before
    assert (aside / "runs" / "1" / "log.txt").read_text() == "written since"
    assert (aside / "studio.db").is_file() and aside.parent == full.home.backups


def test_nothing_is_restored_below_a_running_studio(full: Studio, zipped: Path) -> None:
    with pytest.raises(StudioError, match="A studio is running on"):  # one that has the database open
        backup.restore(full.home, zipped, True, quiet)
    full.db.close()
    with exclusive(full.home.lock("studio")), pytest.raises(StudioError, match=r"is running on .*process \d+, since"):
        backup.restore(full.home, zipped, True, quiet)


def test_a_restore_killed_at_its_end_is_finished_at_the_next_start(
    full: Studio, zipped: Path, empty: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, moves = Path.rename, 0

    def rename(path: Path, target: Path) -> Path:
        nonlocal moves
        moves += path.parent.name == "restoring.partial"
        if moves == 2:
            raise KeyboardInterrupt
        return really(path, target)

    with monkeypatch.context() as killed:
        killed.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            backup.restore(empty, zipped, False, quiet)
    assert exchange.is_planned(empty.path)
    back = Studio.open(Settings(home=empty.path, models=empty.models))
    assert len(runs.every(back)) == 2 and contents(empty) == contents(full.home)


def repack(source: Path, target: Path, change: Callable[[Files, dict[str, Any]], None]) -> Path:
    """The backup with other files in it; the manifest follows unless `change` sets it itself."""
    with ZipFile(source) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != "manifest.json"}
        manifest = json.loads(archive.read("manifest.json"))
    change(files, manifest)
    if "keep" not in manifest:
        manifest["files"] = {n: {"size": len(b), "sha256": sha256(b).hexdigest()} for n, b in files.items()}
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("manifest.json", json.dumps(manifest))
    return target


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "runs/../../evil", "runs/1/../../evil.txt", "C:\\evil", "queue.db", "queue.secret",
     "models/starter/config.json", "datasets/1/.hidden", "runs/x/log.txt", "runs/1/adapter-1/../../../e", "web.py",
     "datasets/1/", "runs/1/log.txt/x", "datasets/1/a\nb"],
)  # fmt: skip
def test_a_name_that_does_not_belong_is_refused(zipped: Path, empty: Home, tmp_path: Path, name: str) -> None:
    evil = repack(zipped, tmp_path / "evil.zip", lambda files, _: files.update({name: b"x"}))
    refuse(empty, evil, "does not belong")


def refuse(home: Home, file: Path, why: str) -> None:
    before = everything(home)
    with pytest.raises(StudioError, match=why):
        backup.restore(home, file, False, quiet)
    assert everything(home) == before
    assert not (home.path / "restoring.partial").exists()


def test_a_changed_file_is_refused(zipped: Path, empty: Home, tmp_path: Path) -> None:
    def change(files: Files, manifest: dict[str, Any]) -> None:
        files["runs/1/log.txt"] = b"All well"
        manifest["keep"] = True

    refuse(empty, repack(zipped, tmp_path / "evil.zip", change), "log.txt” is not what was backed up")


def test_a_missing_an_extra_and_a_longer_file_are_refused(zipped: Path, empty: Home, tmp_path: Path) -> None:
    def kept(change: Callable[[Files], object]) -> Callable[[Files, dict[str, Any]], None]:
        def both(files: Files, manifest: dict[str, Any]) -> None:
            manifest["keep"] = True
            change(files)

        return both

    evil = tmp_path / "evil.zip"
    refuse(empty, repack(zipped, evil, kept(lambda files: files.pop("runs/1/log.txt"))), "log.txt” is missing")
    refuse(empty, repack(zipped, evil, kept(lambda files: files.update({"runs/9/log.txt": b""}))), "does not know")
    longer = kept(lambda files: files.update({"runs/1/log.txt": b"all well, and more"}))
    refuse(empty, repack(zipped, evil, longer), "not as long")


def test_a_bomb_a_link_and_a_name_twice_are_refused(zipped: Path, empty: Home, tmp_path: Path) -> None:
    evil = tmp_path / "evil.zip"
    bomb = bytes(160 * 2**20)
    repack(zipped, evil, lambda files, _: files.update({"runs/1/log.txt": bomb}))
    refuse(empty, evil, "would unpack to 160 MB")
    for extra, why in (("link", "not a plain file"), ("twice", "same name twice")):
        repack(zipped, evil, lambda files, _: None)
        with ZipFile(evil, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            info = ZipInfo("RUNS/1/LOG.TXT" if extra == "twice" else "runs/3/log.txt")
            info.external_attr = (stat.S_IFLNK | 0o777) << 16 if extra == "link" else 0
            archive.writestr(info, "/etc/passwd")
        refuse(empty, evil, why)


def test_what_is_no_backup_at_all_is_refused(zipped: Path, empty: Home, tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    refuse(empty, file, "There is no file")
    file.write_bytes(b"not a zip")
    refuse(empty, file, "it is damaged")
    file.write_bytes(zipped.read_bytes()[:-200])
    refuse(empty, file, "it is damaged")
    with ZipFile(file, "w") as archive:
        archive.writestr("studio.db", b"")
    refuse(empty, file, "no manifest")
    for manifest in ("[]", "{", "[" * 100_000, '{"format": 1, "files": {"a": 1}}'):
        with ZipFile(file, "w") as archive:
            archive.writestr("manifest.json", manifest)
        refuse(empty, file, "no manifest")


def test_a_backup_of_a_newer_program_is_refused(zipped: Path, empty: Home, tmp_path: Path) -> None:
    newer = repack(zipped, tmp_path / "newer.zip", lambda _, manifest: manifest.update(revision="9876"))
    refuse(empty, newer, "newer version of the studio.*9876")


@pytest.mark.parametrize(
    "statement",
    ["UPDATE adapters SET path = '../../etc'", "UPDATE checkpoints SET path = '/etc'",
     "UPDATE datasets SET filename = '../../studio.db'", "UPDATE alembic_version SET version_num = '9876'",
     "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END", "CREATE VIEW v AS SELECT 1",
     "DROP TABLE adapters"],
)  # fmt: skip
def test_a_database_with_something_foreign_in_it_is_refused(
    zipped: Path, empty: Home, tmp_path: Path, statement: str
) -> None:
    def change(files: Files, _manifest: dict[str, Any]) -> None:
        path = tmp_path / "evil.db"
        path.write_bytes(files["studio.db"])
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
            connection.commit()
        files["studio.db"] = path.read_bytes()

    refuse(empty, repack(zipped, tmp_path / "evil.zip", change), "not one of the studio's")
