"""When a run is looked at, and where what was seen goes."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from studio.core.conversation import Conversation
from workers import evaluate
from workers.progress import Progress

LOOKING_SHARE = 0.15  # of the time; sample answers between the first and the last are left out beyond it


class Look:
    """Looks at the model before, during and after training: loss on held-back examples, and sample answers."""

    def __init__(
        self,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        plan: evaluate.Plan,
        held_back: Sequence[Conversation],
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.losses: dict[int, float] = {}
        self._model, self._tokenizer, self._plan, self._progress = model, tokenizer, plan, progress
        self._say = say
        self._questions = evaluate.sample_questions(tokenizer, held_back)
        self._check_seconds = self._answer_seconds = self._spent = 0.0
        self._began = monotonic()

    def before(self) -> None:
        self._measure(0)

    def state(self) -> dict[str, Any]:
        """What the next attempt has to know; answers lost in between are simply asked again or left out."""
        return {"losses": self.losses, "spent": self._spent, "check": self._check_seconds, "ask": self._answer_seconds}

    def restore(self, state: dict[str, Any]) -> None:
        self.losses = state["losses"]
        self._spent, self._check_seconds, self._answer_seconds = state["spent"], state["check"], state["ask"]

    def after(self, step: int) -> None:
        if step == 1:
            self._ask(0)  # after the first point is on the chart, with the adapter switched off
        if step in self._plan.steps:
            self._measure(step)
            if step == max(self._plan.steps) or self._can_afford_answers():
                self._ask(step)

    def catch_up(self, step: int) -> None:
        """Look now if an earlier attempt ended after `step` without looking."""
        if step in self._plan.steps and step not in self.losses:
            self.after(step)

    def _can_afford_answers(self) -> bool:
        elapsed = monotonic() - self._began
        return self._spent + self._answer_seconds < LOOKING_SHARE * elapsed

    def seconds_left(self, step: int) -> float:
        checks = sum(s >= step for s in self._plan.steps)
        return self._check_seconds * checks + (self._answer_seconds if checks else 0.0)

    def _measure(self, step: int) -> None:
        if not self._plan.rows:
            return
        began = monotonic()
        pad = self._tokenizer.pad_token_id or 0
        value = evaluate.validation_loss(self._model, self._plan.rows, pad, self._progress.check_wish)
        self._check_seconds = monotonic() - began
        self._spent += self._check_seconds
        self.losses[step] = value
        self._progress.point(step, now=True, validation_loss=value)
        self._say(
            f"Step {step}: loss on {len(self._plan.rows)} held-back examples {value:.4f} ({self._check_seconds:.1f} s)."
        )

    def _ask(self, step: int) -> None:
        if not self._questions:
            return
        began = monotonic()
        found = evaluate.answers(self._model, self._tokenizer, self._questions, self._progress.check_wish, step > 0)
        self._answer_seconds = monotonic() - began
        self._spent += self._answer_seconds
        for position, (asked, answer) in enumerate(zip(self._questions, found, strict=True)):
            self._progress.sample(step, position, asked.question, asked.answer, answer)
