"""One file with everything that cannot be got again: the database, data sets, adapters, logs, checkpoints.

Base models are named in it, with their fingerprints, but not held; neither are the queue nor any secret. A backup is
somebody's file until every name, size and hash in it has been checked: nothing of it is believed before that.
"""

import json
import os
import re
import shutil
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from studio.core.errors import StudioError
from studio.core.run_state import ENDED, RunStatus
from studio.services.context import Studio
from studio.store import db, exchange, schema, snapshots
from studio.store.base_models import folder_of
from studio.store.home import Home
from studio.store.locks import Held, exclusive

Progress = Callable[[int, int], None]  # bytes done, bytes in all

FORMAT = 1
MANIFEST, DATABASE = "manifest.json", "studio.db"
MOST_FILES = 500_000
MOST_TIMES_LARGER = 100  # a text of the studio's shrinks to a tenth; what grows more than this is a bomb
_MOST_MANIFEST_BYTES = 256 << 20
_BLOCK = 1 << 20
_PLACES = ["studio.db", "studio.db-journal", "studio.db-wal", "studio.db-shm", "datasets", "runs", "uploads"]

_FILE = r"[\w-][\w. -]{0,119}"  # never one that begins with a dot
_DATASET_FILE = re.compile(rf"datasets/\d{{1,15}}/(source/)?{_FILE}")
_ADAPTER = re.compile(r"runs/\d{1,15}/adapter(-\d{1,15})?")
_CHECKPOINT = re.compile(r"runs/\d{1,15}/checkpoints/\d{1,15}-\d{1,15}")
_RUN_FILE = re.compile(rf"({_ADAPTER.pattern}|{_CHECKPOINT.pattern})(/{_FILE}){{1,4}}|runs/\d{{1,15}}/log\.txt")


@dataclass(frozen=True)
class Written:
    path: str
    size_bytes: int
    files: int
    runs: int
    datasets: int
    base_models: list[dict[str, str | None]]
    missing: list[str]  # what the database names and the disk does not have


@dataclass(frozen=True)
class Restored:
    home: str
    made_at: str
    runs: int
    datasets: int
    aside: str  # where what was there before lies now; empty if there was nothing
    absent_base_models: list[str] = field(default_factory=list)


