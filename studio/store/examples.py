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
from studio.store.db import WAIT_SECONDS, journal_mode
from studio.store.examined import AT_ONCE, HOLDS, Examined

_T = TypeVar("_T")
Edit = Callable[[Conversation], Conversation | None]  # None: the example is left out of the new version

SEARCH_MOST = 1000  # results of one search
_NOW = 2**62  # `until` of what still holds
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


class Examples(Examined):
    """The open file. One thread at a time."""

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

    def add(self, seen: int, words: str, conversation: Conversation, grouped: Mapping[str, str]) -> Version:
        """A new version with one example more, behind all others. Raises DataError if `seen` is not the newest."""
        with self._writing():
            newest = self._still(seen)
            (last,) = self._db.execute("SELECT max(position) FROM examples").fetchone()  # of any version
            state = _state(last + 1, conversation, newest.number + 1, dumps(grouped, ensure_ascii=False))
            self._db.execute(_INSERT, state)
            digest = int(newest.sha256, 16) + _digest(last + 1, state[5])
            rows, usable = newest.rows + 1, newest.usable + state[4]
            return self._add_version(words, 1, rows, usable, digest, newest.number + 1)

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
                f"UPDATE examples SET until = :n WHERE since > 1 AND since > :t AND {HOLDS}",
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
        start = _place(_gaps(self._path, self._born(), version), number * size) if number else 0
        rows = self._db.execute(
            f"SELECT position, content FROM examples WHERE position >= :p AND {HOLDS} ORDER BY position LIMIT :size",
            {"p": start, "v": version, "size": size},
        )
        return [Example(position, from_record(loads(content))) for position, content in rows]

    def place_of_row(self, version: int, row: int) -> int:
        """How many examples stand before the first whose number in the user's file is at least `row`."""
        found = self._db.execute(
            f"SELECT position FROM examples WHERE row >= :row AND {HOLDS} ORDER BY row, position LIMIT 1",
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

    def search(self, version: int, words: str, number: int, size: int) -> tuple[list[Example], int]:
        """(page `number` of the examples with these words in any text, how many there are, at most SEARCH_MOST)"""
        hits = _hits(self._path, self._born(), version, words.casefold())
        return self.at(version, hits[number * size : (number + 1) * size]), len(hits)

    def at(self, version: int, positions: Sequence[int]) -> list[Example]:
        """The examples at these positions, in order; those that the version does not have are left out."""
        return [Example(p, from_record(loads(c))) for _, p, c, _, _ in self._states(version, sorted(positions))]

    def read(self, version: int, learning_only: bool = False) -> Iterator[Example]:
        """All examples of the version in order, in a stream; if wished, only those with something to learn.

        Read in batches: an open cursor would keep others from writing.
        """
        for _, position, content, learns, _ in self._states(version, None):
            if learns or not learning_only:
                yield Example(position, from_record(loads(content)))

    # inside

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
        columns = f"SELECT id, position, content, learns, grouped FROM examples WHERE {HOLDS}"
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
            {"v": version, "last": last, "size": AT_ONCE},
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


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody changes the file meanwhile, and all that was changed is in it: it may be copied."""
    connection = _connect(path)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
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
    while batch := list(islice(iterator, AT_ONCE)):
        yield batch


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA journal_mode = {journal_mode()}")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@lru_cache(maxsize=8)
def _gaps(path: Path, born: float, version: int) -> Sequence[int]:
    """The positions that a version, which never changes, has no example at; in order."""
    with opened(path) as examples:
        (last,) = examples._db.execute(
            "SELECT position FROM examples WHERE since <= :v ORDER BY position DESC LIMIT 1", {"v": version}
        ).fetchone()
        if examples.version(version).rows == last + 1:
            return []  # however many were edited: the search below costs as much as they are
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
            f"SELECT position FROM examples WHERE {HOLDS} AND instr(search, :words) ORDER BY position LIMIT :most",
            {"v": version, "words": words, "most": SEARCH_MOST},
        )
        return [position for (position,) in rows]
