"""What both plain scripts measure of their training, by transformers' callbacks."""

import json
import resource
import time
from typing import Any

from transformers import TrainerCallback


class Stopwatch(TrainerCallback):
    """Wall and processor seconds of every step, and when the first losses were there. `started` is monotonic time."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.wall: list[float] = []
        self.processor: list[float] = []
        self.losses: list[float] = []
        self.first: dict[str, float] = {}

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.monotonic(), time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.wall.append(time.monotonic() - self.began[0])
        self.processor.append(time.process_time() - self.began[1])

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        if "eval_loss" in logs:
            self.first.setdefault("validation", time.monotonic() - self.started)
        if "loss" in logs:
            self.losses.append(logs["loss"])
            self.first.setdefault("train", time.monotonic() - self.started)

    def print(self) -> None:
        """All of it and the process's peak memory, as one JSON line."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / (1 << 30)
        measured = {name: getattr(self, name) for name in ("wall", "processor", "losses", "first")}
        print(json.dumps(measured | {"peak_memory_gib": peak}))