def write(studio: Studio, out: Path, checkpoints: bool, progress: Progress) -> Written:
    """Write a backup to `out`, as of this moment; the studio may be running. `checkpoints`: those of runs that have
    not ended too, so that they go on from there.

    Raises StudioError, in words, if `out` cannot be written. A file that was there stays whole until the new one is.
    """
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    copy = out.with_name(f".{out.name}.{os.getpid()}.db")
    try:
        snapshots.take(studio.home.database, copy)
        written = _pack(studio.home, copy, partial, checkpoints, progress)
        snapshots.sync(partial)
        size = partial.stat().st_size
        partial.replace(out)
        snapshots.sync(out.resolve().parent)
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise StudioError(f"The backup {out} could not be written ({reason}).", "Choose another place.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
            copy.unlink(missing_ok=True)
    return Written(str(out), size, **written)


def restore(home: Home, file: Path, replace: bool, progress: Progress) -> Restored:
    """Put a backup back. The home must be empty, or `replace` moves what it holds aside; nothing is ever deleted.

    Raises StudioError, in words, if a studio uses the home, or if the file is not a whole backup that this program
    can read; then the home is as it was. Killed at the end, the next start finishes it.
    """
    with _alone(home), _opened(file) as archive:
        exchange.finish(home.path)
        if not replace and _holds_something(home):
            raise StudioError(
                f"The home {home.path} is not empty.",
                "Give --replace to move what it holds aside, or another folder with --home.",
            )
        manifest = _checked(archive, file, shutil.disk_usage(home.path).free)
        incoming = home.path / "restoring.partial"
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(mode=0o700)
        try:
            _unpack(archive, manifest, incoming, progress)
            _check_database(incoming / DATABASE)
            for name in ("datasets", "runs", "uploads"):
                (incoming / name).mkdir(exist_ok=True)
            aside = home.backups / f"before-restore-{snapshots.now_in_a_name()}"
            filled = _holds_something(home)
            home.backups.mkdir(mode=0o700, exist_ok=True)
            _sync_all(incoming)
            exchange.exchange(home.path, incoming, aside, _PLACES)
        finally:
            if not exchange.is_planned(home.path):
                shutil.rmtree(incoming, ignore_errors=True)
    absent = [m["id"] for m in manifest["base_models"] if not folder_of(home.models, str(m["id"])).is_dir()]
    counts = {name: int(manifest[name]) for name in ("runs", "datasets")}
    made_at = str(manifest["made_at"])[:40]
    return Restored(str(home.path), made_at, **counts, aside=str(aside) if filled else "", absent_base_models=absent)


# writing


def _pack(home: Home, database: Path, partial: Path, checkpoints: bool, progress: Progress) -> dict[str, Any]:
    with closing(sqlite3.connect(database)) as connection:
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        runs = [row[0] for row in connection.execute("SELECT id FROM runs ORDER BY id")]
        datasets = [row[0] for row in connection.execute("SELECT id FROM datasets ORDER BY id")]
        # a checkpoint that is not in the file must not be pointed to
        left_out = [status.value for status in ENDED] if checkpoints else [status.value for status in RunStatus]
        connection.execute(
            "DELETE FROM checkpoints WHERE run_id IN (SELECT id FROM runs WHERE status IN"
            " (SELECT value FROM json_each(?)))",
            [json.dumps(left_out)],
        )
        connection.commit()
        folders = [home.dataset(number) for number in datasets]
        folders += [home.path / path for (path,) in connection.execute("SELECT path FROM adapters ORDER BY run_id")]
        folders += [home.path / path for (path,) in connection.execute("SELECT path FROM checkpoints ORDER BY id")]
        bases = [
            {"id": base, "fingerprint": fingerprint}
            for base, fingerprint in connection.execute(
                "SELECT DISTINCT base_id, base_fingerprint FROM runs ORDER BY base_id, base_fingerprint"
            )
        ]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    files += [home.log(run) for run in runs if home.log(run).is_file()]
    strange = [path for path in files if not _may_be_in(str(path.relative_to(home.path)))]
    files = [path for path in files if path not in set(strange)]
    missing = [str(path.relative_to(home.path)) for path in strange] + [
        str(folder.relative_to(home.path)) for folder in folders if not folder.is_dir()
    ]
    total = database.stat().st_size + sum(path.stat().st_size for path in files if path.is_file())
    entries: dict[str, dict[str, Any]] = {}
    done = 0
    with ZipFile(partial, "w") as archive:
        for name, path in [(DATABASE, database), *((str(path.relative_to(home.path)), path) for path in files)]:
            try:
                with path.open("rb") as source:
                    entries[name] = _add(archive, name, source)
            except FileNotFoundError:
                missing.append(name)  # deleted since the database was copied
                continue
            done += int(entries[name]["size"])
            progress(done, total)
        counts: dict[str, Any] = {"runs": len(runs), "datasets": len(datasets), "base_models": bases}
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = {"format": FORMAT, "revision": revision, "made_at": made_at, **counts}
        manifest |= {"missing": missing, "files": entries}
        archive.writestr(ZipInfo(MANIFEST, datetime.now().timetuple()[:6]), json.dumps(manifest), ZIP_DEFLATED)
    return counts | {"files": len(entries), "missing": missing}


def _add(archive: ZipFile, name: str, source: IO[bytes]) -> dict[str, Any]:
    """Copy what is in `source` now; a log may be longer in a moment."""
    info = ZipInfo(name, datetime.now().timetuple()[:6])
    info.create_system, info.external_attr = 3, 0o100600 << 16
    # weights hardly shrink
    info.compress_type = ZIP_DEFLATED if Path(name).suffix in {".db", ".txt", ".json", ".jsonl", ".csv"} else ZIP_STORED
    digest, left = sha256(), os.fstat(source.fileno()).st_size
    size = 0
    with archive.open(info, "w", force_zip64=True) as target:
        while left and (block := source.read(min(_BLOCK, left))):
            digest.update(block)
            target.write(block)
            left -= len(block)
            size += len(block)
    return {"size": size, "sha256": digest.hexdigest()}


# reading what may be anybody's file


@contextmanager
def _opened(file: Path) -> Iterator[ZipFile]:
    try:
        with ZipFile(file) as archive:
            yield archive
    except FileNotFoundError:
        raise StudioError(f"There is no file {file}.", "Check the name and the folder.") from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise _refused(file, f"it is damaged: {error}") from None


def _checked(archive: ZipFile, file: Path, free: int) -> dict[str, Any]:
    """The manifest, once every entry's name, kind and size agrees with it. Raises StudioError."""
    entries = archive.infolist()
    if len(entries) > MOST_FILES:
        raise _refused(file, f"it has {len(entries):,} entries")
    names = [entry.filename for entry in entries]
    if len({name.casefold() for name in names}) < len(names):
        raise _refused(file, "it has the same name twice")
    manifest = _manifest(archive, file)
    wanted = {MANIFEST, *manifest["files"]}
    for entry in entries:
        name, mode = entry.filename, entry.external_attr >> 16
        if entry.orig_filename != name or not _may_be_in(name):
            raise _refused(file, f"{name[:80]!a} does not belong into one")
        if entry.flag_bits & 1 or (mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode)):
            raise _refused(file, f"“{name}” is not a plain file")
        if name not in wanted:
            raise _refused(file, f"its manifest does not know “{name}”")
        if name != MANIFEST and entry.file_size != manifest["files"][name]["size"]:
            raise _refused(file, f"“{name}” is not as long as its manifest says")
    if absent := wanted - set(names):
        raise _refused(file, f"“{min(absent)}” is missing")
    size = sum(entry.file_size for entry in entries)
    if size > MOST_TIMES_LARGER * (file.stat().st_size + _BLOCK):
        raise _refused(file, f"it would unpack to {size / 2**20:,.0f} MB")
    if size > free:
        raise StudioError(f"The disk has {free / 2**20:,.0f} MB free; {size / 2**20:,.0f} MB are needed.")
    if str(manifest["revision"]) not in schema.revisions():
        known = schema.revisions()
        raise StudioError(
            f"The backup {file} was made by a newer version of the studio: its database is at revision "
            f"{str(manifest['revision'])[:40]}, and this program knows {known[0]} to {known[-1]}.",
            "Restore it with that version.",
        )
    return manifest


