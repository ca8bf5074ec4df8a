"""When a run is looked at, and where what was seen goes."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from studio.core.conversation import Conversation
from workers import evaluate
from workers.best import Best
from workers.progress import Progress

LOOKING_SHARE = 0.15  # of the time; beyond it only the first, the last and the kept model give sample answers


class Look:
    """Looks at the model before, during and after training: loss on held-back examples, and sample answers."""

    def __init__(
        self,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        plan: evaluate.Plan,
        held_back: Sequence[Conversation],
        best: Best,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.losses: dict[int, float] = {}
        self.seconds_spent = 0.0  # on checks and answers
        self.best = best
        self._model, self._tokenizer, self._plan, self._progress = model, tokenizer, plan, progress
        self._say = say
        self._questions = evaluate.sample_questions(tokenizer, held_back)
        self._asked: list[int] = []  # the steps of the answers
        self._check_seconds = self._answer_seconds = 0.0
        self._began = monotonic()

    def before(self) -> None:
        self._measure(0)

    def state(self) -> dict[str, Any]:
        """What the next attempt has to know; answers lost in between are simply asked again or left out."""
        return {
            "losses": self.losses,
            "best": self.best.state(),
            "asked": self._asked,
            "spent": self.seconds_spent,
            "check": self._check_seconds,
            "ask": self._answer_seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.losses, self._asked = state["losses"], state["asked"]
        self.best.restore(state["best"])
        self.seconds_spent, self._check_seconds, self._answer_seconds = state["spent"], state["check"], state["ask"]

    def after(self, step: int) -> None:
        if step == 1:
            self.ask(0)  # after the first point is on the chart, with the adapter switched off
        if step in self._plan.steps:
            self._measure(step)
            if self.best.exhausted or step == max(self._plan.steps) or self._can_afford_answers():
                self.ask(step)

    def catch_up(self, step: int) -> None:
        """Look now if an earlier attempt ended after `step` without looking."""
        if step in self._plan.steps and step not in self.losses:
            self.after(step)

    def _can_afford_answers(self) -> bool:
        elapsed = monotonic() - self._began
        return self.seconds_spent + self._answer_seconds < LOOKING_SHARE * elapsed

    def seconds_left(self, step: int) -> float:
        checks = sum(s >= step for s in self._plan.steps)
        return self._check_seconds * checks + (self._answer_seconds if checks else 0.0)

    def _measure(self, step: int) -> None:
        if not self._plan.rows:
            return
        began = monotonic()
        pad = self._tokenizer.pad_token_id or 0
        found = evaluate.measure(self._model, self._plan.rows, pad, self._progress.check_wish)
        self._check_seconds = monotonic() - began
        self.seconds_spent += self._check_seconds
        self.losses[step] = found.loss
        if step:
            self.best.see(step, found.loss)
        self._progress.point(step, now=True, validation_loss=found.loss, validation_accuracy=found.accuracy)
        self._say(
            f"Step {step}: loss on {len(self._plan.rows)} held-back examples {found.loss:.4f}, "
            f"{found.accuracy:.0%} of their tokens right ({self._check_seconds:.1f} s)."
        )

    def ask(self, step: int) -> None:
        """Sample answers of the model as it is, kept as those of `step`, unless there are some."""
        if not self._questions or step in self._asked:
            return
        began = monotonic()
        found = evaluate.answers(self._model, self._tokenizer, self._questions, self._progress.check_wish, step > 0)
        self._answer_seconds = monotonic() - began
        self.seconds_spent += self._answer_seconds
        self._asked.append(step)
        for position, (asked, answer) in enumerate(zip(self._questions, found, strict=True)):
            self._progress.sample(step, position, asked.question, asked.answer, answer)
