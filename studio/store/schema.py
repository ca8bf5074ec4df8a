"""The tables' revision: which one this program knows, which one a database has, and the way between them."""

from pathlib import Path

from sqlalchemy import Engine, inspect, text

from studio.core.errors import DatabaseDamaged, StudioError
from studio.store import snapshots

MIGRATIONS = Path(__file__).parent / "migrations"


def revisions() -> list[str]:
    """Those this program knows, the oldest first. Read off the files' names: importing Alembic takes half a second."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def revision_of(engine: Engine) -> str | None:
    """None for a database without tables."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return str(found) if found else None


def check_known(revision: str, database: Path) -> None:
    """Raises StudioError, in words, if a newer program has made the tables."""
    known = revisions()
    if revision not in known:
        backup = snapshots.newest(database)
        restore = f" Or put back the copy from before the change: {backup}." if backup else ""
        raise StudioError(
            f"The database {database} was made by a newer version of the studio: it is at revision {revision}, and "
            f"this program knows {known[0]} to {known[-1]}.",
            f"Start the newer version again.{restore}",
        )


def check_whole(engine: Engine, database: Path) -> None:
    """Raises DatabaseDamaged if SQLite finds the file's pages out of order. Reads all of it: 0.1 s for 100 MB."""
    with engine.connect() as connection:
        if connection.scalar(text("PRAGMA quick_check(1)")) != "ok":
            raise DatabaseDamaged(database, snapshots.newest(database))


def bring_up_to_date(engine: Engine, database: Path) -> None:
    """Make the tables those that this program knows, after a copy of what was there. `engine` must not enforce
    foreign keys: changing a table means replacing it.

    Raises StudioError, in words, if a newer program has made them. All or nothing, however the process ends.
    """
    have, wanted = revision_of(engine), revisions()[-1]
    if have == wanted:
        return
    if have is not None:
        check_known(have, database)
        check_whole(engine, database)
        snapshots.before_change(database, have, wanted)
    _upgrade(engine)


def _upgrade(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.execution_options(immediate=True).connect() as connection, connection.begin():
        # Alembic finds a transaction begun and leaves it to us: all revisions, or none
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        broken = connection.execute(text("PRAGMA foreign_key_check")).first()
        assert broken is None, f"a migration left a row without its parent: {broken}"
