"""The examples of one data set: all its versions in one SQLite file.

A line of the table `examples` is one state of one example; it holds from version `since` until before version `until`.
A change writes the states it changes and nothing else, so a version costs what it changes, whatever the data set's
size. Versions are never altered: undo makes a new version that equals a former one.

The versions are listed in this file, not in the studio's database, so that a version and its rows come into being in
one transaction.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from json import dumps, loads
from pathlib import Path
from time import time
from typing import Any, TypeVar

from studio.core.conversation import Conversation, as_record, from_record
from studio.core.errors import DataError, NotFound
from studio.store.db import BUSY_TIMEOUT_MS, journal_mode

_T = TypeVar("_T")
Edit = Callable[[Conversation], Conversation | None]  # None: the example is left out of the new version

SEARCH_MOST = 1000  # results of one search
_NOW = 2**62  # `until` of what still holds
_AT_ONCE = 2000
_HASH_SIZE = 2**256
_TABLES = """
CREATE TABLE versions (
    number INTEGER PRIMARY KEY, at REAL NOT NULL, change TEXT NOT NULL, changed INTEGER NOT NULL,
    rows INTEGER NOT NULL, usable INTEGER NOT NULL, sha256 TEXT NOT NULL, equals INTEGER NOT NULL);
CREATE TABLE examples (
    id INTEGER PRIMARY KEY, position INTEGER NOT NULL, row INTEGER NOT NULL, since INTEGER NOT NULL,
    until INTEGER NOT NULL, learns INTEGER NOT NULL, content TEXT NOT NULL, search TEXT NOT NULL,
    grouped TEXT NOT NULL);
CREATE TABLE reports (version INTEGER PRIMARY KEY, report TEXT NOT NULL);
CREATE TABLE flags (version INTEGER, kind TEXT, position INTEGER, PRIMARY KEY (version, kind, position)) WITHOUT ROWID;
CREATE TABLE lengths (
    model TEXT, example INTEGER, tokens INTEGER NOT NULL, learned INTEGER NOT NULL, first INTEGER NOT NULL,
    PRIMARY KEY (model, example)) WITHOUT ROWID;
