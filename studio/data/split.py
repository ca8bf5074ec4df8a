"""Which examples are learned from and which are held back. The same seed and data give the same split."""

from collections.abc import Sequence
from random import Random

from studio.core.conversation import Conversation
from studio.core.recipe import MAX_VALIDATION_ROWS


def validation_count(rows: int, fraction: float) -> int:
    """How many of `rows` examples are held back: at least one if any are wanted and two or more exist."""
    if fraction == 0 or rows < 2:
        return 0
    return max(1, min(round(rows * fraction), MAX_VALIDATION_ROWS, rows - 1))


def held_back(rows: int, fraction: float, seed: int) -> set[int]:
    """Which of so many examples are held back, drawn at random."""
    return set(Random(seed).sample(range(rows), validation_count(rows, fraction)))


def held_back_groups(groups: Sequence[str], fraction: float, seed: int) -> set[int]:
    """Which examples are held back if those with the same name in `groups` stay together.

    Whole groups are drawn until there are enough examples; at least one group stays to learn from. An example without
    a name is a group of its own.
    """
    members: dict[str | int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group or index, []).append(index)
    wanted, chosen = validation_count(len(groups), fraction), set[int]()
    for name in Random(seed).sample(list(members), len(members))[1:]:
        if len(chosen) >= wanted:
            break
        chosen.update(members[name])
    return chosen


def split(
    conversations: Sequence[Conversation], fraction: float, seed: int, groups: Sequence[str] | None = None
) -> tuple[list[Conversation], list[Conversation]]:
    """(to learn from, held back), each in the order of the file; with `groups`, those of one name on one side."""
    chosen = (
        held_back(len(conversations), fraction, seed) if groups is None else held_back_groups(groups, fraction, seed)
    )
    train = [c for i, c in enumerate(conversations) if i not in chosen]
    return train, [c for i, c in enumerate(conversations) if i in chosen]
