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


def split(
    conversations: Sequence[Conversation], fraction: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """(to learn from, held back), each in the order of the file."""
    held_back = set(Random(seed).sample(range(len(conversations)), validation_count(len(conversations), fraction)))
    train = [c for i, c in enumerate(conversations) if i not in held_back]
    return train, [c for i, c in enumerate(conversations) if i in held_back]