CREATE TABLE group_columns (name TEXT PRIMARY KEY);
CREATE TABLE tasks (name TEXT PRIMARY KEY, done INTEGER NOT NULL, total INTEGER NOT NULL, error TEXT NOT NULL);
"""
_INDEXES = f"""
CREATE INDEX by_position ON examples (position, since, until);
CREATE INDEX by_row ON examples (row, position);
CREATE INDEX by_since ON examples (since) WHERE since > 1;
CREATE INDEX by_until ON examples (until) WHERE until < {_NOW};
"""
_HOLDS = "since <= :v AND until > :v"


@dataclass(frozen=True, slots=True)
class Version:
    number: int
    at: float
    change: str  # what was done, in words
    changed: int  # how many examples it touched
    rows: int
    usable: int  # rows with something to learn
    sha256: str  # of the examples and their order: the same content, the same hash
    equals: int  # the version whose content this is; its own number unless it undid something


@dataclass(frozen=True, slots=True)
class Example:
    position: int  # its place in the data set, the same in all versions
    conversation: Conversation


class Examples:
    """The open file. One thread at a time."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path

    # versions

    def versions(self) -> list[Version]:
        """The newest first."""
        return [_version(row) for row in self._db.execute("SELECT * FROM versions ORDER BY number DESC")]

    def version(self, number: int | None = None) -> Version:
        """The version with that number, or the newest. Raises NotFound."""
        where = "number = ?" if number is not None else "? IS NULL ORDER BY number DESC LIMIT 1"
        row = self._db.execute(f"SELECT * FROM versions WHERE {where}", (number,)).fetchone()
        if row is None:
            raise NotFound(f"This data set has no version {number}.", "“Versions” lists the ones there are.")
        return _version(row)

    def change(self, seen: int, words: str, edit: Edit, positions: Iterable[int] | None = None) -> Version:
        """A new version in which `edit` was done to the examples at `positions`, or to all.

        `seen` is the version that the user looked at. Raises DataError if it is not the newest any more, or if `edit`
        changes nothing.
        """
        with self._writing():
            newest = self._still(seen)
            number, changed, rows, usable = newest.number + 1, 0, newest.rows, newest.usable
            digest = int(newest.sha256, 16)
            for held in _batches(self._states(newest.number, positions)):
                gone: list[tuple[int, int]] = []
                fresh: list[tuple[Any, ...]] = []
                for identity, position, content, learns, grouped in held:
                    before = from_record(loads(content))
                    after = edit(before)
                    if after == before:
                        continue
                    changed += 1
                    gone.append((number, identity))
                    digest -= _digest(position, content)
                    usable -= learns
                    if after is None:
                        rows -= 1
                        continue
                    state = _state(position, after, number, grouped)
                    fresh.append(state)
                    digest += _digest(position, state[5])
                    usable += state[4]
                self._db.executemany("UPDATE examples SET until = ? WHERE id = ?", gone)
                self._db.executemany(_INSERT, fresh)
            if not changed:
                raise DataError("Nothing changed.", "The examples are already as you want them.")
            if not rows:
                raise DataError("No example would be left.", "Delete the whole data set instead, or keep some rows.")
            return self._add_version(words, changed, rows, usable, digest, number)

    def restore(self, seen: int, target: int, words: str) -> Version:
        """A new version that equals version `target`. Errors as `change`."""
        with self._writing():
            newest, wanted = self._still(seen), self.version(target)
            if wanted.equals == newest.equals:
                raise DataError("Nothing changed.", f"Version {newest.number} already equals version {target}.")
            number = newest.number + 1
            back = self._db.execute(
                "INSERT INTO examples (position, row, since, until, learns, content, search, grouped) "
                "SELECT position, row, :n, :now, learns, content, search, grouped FROM examples "
                f"WHERE until < {_NOW} AND since <= :t AND until > :t AND until <= :v",
                {"n": number, "now": _NOW, "t": target, "v": newest.number},
            ).rowcount
            away = self._db.execute(
                f"UPDATE examples SET until = :n WHERE since > 1 AND since > :t AND {_HOLDS}",
                {"n": number, "t": target, "v": newest.number},
            ).rowcount
            digest = int(wanted.sha256, 16)
            return self._add_version(words, max(back, away), wanted.rows, wanted.usable, digest, wanted.equals)

    def undoable(self, version: Version) -> Version | None:
        """What `version` would be undone to."""
        return self.version(self.version(version.equals - 1).equals) if version.equals > 1 else None

    # looking

    def page(self, version: int, number: int, size: int) -> list[Example]:
        """Page `number` (from 0). However far in, it costs a search in an index and `size` rows."""
        start = _place(_gaps(self._path, self._born(), version), number * size)
        rows = self._db.execute(
            f"SELECT position, content FROM examples WHERE position >= :p AND {_HOLDS} ORDER BY position LIMIT :size",
            {"p": start, "v": version, "size": size},
        )
        return [Example(position, from_record(loads(content))) for position, content in rows]

    def place_of_row(self, version: int, row: int) -> int:
        """How many examples stand before the first whose number in the user's file is at least `row`."""
        found = self._db.execute(
            f"SELECT position FROM examples WHERE row >= :row AND {_HOLDS} ORDER BY row, position LIMIT 1",
            {"row": row, "v": version},
        ).fetchone()
        if found is None:
            return max(0, self.version(version).rows - 1)
        return int(found[0]) - bisect_right(_gaps(self._path, self._born(), version), int(found[0]))

    def flagged(self, version: int, kind: str, number: int, size: int) -> list[Example]:
        """Page `number` of the examples that a finding of this kind speaks of."""
        positions = self._db.execute(
            "SELECT position FROM flags WHERE version = ? AND kind = ? ORDER BY position LIMIT ? OFFSET ?",
            (version, kind, size, number * size),
        )
        return self.at(version, [position for (position,) in positions])

    def longer_than(self, version: int, model: str, tokens: int, number: int, size: int) -> list[Example]:
        """Page `number` of the examples that are cut at `tokens` for this base model."""
        positions = self._db.execute(
            "SELECT e.position FROM examples e JOIN lengths l ON l.model = :m AND l.example = e.id "
            "WHERE e.since <= :v AND e.until > :v AND l.tokens > :t ORDER BY e.position LIMIT :size OFFSET :skip",
            {"m": model, "v": version, "t": tokens, "size": size, "skip": number * size},
        )
        return self.at(version, [position for (position,) in positions])

    def count_longer(self, version: int, model: str, tokens: int) -> int:
        (count,) = self._db.execute(
            "SELECT count(*) FROM examples e JOIN lengths l ON l.model = :m AND l.example = e.id "
            "WHERE e.since <= :v AND e.until > :v AND l.tokens > :t",
            {"m": model, "v": version, "t": tokens},
        ).fetchone()
        return int(count)

    def search(self, version: int, words: str, number: int, size: int) -> tuple[list[Example], int]:
        """(page `number` of the examples with these words in any text, how many there are, at most SEARCH_MOST)"""
        hits = _hits(self._path, self._born(), version, words.casefold())
        return self.at(version, hits[number * size : (number + 1) * size]), len(hits)

    def at(self, version: int, positions: Sequence[int]) -> list[Example]:
        """The examples at these positions, in order; those that the version does not have are left out."""
        return [Example(p, from_record(loads(c))) for _, p, c, _, _ in self._states(version, sorted(positions))]

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

    def read(self, version: int, learning_only: bool = False) -> Iterator[Example]:
        """All examples of the version in order, in a stream; if wished, only those with something to learn.

        Read in batches: an open cursor would keep others from writing.
        """
        for _, position, content, learns, _ in self._states(version, None):
            if learns or not learning_only:
                yield Example(position, from_record(loads(content)))

    def groups(self, version: int) -> list[dict[str, str]]:
        """The further columns of each example with something to learn, in order: what rows can be grouped by."""
        rows = self._db.execute(
            f"SELECT grouped FROM examples WHERE {_HOLDS} AND learns ORDER BY position", {"v": version}
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
                "SELECT id, content, grouped FROM examples WHERE id > ? ORDER BY id LIMIT ?", (last, _AT_ONCE)
            ).fetchall():
                changed = [
                    (dumps(loads(g) | {column: value_of(from_record(loads(c)))}, ensure_ascii=False), i)
                    for i, c, g in rows
                ]
                self._db.executemany("UPDATE examples SET grouped = ? WHERE id = ?", changed)
                last = rows[-1][0]
            self._db.execute("INSERT OR REPLACE INTO group_columns VALUES (?)", (column,))

    # what was found out

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

    def uncounted(self, version: int, model: str) -> int:
        """How many examples of the version have no length for this base model yet."""
        (count,) = self._db.execute(
            f"SELECT count(*) FROM examples e WHERE {_HOLDS} "
            "AND NOT EXISTS (SELECT 1 FROM lengths l WHERE l.model = :m AND l.example = e.id)",
            {"v": version, "m": model},
        ).fetchone()
        return int(count)

    def to_count(self, version: int, model: str) -> Iterator[list[tuple[int, Conversation]]]:
        """The examples without a length, in batches of (their state's number, example)."""
        last = 0
        while True:
            rows = self._db.execute(
                f"SELECT id, content FROM examples e WHERE id > :last AND {_HOLDS} "
                "AND NOT EXISTS (SELECT 1 FROM lengths l WHERE l.model = :m AND l.example = e.id) "
                "ORDER BY id LIMIT :size",
                {"last": last, "v": version, "m": model, "size": _AT_ONCE},
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
            f"WHERE {_HOLDS} AND learns",
            {"m": model, "v": version},
        ).fetchall()

    def tell(self, task: str, done: int, total: int, error: str = "") -> None:
        """Progress of a task that another process does."""
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?)", (task, done, total, error))

    def told(self, task: str) -> tuple[int, int, str]:
        """(done, total, error) as last told."""
        row = self._db.execute("SELECT done, total, error FROM tasks WHERE name = ?", (task,)).fetchone()
        return row or (0, 0, "")

    # inside

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _still(self, seen: int) -> Version:
        newest = self.version()
        if newest.number != seen:
            raise DataError(
                f"This data set was changed meanwhile: it is at version {newest.number} now.", "Look at it again first."
            )
        return newest

    def _add_version(self, words: str, changed: int, rows: int, usable: int, digest: int, equals: int) -> Version:
        number = self.version().number + 1
        made = Version(number, time(), words, changed, rows, usable, _hex(digest), equals)
        self._db.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _values(made))
        return made

    def _states(self, version: int, positions: Iterable[int] | None) -> Iterator[tuple[int, int, str, int, str]]:
        """(number, position, content, learns, grouped) of states in order, read in batches so that writes may go on."""
        columns = f"SELECT id, position, content, learns, grouped FROM examples WHERE {_HOLDS}"
        if positions is not None:
            for some in _batches(iter(positions)):
                marks = ",".join(str(int(position)) for position in some)
                yield from self._db.execute(
                    f"{columns} AND position IN ({marks}) ORDER BY position", {"v": version}
                ).fetchall()
            return
        last = -1
        while rows := self._db.execute(
            f"{columns} AND position > :last ORDER BY position LIMIT :size",
            {"v": version, "last": last, "size": _AT_ONCE},
        ).fetchall():
            yield from rows
            last = rows[-1][1]

    def _born(self) -> float:
        """Tells this file from another that may have stood at its path."""
        return float(self._db.execute("SELECT at FROM versions WHERE number = 1").fetchone()[0])


