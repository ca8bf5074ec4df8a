from dataclasses import replace

import pytest

from studio.diagnostics import duration
from studio.diagnostics.duration import Estimate, Past, Step, estimate, work
from tests.studio.diagnostics.test_forecast import FACTS

STEP = Step("starter", 4, checkpointing=False, autocast=False, trainable=1000, work=100.0)
PAST = Past(STEP, steps=50, seconds_per_step=2.0, looking=0.0, around=20.0)


def told(pasts: list[Past], step: Step = STEP, steps: int = 100, looks: bool = False) -> Estimate:
    found = estimate(step, steps, looks, pasts)
    assert found
    return found


def test_a_run_like_a_past_one_takes_as_long() -> None:
    found = told([PAST])
    assert found.seconds == pytest.approx(20 + 100 * 2.0)
    assert 0.85 < found.low / found.seconds < 1 < found.high / found.seconds < 1.2
    assert found.alike


def test_twice_the_work_takes_twice_as_long_and_the_less_alike_the_wider_the_bar() -> None:
    same, twice, other = (
        told([PAST], step) for step in (STEP, replace(STEP, work=200.0), replace(STEP, base_id="another", bits=16))
    )
    assert twice.seconds == pytest.approx(20 + 100 * 4.0)
    assert twice.high / twice.seconds > same.high / same.seconds
    assert other.high / other.seconds > 1.5
    assert not twice.alike and not other.alike


def test_other_layers_that_learn_are_not_much_like_it() -> None:
    assert not told([PAST], replace(STEP, trainable=200)).alike


def test_runs_that_are_alike_count_more_however_many_others_there_are() -> None:
    others = [replace(PAST, step=replace(STEP, base_id="another", bits=16), seconds_per_step=9.0)] * 100
    assert told([*others, PAST]).seconds == pytest.approx(220, rel=0.05)


def test_the_newest_of_those_alike_count() -> None:
    slow = replace(PAST, seconds_per_step=6.0)  # of before the computer was made quicker
    assert told([*[PAST] * duration.NEAREST, *[slow] * 50]).seconds == pytest.approx(220)


def test_layers_that_need_autocast_take_longer_until_such_a_run_is_known() -> None:
    wanted = replace(STEP, autocast=True)
    assert told([PAST], wanted).seconds == pytest.approx(20 + 200 * duration.AUTOCAST_TAKES)
    known = replace(PAST, step=wanted, seconds_per_step=3.0)
    assert told([PAST, known], wanted).seconds == pytest.approx(320, rel=0.05)


def test_nothing_is_known_before_the_first_run() -> None:
    assert estimate(STEP, 100, True, []) is None


def test_a_run_with_held_back_examples_takes_checks_and_answers_besides() -> None:
    assert told([PAST], looks=True).seconds == pytest.approx(20 + 200 * (1 + duration.USUAL_LOOKING))


def test_what_looking_takes_is_learned_from_the_run_that_is_nearest_in_length() -> None:
    short = replace(PAST, steps=10, looking=20.0)  # sample answers take as long as all its steps
    long = replace(PAST, steps=150, looking=30.0)
    assert told([short, long], looks=True).seconds == pytest.approx(20 + 200 * 1.1)
    assert told([short, long], looks=False).seconds == pytest.approx(20 + 200)


def test_work_grows_with_tokens_length_passes_and_checkpointing() -> None:
    def of(tokens: float = 1000, length: float = 500, passes: int = 1, checkpointing: bool = False) -> float:
        return work(FACTS, FACTS.trainable_parameters, tokens, length, passes, checkpointing)

    assert 1.6 * of() < of(tokens=2000) < 2 * of()  # what a pass takes for itself stays
    assert of(tokens=2000, passes=2) == pytest.approx(2 * of())
    assert of(checkpointing=True) > 1.3 * of()
    assert of(length=4000) > of()