def _manifest(archive: ZipFile, file: Path) -> dict[str, Any]:
    try:
        info = archive.getinfo(MANIFEST)
        if info.file_size > _MOST_MANIFEST_BYTES:
            raise _refused(file, "its manifest is too long")
        with archive.open(info) as source:
            manifest: dict[str, Any] = json.loads(source.read(_MOST_MANIFEST_BYTES))
        if manifest["format"] != FORMAT:
            raise _refused(file, "it has a format that this version of the studio does not know")
        for entry in manifest["files"].values():
            if not (isinstance(entry["size"], int) and isinstance(entry["sha256"], str)):
                raise TypeError
        bases = [{"id": str(m["id"]), "fingerprint": m["fingerprint"]} for m in manifest["base_models"]]
        counts = {name: int(manifest[name]) for name in ("runs", "datasets")}
        return {**counts, "base_models": bases} | {k: manifest[k] for k in ("files", "revision", "made_at")}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise _refused(file, "it has no manifest of one") from None


def _may_be_in(name: str) -> bool:
    return name in (MANIFEST, DATABASE) or bool(_DATASET_FILE.fullmatch(name) or _RUN_FILE.fullmatch(name))


def _unpack(archive: ZipFile, manifest: dict[str, Any], incoming: Path, progress: Progress) -> None:
    """Every file, hashed on its way to the disk. Raises StudioError for one that is not what was backed up."""
    total, done = sum(entry["size"] for entry in manifest["files"].values()), 0
    for name, entry in manifest["files"].items():
        target = incoming / name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, left = sha256(), int(entry["size"])
        with archive.open(name) as source, target.open("xb") as out:
            while block := source.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    break
                digest.update(block)
                out.write(block)
        if left or digest.hexdigest() != entry["sha256"]:
            raise _refused(Path(str(archive.filename)), f"“{name}” is not what was backed up")
        done += int(entry["size"])
        progress(done, total)


def _check_database(path: Path) -> None:
    """Raises StudioError if it is no database of the studio's, or names files outside of the home."""
    path.chmod(0o600)
    refusal = StudioError("The database in the backup is not one of the studio's.", "Use another backup.")
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                raise refusal
            kinds = {kind for (kind,) in connection.execute("SELECT DISTINCT type FROM sqlite_master")}
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            columns = {(table, column): list(connection.execute(query)) for table, column, query in _NAMED_PATHS}
    except sqlite3.Error:
        raise refusal from None
    if not kinds <= {"table", "index"} or found[0] not in schema.revisions():
        raise refusal
    shapes = {"adapters": _ADAPTER, "checkpoints": _CHECKPOINT, "datasets": re.compile(_FILE)}
    for (table, _), values in columns.items():
        if not all(shapes[table].fullmatch(str(value)) for (value,) in values):
            raise refusal


_NAMED_PATHS = [
    ("adapters", "path", "SELECT path FROM adapters"),
    ("checkpoints", "path", "SELECT path FROM checkpoints"),
    ("datasets", "filename", "SELECT filename FROM datasets"),
]


def _refused(file: Path, why: str) -> StudioError:
    return StudioError(f"{file.name} is not a backup that can be restored: {why}.", "The home is as it was.")


# the home


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Nobody else may use the home: not a studio, not a consumer, not a training process, not another restore."""
    try:
        with exclusive(home.lock("studio"), wait=False), db.alone(home.database):
            yield
    except Held as held:
        who = f" ({held.holder.words})" if held.holder else ""
        raise StudioError(f"A studio is running on {home.path}{who}.", "Stop it first, then try again.") from None


def _holds_something(home: Home) -> bool:
    if any(home.datasets.iterdir()) or any(home.runs.iterdir()):
        return True
    if not home.database.is_file():
        return False
    try:
        with closing(sqlite3.connect(home.database)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            return bool(
                tables & {"runs"}
                and connection.execute(
                    "SELECT EXISTS(SELECT 1 FROM runs) OR EXISTS(SELECT 1 FROM datasets)"
                ).fetchone()[0]
            )
    except sqlite3.Error:
        return True  # damaged: somebody may still want it


def _sync_all(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        snapshots.sync(path)
