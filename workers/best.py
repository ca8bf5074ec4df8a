"""The best check of a run: its weights are kept, and training ends when it stays the best for too long."""

from typing import Any

from peft import PeftModel
from torch import Tensor

from workers import methods, snapshot

LEAST_IMPROVEMENT = 1e-4  # nats per token; what a loss falls by less is noise of the arithmetic


class Best:
    """Keeps a copy of what learns, in the computer's own memory, whenever the held-back loss has improved.

    `patience` is the number of checks in a row without improvement after which `exhausted` is true; 0 is endless.
    With `keep` off no weights are kept.
    """

    def __init__(self, model: PeftModel, keep: bool, patience: int) -> None:
        self.step: int | None = None
        self.loss = float("inf")
        self._model, self._keep, self._patience = model, keep, patience
        self._without = 0  # checks since the best one
        self._weights: dict[str, Tensor] = {}
        self._method: dict[str, Any] = {}

    @property
    def exhausted(self) -> bool:
        return bool(self._patience) and self._without >= self._patience

    def see(self, step: int, loss: float) -> None:
        if not loss < self.loss - LEAST_IMPROVEMENT:  # also if it is no number
            self._without += 1
            return
        self.step, self.loss, self._without = step, loss, 0
        if self._keep:
            weights = snapshot.learning_weights(self._model)
            self._weights = {name: weight.detach().cpu().clone() for name, weight in weights.items()}
            self._method = methods.state(self._model)

    def put_back(self) -> bool:
        """Give the model the best weights. False if none are kept."""
        if not self._weights:
            return False
        snapshot.restore_weights(self._model, self._weights)
        methods.restore(self._model, self._method)
        return True

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "loss": None if self.step is None else self.loss,
            "without": self._without,
            "weights": self._weights,
            "method": self._method,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.step, self._without = state["step"], state["without"]
        self.loss = float("inf") if self.step is None else state["loss"]
        self._weights, self._method = state["weights"], state["method"]
