"""What was found out about a data set's examples: reports, token counts, further columns. Kept in the same file.

The half of `studio.store.examples.Examples` that knows nothing of how versions come into being.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from json import dumps, loads
from pathlib import Path
from typing import Any

from studio.core.conversation import Conversation, from_record

AT_ONCE = 2000  # rows read or written together
HOLDS = "since <= :v AND until > :v"


class Examined:
    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path

    # reports

    def report(self, version: int) -> dict[str, Any] | None:
        row = self._db.execute("SELECT report FROM reports WHERE version = ?", (version,)).fetchone()
        return loads(row[0]) if row else None

    def keep_report(self, version: int, report: dict[str, Any], flags: Mapping[str, Iterable[int]]) -> None:
        with self._writing():
            self._db.execute("DELETE FROM flags WHERE version = ?", (version,))
            for kind, positions in flags.items():
                rows = ((version, kind, position) for position in positions)
                self._db.executemany("INSERT INTO flags VALUES (?, ?, ?)", rows)
            self._db.execute(
                "INSERT OR REPLACE INTO reports VALUES (?, ?)", (version, dumps(report, ensure_ascii=False))
            )

    def kinds_at(self, version: int, positions: Sequence[int]) -> dict[int, list[str]]:
        """Which findings speak of the examples at these positions."""
        found: dict[int, list[str]] = {}
        marks = ",".join("?" * len(positions))
        for kind in self._kinds(version):
            rows = self._db.execute(
                f"SELECT position FROM flags WHERE version = ? AND kind = ? AND position IN ({marks})",
                (version, kind, *positions),
            )
            for (position,) in rows:
                found.setdefault(position, []).append(kind)
        return found

    def _kinds(self, version: int) -> Iterator[str]:
        """The kinds of a version's flags, each found by a step in the index: there may be a million flags."""
        kind = ""
        while kind is not None:
            (kind,) = self._db.execute(
                "SELECT min(kind) FROM flags WHERE version = ? AND kind > ?", (version, kind)
            ).fetchone()
            if kind is not None:
                yield kind

    def count_flagged(self, version: int, kind: str) -> int:
        (count,) = self._db.execute(
            "SELECT count(*) FROM flags WHERE version = ? AND kind = ?", (version, kind)
        ).fetchone()
        return int(count)

    def flagged_positions(self, version: int, kind: str) -> list[int]:
        rows = self._db.execute(
            "SELECT position FROM flags WHERE version = ? AND kind = ? ORDER BY position", (version, kind)
        )
        return [position for (position,) in rows]

    # token counts

    def uncounted(self, version: int, model: str) -> int:
        """How many examples of the version have no length for this base model yet."""
        (count,) = self._db.execute(
            f"SELECT count(*) FROM examples e WHERE {HOLDS} "
            "AND NOT EXISTS (SELECT 1 FROM lengths l WHERE l.model = :m AND l.example = e.id)",
            {"v": version, "m": model},
        ).fetchone()
        return int(count)

    def to_count(self, version: int, model: str) -> Iterator[list[tuple[int, Conversation]]]:
        """The examples without a length, in batches of (their state's number, example)."""
        last = 0
        while True:
            rows = self._db.execute(
                f"SELECT id, content FROM examples e WHERE id > :last AND {HOLDS} "
                "AND NOT EXISTS (SELECT 1 FROM lengths l WHERE l.model = :m AND l.example = e.id) "
                "ORDER BY id LIMIT :size",
                {"last": last, "v": version, "m": model, "size": AT_ONCE},
            ).fetchall()
            if not rows:
                return
            yield [(identity, from_record(loads(content))) for identity, content in rows]
            last = rows[-1][0]

    def keep_lengths(self, model: str, lengths: Iterable[tuple[int, int, int, int]]) -> None:
        """(state's number, tokens, tokens to learn, place of the first token to learn) of some examples."""
        with self._writing():
            self._db.executemany(
                "INSERT OR REPLACE INTO lengths VALUES (?, ?, ?, ?, ?)", ((model, *length) for length in lengths)
            )

    def lengths(self, version: int, model: str) -> list[tuple[int, int, int]]:
        """(tokens, tokens to learn, place of the first one) of every counted example with something to learn."""
        return self._db.execute(
            "SELECT l.tokens, l.learned, l.first FROM examples e JOIN lengths l ON l.model = :m AND l.example = e.id "
            f"WHERE {HOLDS} AND learns",
            {"m": model, "v": version},
        ).fetchall()

    def count_longer(self, version: int, model: str, tokens: int) -> int:
        (count,) = self._db.execute(
            "SELECT count(*) FROM examples e JOIN lengths l ON l.model = :m AND l.example = e.id "
            "WHERE e.since <= :v AND e.until > :v AND l.tokens > :t",
            {"m": model, "v": version, "t": tokens},
        ).fetchone()
        return int(count)

    # further columns of the user's file

    def groups(self, version: int) -> list[dict[str, str]]:
        """The further columns of each example with something to learn, in order: what rows can be grouped by."""
        rows = self._db.execute(
            f"SELECT grouped FROM examples WHERE {HOLDS} AND learns ORDER BY position", {"v": version}
        )
        return [loads(grouped) for (grouped,) in rows]

    def group_columns(self) -> list[str]:
        """The columns that `keep_groups` was given."""
        return [column for (column,) in self._db.execute("SELECT name FROM group_columns")]

    def keep_groups(self, column: str, value_of: Callable[[Conversation], str]) -> None:
        """Note what stands in a further column of the user's file, in every version's examples."""
        last = 0
        with self._writing():
            while rows := self._db.execute(
                "SELECT id, content, grouped FROM examples WHERE id > ? ORDER BY id LIMIT ?", (last, AT_ONCE)
            ).fetchall():
                changed = [
                    (dumps(loads(g) | {column: value_of(from_record(loads(c)))}, ensure_ascii=False), i)
                    for i, c, g in rows
                ]
                self._db.executemany("UPDATE examples SET grouped = ? WHERE id = ?", changed)
                last = rows[-1][0]
            self._db.execute("INSERT OR REPLACE INTO group_columns VALUES (?)", (column,))

    def rows_held(self, version: int, rows: Sequence[int]) -> set[tuple[str, int]]:
        """Of these rows of the user's files those that the version has: (file, row)."""
        found = set()
        for begin in range(0, len(rows), AT_ONCE):
            marks = ",".join(str(int(row)) for row in rows[begin : begin + AT_ONCE])
            states = self._db.execute(
                f"SELECT row, content FROM examples WHERE {HOLDS} AND row IN ({marks})", {"v": version}
            )
            found |= {(from_record(loads(content)).file, row) for row, content in states}
        return found

    # progress of other processes

    def tell(self, task: str, done: int, total: int, error: str = "") -> None:
        """Progress of a task that another process does."""
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?)", (task, done, total, error))

    def told(self, task: str) -> tuple[int, int, str]:
        """(done, total, error) as last told."""
        row = self._db.execute("SELECT done, total, error FROM tasks WHERE name = ?", (task,)).fetchone()
        return row or (0, 0, "")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