@contextmanager
def opened(path: Path) -> Iterator[Examples]:
    """The data set's file, which must be there."""
    if not path.is_file():
        raise NotFound("This data set's examples are not here any more.", "Upload the file once more.")
    connection = _connect(path)
    try:
        yield Examples(connection, path)
    finally:
        connection.close()


def create(path: Path, conversations: Iterable[Conversation], words: str) -> Version:
    """Write version 1 into a new file, in a stream."""
    path.unlink(missing_ok=True)
    connection = _connect(path)
    try:
        connection.execute(
            "PRAGMA synchronous = OFF"
        )  # a file that is not whole is not used: its folder has no name yet
        connection.executescript(_TABLES)
        connection.execute("BEGIN")
        digest = rows = usable = 0

        def states() -> Iterator[tuple[Any, ...]]:
            nonlocal digest, rows, usable
            for position, conversation in enumerate(conversations):
                state = _state(position, conversation, 1, "{}")
                digest += _digest(position, state[5])
                rows, usable = rows + 1, usable + state[4]
                yield state

        connection.executemany(_INSERT, states())
        version = Version(1, time(), words, rows, rows, usable, _hex(digest), 1)
        connection.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _values(version))
        connection.execute("COMMIT")
        connection.executescript(_INDEXES)
        connection.execute("PRAGMA synchronous = FULL")
    finally:
        connection.close()
    return version


