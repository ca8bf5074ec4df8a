"""Numbers as people say them."""

import pytest

from studio.ui import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (3, "less than a minute"),
        (60, "about 1 min"),
        (3540, "about 59 min"),
        (3600, "about 1 h"),
        (5400, "about 1 h 30 min"),
        (40_000, "about 11 hours"),
    ],
)
def test_a_duration_in_words(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(0.3, "less than one pass"), (1, "about 1 pass"), (5, "about 5 passes"), (2.46, "about 2.5 passes")],
)
def test_passes_in_words(number: float, said: str) -> None:
    assert words.passes(number) == said
