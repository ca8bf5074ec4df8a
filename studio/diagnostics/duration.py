"""How long a run will take, learned from what like it took. Pure functions, no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

from studio.diagnostics.forecast import Facts

AUTOCAST_TAKES = 1.9  # times as long as the layers of `workers.lora`: plain TRL to the studio in `benchmarks/training`
PASS_TOKENS = 400  # what a batch of no tokens would take, in tokens: weights are read, and those in 4 bit unpacked
USUAL_LOOKING = 0.2  # checks and sample answers to steps, see `CHECK_SHARE` and `LOOKING_SHARE` of the workers
NEAREST = 5  # pasts that are learned from
ALIKE = 0.15  # distance up to which a past is as good as a probe


@dataclass(frozen=True)
class Step:
    """What a step has to do. Steps that are alike in it take alike long."""

    base_id: str
    bits: int
    checkpointing: bool
    autocast: bool  # PEFT's own layers, where `workers.lora` cannot take over
    trainable: int
    work: float  # see `work`


@dataclass(frozen=True)
class Past:
    """A run of this machine that has ended, or a probe."""

    step: Step
    steps: int
    seconds_per_step: float
    looking: float  # seconds of checks and sample answers; 0: there were none
    around: float  # seconds before and after the steps: loading, checking, warming up, saving


@dataclass(frozen=True)
class Estimate:
    """Seconds, and between which they will lie in two runs of three."""

    seconds: float
    low: float
    high: float
    alike: bool  # whether it is learned from something much like it


def work(facts: Facts, trainable: int, tokens: float, length: float, passes: int, checkpointing: bool) -> float:
    """Floating-point operations of a step over `tokens`, in rows of `length` and batches of `tokens / passes`, about.

    Two for each weight and token forward, two more for the gradient that passes through it, two more for its own
    gradient where it learns; a checkpointed layer is computed once more. Only learned positions reach the head. What
    learns counts twice, because its products are thin.
    """
    each = 6 if checkpointing else 4
    matrices = each * facts.linear_parameters + 2 * 6 * trainable + 4 * facts.hidden * facts.vocabulary / 2
    attention = (each + 2) * facts.layers * facts.hidden * length
    return tokens * (matrices + attention) + passes * PASS_TOKENS * matrices


def estimate(step: Step, steps: int, looks: bool, pasts: Sequence[Past]) -> Estimate | None:
    """Of a whole run, from loading to the saved adapter; None where nothing is known.

    `pasts`: the newest first. `looks`: whether the run has held-back examples to look at.
    """
    known = sorted(((_distance(step, past.step), past) for past in pasts), key=lambda pair: pair[0])[:NEAREST]
    if not known:
        return None
    weights = [1 / (0.05 + distance) ** 2 for distance, _ in known]

    def mean(of: Callable[[Past], float]) -> float:
        return sum(w * of(past) for w, (_, past) in zip(weights, known, strict=True)) / sum(weights)

    def guess(past: Past) -> float:
        slower = AUTOCAST_TAKES ** (step.autocast - past.step.autocast)
        return log(past.seconds_per_step * slower * step.work / past.step.work)

    middle = mean(guess)
    spread = mean(lambda past: (guess(past) - middle) ** 2)
    error = sqrt(0.12**2 + spread + (0.3 * known[0][0]) ** 2)
    around, looking = mean(lambda past: past.around), _looking(steps * exp(middle), pasts) if looks else 0.0
    seconds, low, high = (around + steps * exp(middle + side) * (1 + looking) for side in (0, -error, error))
    return Estimate(seconds, low, high, alike=known[0][0] < ALIKE)


def _looking(stepping: float, pasts: Sequence[Past]) -> float:
    """Checks and sample answers as a part of the steps: a run half as long takes nearly as many."""
    known = [past for past in pasts if past.looking]
    if not known:
        return USUAL_LOOKING
    near = min(known, key=lambda past: abs(log(stepping / (past.steps * past.seconds_per_step))))
    return near.looking / (near.steps * near.seconds_per_step)


def _distance(wanted: Step, past: Step) -> float:
    return (
        abs(log(wanted.work / past.work)) / 2
        + abs(log(wanted.trainable / past.trainable)) / 8
        + 1.5 * (wanted.base_id != past.base_id)
        + 0.7 * (wanted.bits != past.bits)
        + 0.4 * (wanted.checkpointing != past.checkpointing)
        + 0.4 * (wanted.autocast != past.autocast)
    )
