from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from studio.store import deletions  # noqa: F401  its table
from studio.store.db import open_database, wal_is_safe
from studio.store.tables import Table


def test_migrations_end_at_the_tables_that_the_code_has(tmp_path: Path) -> None:
    db = open_database(tmp_path / "studio.db")
    with db.reading() as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), Table.metadata) == []


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    open_database(tmp_path / "studio.db").close()
    open_database(tmp_path / "studio.db").close()
    assert (tmp_path / "studio.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("version", "safe"),
    [((3, 40, 1), False), ((3, 44, 5), False), ((3, 44, 6), True), ((3, 45, 0), False), ((3, 50, 7), True),
     ((3, 51, 0), False), ((3, 51, 3), True), ((3, 53, 0), True)],
)  # fmt: skip
def test_wal_only_where_it_cannot_corrupt(version: tuple[int, ...], safe: bool) -> None:
    assert wal_is_safe(version) is safe
