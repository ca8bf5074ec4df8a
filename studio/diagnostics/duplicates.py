"""Examples that say the same: exactly, nearly, or the same question with another answer.

Near duplicates are found by MinHash and locality-sensitive hashing (Broder 1997): 32 values of 16 bits an example, in
8 bands of 4. Two texts that share 80% of their five-letter pieces meet in a band in 98 of 100 cases; those that meet
are compared word by word. Our own 60 lines of numpy do 100,000 examples in seconds; `datasketch` takes minutes.
"""

import re
from array import array
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

VALUES, BAND = 32, 4
ALIKE_VALUES = 0.7  # of the 32: below it a pair that met in a band is not compared any further
ALIKE_WORDS = 0.9
PIECE = 5  # bytes
NEIGHBOURS = 3  # of the texts that meet in a band, each is compared with the next few: never all with all
_BLOCK = 4096  # texts hashed together
_AT_ONCE = 100_000  # pairs compared together
_NOT_WORDS = re.compile(r"[\W_]+")
_ASCII = bytes(ord(chr(i).lower()) if chr(i).isalnum() and i < 128 else 32 for i in range(256))
_NUMBER = re.compile(r"\d+")
_MULTIPLIERS = (np.random.default_rng(20).integers(1, 2**31, VALUES, dtype=np.int64) * 2 + 1).astype(np.uint32)

Index = NDArray[np.int64]


def plain(text: str) -> str:
    """A text as it is compared: small letters, words and numbers only."""
    if text.isascii():  # ten times as fast
        return b" ".join(text.encode().translate(_ASCII).split()).decode()
    return _NOT_WORDS.sub(" ", text.casefold()).strip()


def repeats(keys: Sequence[int]) -> Index:
    """Indices of all but the first of equal `keys`, in order."""
    values = np.frombuffer(array("q", keys), np.int64) if not isinstance(keys, array) else np.frombuffer(keys, np.int64)
    order = np.argsort(values, kind="stable")
    again = values[order][1:] == values[order][:-1]
    return np.sort(order[1:][again])


def contradictions(questions: Sequence[int], answers: Sequence[int]) -> list[list[int]]:
    """Groups of indices with one question and more than one answer, in order of their first."""
    q, a = (
        np.frombuffer(keys if isinstance(keys, array) else array("q", keys), np.int64) for keys in (questions, answers)
    )
    order = np.argsort(q, kind="stable")
    edges = np.concatenate(([0], np.flatnonzero(q[order][1:] != q[order][:-1]) + 1, [len(q)]))
    several = np.flatnonzero(np.diff(edges) > 1)
    groups = (order[edges[i] : edges[i + 1]] for i in several)
    return sorted(group.tolist() for group in groups if np.any(a[group] != a[group[0]]))


class NearDuplicates:
    """Take texts in, in order; then say which are nearly a former one."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._signatures = bytearray()  # one that grows takes half the memory of pieces that are joined

    def add(self, text: str) -> None:
        """`text` as `plain` gives it."""
        self._waiting.append(text.encode("utf-8", "replace"))
        if len(self._waiting) == _BLOCK:
            self._hash()

    def pairs(self, without: Index | None = None) -> Index:
        """[n, 2] indices of texts that are probably alike, the earlier one first, each pair once.

        Texts at the indices `without` are left alone: exact repeats, which would meet in every band.
        """
        self._hash()
        signatures = np.frombuffer(self._signatures, np.uint16).reshape(-1, VALUES)
        kept = np.delete(np.arange(len(signatures)), without if without is not None else [])
        found = [np.empty((0, 2), np.int64)]
        for band in signatures.view(np.uint64).T:
            order = kept[np.argsort(band[kept], kind="stable")]
            for apart in range(1, NEIGHBOURS + 1):
                met = np.flatnonzero(band[order[apart:]] == band[order[:-apart]])
                for some in np.array_split(met, len(met) // _AT_ONCE + 1):
                    pairs = np.stack((order[some], order[some + apart]), axis=1)
                    alike = (signatures[pairs[:, 0]] == signatures[pairs[:, 1]]).mean(axis=1)
                    found.append(pairs[alike >= ALIKE_VALUES])
        return np.unique(np.concatenate(found), axis=0)

    def _hash(self) -> None:
        if self._waiting:
            self._signatures += _signatures(self._waiting).tobytes()
            self._waiting = []


def same_but_for_little(one: str, other: str) -> bool:
    """Whether two plain texts have nearly the same words and exactly the same numbers: “item 3” is not “item 4”."""
    if one == other:
        return True
    if _NUMBER.findall(one) != _NUMBER.findall(other):
        return False
    first, second = one.split(), other.split()
    shared = len(set(first) & set(second))
    return shared >= ALIKE_WORDS * len(set(first) | set(second))


def near(pairs: Index, text_of: Callable[[int], str]) -> list[int]:
    """The indices to leave out so that one of each group stays; `text_of` gives an index's plain text."""
    kept: dict[int, int] = {}  # index -> an earlier one that it is like

    def root(index: int) -> int:
        while index in kept:
            index = kept[index]
        return index

    for first, second in pairs.tolist():
        one, other = root(first), root(second)
        if one != other and same_but_for_little(text_of(first), text_of(second)):
            kept[max(one, other)] = min(one, other)
    return sorted(kept)


def _signatures(texts: list[bytes]) -> NDArray[np.uint16]:
    """[len(texts), VALUES]: the smallest hash of any piece, under as many orders of all pieces."""
    padded = [text if len(text) >= PIECE else text.ljust(PIECE) for text in texts]
    sizes = np.array([len(text) for text in padded])
    letters = np.frombuffer(b"".join(padded), np.uint8)
    count = len(letters) - PIECE + 1
    hashes = letters[:count].astype(np.uint32)
    for i in range(1, PIECE):
        hashes = (hashes * np.uint32(0x01000193)) ^ letters[i : count + i]
    hashes ^= hashes >> np.uint32(15)
    hashes *= np.uint32(0x2C1B3C6D)
    hashes ^= hashes >> np.uint32(12)
    within = np.ones(count, bool)
    ends = np.cumsum(sizes)[:-1]
    for i in range(1, PIECE):
        within[ends - i] = False  # pieces that begin in one text and end in the next
    hashes = hashes[within]
    starts = np.concatenate(([0], np.cumsum(sizes - PIECE + 1)[:-1]))
    made = np.empty((len(texts), VALUES), np.uint16)
    for k, multiplier in enumerate(_MULTIPLIERS):
        made[:, k] = np.minimum.reduceat(hashes * multiplier, starts) >> np.uint32(16)
    return made