def learns(conversation: Conversation) -> bool:
    """Whether there is anything in it to learn from."""
    return bool(conversation.text) or any(m.learn for m in conversation.messages if m.role == "assistant")


_INSERT = (
    "INSERT INTO examples (position, row, since, until, learns, content, search, grouped) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def _state(position: int, conversation: Conversation, since: int, grouped: str) -> tuple[Any, ...]:
    said = [m.content for m in conversation.messages] + [m.content for m in conversation.rejected] + [conversation.text]
    content = dumps(as_record(conversation), ensure_ascii=False)
    search = "\n".join(said).casefold()
    return position, conversation.row, since, _NOW, int(learns(conversation)), content, search, grouped


def _digest(position: int, content: str) -> int:
    """One example's share of a version's hash. The shares are added up, so that a change costs what it changes."""
    return int.from_bytes(sha256(f"{position} {content}".encode()).digest(), "big")


def _hex(digest: int) -> str:
    return f"{digest % _HASH_SIZE:064x}"


def _values(version: Version) -> tuple[Any, ...]:
    return (
        version.number, version.at, version.change, version.changed,
        version.rows, version.usable, version.sha256, version.equals,
    )  # fmt: skip


def _version(row: Sequence[Any]) -> Version:
    return Version(*row)


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _AT_ONCE)):
        yield batch


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA journal_mode = {journal_mode()}")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@lru_cache(maxsize=8)
def _gaps(path: Path, born: float, version: int) -> Sequence[int]:
    """The positions that a version, which never changes, has no example at; in order."""
    with opened(path) as examples:
        rows = examples._db.execute(
            # the planner would rather walk through all positions
            f"SELECT DISTINCT position FROM examples e INDEXED BY by_until WHERE until < {_NOW} AND until <= :v "
            "AND NOT EXISTS (SELECT 1 FROM examples h WHERE h.position = e.position AND h.since <= :v AND h.until > :v"
            ") ORDER BY position",
            {"v": version},
        )
        return [position for (position,) in rows]


def _place(gaps: Sequence[int], index: int) -> int:
    """The position of the example with `index` others before it."""
    return index + bisect_right(range(len(gaps)), index, key=lambda i: gaps[i] - i)


@lru_cache(maxsize=32)
def _hits(path: Path, born: float, version: int, words: str) -> Sequence[int]:
    with opened(path) as examples:
        rows = examples._db.execute(
            f"SELECT position FROM examples WHERE {_HOLDS} AND instr(search, :words) ORDER BY position LIMIT :most",
            {"v": version, "words": words, "most": SEARCH_MOST},
        )
        return [position for (position,) in rows]
