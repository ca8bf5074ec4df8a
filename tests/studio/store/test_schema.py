"""The database through changes of its tables, kills, damage and locks."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from studio.core.errors import DatabaseBusy, DatabaseDamaged, StudioError
from studio.store import datasets, db, runs, schema, snapshots
from studio.store.db import Database, open_database

OLDEST = "0001"

# A process that forks children; child N is killed before statement N of its migration.
KILLER = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from alembic import command
from studio.store import schema
from studio.store.db import open_database

pristine, folder = Path(sys.argv[1]), Path(sys.argv[2])
for kill_at in range(0, 1000, 5):
    home = folder / str(kill_at)
    home.mkdir()
    (home / "studio.db").write_bytes(pristine.read_bytes())
    child = os.fork()
    if child == 0:
        left = kill_at
        @event.listens_for(Engine, "connect")
        def spill(connection, record):
            connection.execute("PRAGMA cache_size = 1")  # so that half a change is really in the file
        @event.listens_for(Engine, "before_cursor_execute")
        def count(connection, cursor, statement, parameters, context, many):
            global left
            if not connection.in_transaction() or (home / "backups").exists():
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
        open_database(home / "studio.db")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def old_database(path: Path) -> None:
    """One of the first revision, with a run in it."""
    path.parent.mkdir(exist_ok=True)
    engine = db._engine(path, 5)
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with engine.connect() as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, OLDEST)
        connection.exec_driver_sql(
            "INSERT INTO datasets VALUES (7, 'd', 'd.csv', 'x', 'columns', '{}', '[]', 1, 1, '[]', 1.0)"
        )
        connection.exec_driver_sql(
            "INSERT INTO runs (id, name, status, recipe, dataset_id, data, base_id, fence, created_at, step,"
            " total_steps, phase_seconds, summary) VALUES (3, 'old', 'queued', '{}', 7, '{}', 'starter', 0, 1.0, 0, 0,"
            " '{}', '{}')"
        )
        connection.exec_driver_sql("INSERT INTO run_events (run_id, at, new, reason) VALUES (3, 1.0, 'queued', '')")
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 99) INSERT INTO runs"
            " (id, name, status, recipe, dataset_id, data, base_id, fence, created_at, step, total_steps,"
            " phase_seconds, summary) SELECT i, hex(randomblob(2000)), status, recipe, dataset_id, data, base_id,"
            " fence, created_at, step, total_steps, phase_seconds, summary FROM runs, n"
        )
    engine.dispose()


def test_revisions_are_those_that_alembic_finds_in_one_line() -> None:
    scripts = ScriptDirectory(str(schema.MIGRATIONS))
    assert schema.revisions() == [script.revision for script in scripts.walk_revisions()][::-1]
    assert scripts.get_heads() == [schema.revisions()[-1]]


def test_a_change_of_the_tables_keeps_what_was_there_and_a_copy_from_before(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    old_database(path)
    with open_database(path).reading() as session:
        assert session.connection().exec_driver_sql("SELECT count(*) FROM run_events").scalar() == 1
    (copy,) = (tmp_path / "backups").iterdir()
    assert copy.name.startswith(f"studio-{OLDEST}-to-{schema.revisions()[-1]}-20") and copy.suffix == ".db"
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (OLDEST,)
        assert connection.execute("SELECT id, name FROM runs").fetchone() == (3, "old")
    open_database(path)
    assert len(list((tmp_path / "backups").iterdir())) == 1


def test_a_new_database_needs_no_copy(tmp_path: Path) -> None:
    open_database(tmp_path / "studio.db")
    assert not (tmp_path / "backups").exists()


def test_a_process_killed_anywhere_in_a_change_leaves_a_database_that_opens(tmp_path: Path) -> None:
    pristine = tmp_path / "old" / "studio.db"
    old_database(pristine)
    killed = tmp_path / "killed"
    killed.mkdir()
    subprocess.run([sys.executable, "-c", KILLER, str(pristine), str(killed)], check=True)
    *homes, whole = sorted(killed.iterdir(), key=lambda home: int(home.name))
    assert len(homes) > 10 and _revision(whole / "studio.db") == schema.revisions()[-1]
    half_written = [home for home in homes if (home / "studio.db").read_bytes() != pristine.read_bytes()]
    assert len(half_written) > 3
    for home in homes:
        path = home / "studio.db"
        assert _revision(path) == OLDEST  # all or nothing
        database = open_database(path)
        assert _revision(path) == schema.revisions()[-1]
        assert runs.get(database, 3).name == "old" and len(runs.events(database, 3)) == 1
        database.close()


def _revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def test_only_the_newest_copies_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    old_database(path)
    made = [snapshots.before_change(path, "0001", "0002") for _ in range(snapshots.KEPT + 2)]
    assert sorted((tmp_path / "backups").iterdir()) == sorted(made[2:])
    assert snapshots.newest(path) == made[-1]


def test_a_database_of_a_newer_program_is_refused_with_both_revisions(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    open_database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9876'")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StudioError, match=f"newer version.*9876.*{schema.revisions()[-1]}") as refused:
        open_database(path)
    assert "Start the newer version again." in refused.value.hint
    assert path.read_bytes() == before


def test_a_damaged_database_is_refused_with_the_newest_copy_named(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    open_database(path).close()
    copy = snapshots.before_change(path, "0001", "0002")
    path.write_bytes(b"this was a database" * 1000)
    with pytest.raises(DatabaseDamaged) as refused:
        open_database(path)
    assert str(copy) in str(refused.value)


def test_damage_inside_is_found_before_the_tables_are_changed(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    old_database(path)
    content = bytearray(path.read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(DatabaseDamaged):
        open_database(path)
    assert path.read_bytes() == content


def test_a_locked_database_is_waited_for_and_then_said_in_words(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    open_database(path).close()
    hasty = Database(path, wait_seconds=0.1)
    columns = {
        "name": "d", "filename": "d.csv", "sha256": "x", "shape": "columns", "mapping": {}, "columns": [], "rows": 1,
        "usable_rows": 1, "skipped": [],
    }  # fmt: skip
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusy, match="keeps it locked"):
            datasets.create(hasty, **columns)
        with pytest.raises(DatabaseBusy):
            runs.every(hasty)
        with pytest.raises(DatabaseBusy):
            open_database(path, wait_seconds=0.1)
    assert datasets.create(hasty, **columns).id == 1


def test_nobody_opens_a_database_while_somebody_wants_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "studio.db"
    with db.alone(path), pytest.raises(StudioError, match=r"backup is being put back .*process \d+"):
        open_database(path)
    open_database(path)
