from hypothesis import given
from hypothesis import strategies as st

from studio.core.conversation import Conversation, Message
from studio.core.recipe import MAX_VALIDATION_ROWS
from studio.data.split import split, validation_count

ROWS = [Conversation((Message("user", str(n)), Message("assistant", str(n))), n) for n in range(100)]


def test_the_same_seed_gives_the_same_split() -> None:
    assert split(ROWS, 0.1, 7) == split(ROWS, 0.1, 7) != split(ROWS, 0.1, 8)


@given(st.integers(0, 10_000), st.floats(0, 0.5))
def test_something_is_always_left_to_learn_from(rows: int, fraction: float) -> None:
    held_back = validation_count(rows, fraction)
    assert 0 <= held_back <= MAX_VALIDATION_ROWS
    assert rows == 0 or held_back < rows


def test_every_row_is_on_one_side() -> None:
    train, held_back = split(ROWS, 0.2, 1)
    assert sorted(c.row for c in train + held_back) == list(range(100)) and len(held_back) == 20
