"""transformers' Trainer with our batches and without what we don't use, and the callback that reports on it."""

import math
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import psutil
import torch
from peft import PeftModel
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import SchedulerType

from studio.core.errors import StudioError
from studio.core.recipe import Recipe
from workers.batches import ByLength, collate
from workers.look import Look
from workers.probe import GIB, Machine
from workers.progress import Progress, StopAsked
from workers.tokens import Row

SMOOTHING = 0.1  # weight of the newest step in the seconds per step that the time left is reckoned from


@dataclass
class Tally:
    """What a run adds up to."""

    tokens: int = 0  # trained on, padding not counted
    learned_tokens: int = 0
    step_seconds: list[float] = field(default_factory=list)
    first_loss: float | None = None
    last_loss: float | None = None

    @property
    def seconds_per_step(self) -> float:
        """The usual one: the median, without the first two, which pay for warming up."""
        return median(self.step_seconds[2:] or self.step_seconds or [0.0])


class AnswerTrainer(Trainer):
    """Trains on rows of tokens, grouped by length; evaluates, logs and saves nothing by itself."""

    def __init__(
        self, model: PeftModel, rows: Sequence[Row], pad: int, args: TrainingArguments, batches: ByLength
    ) -> None:
        super().__init__(model=model, args=args)
        self.remove_callback(PrinterCallback)
        self.rows, self.pad, self.batches = rows, pad, batches
        self.tally = Tally()

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.rows, batch_sampler=self.batches, collate_fn=self._collate)  # type: ignore[arg-type]

    def _collate(self, rows: Sequence[Row]) -> dict[str, Any]:
        return {
            **collate(rows, self.pad),
            "counts": (sum(len(row.ids) for row in rows), sum(row.learned for row in rows)),
        }

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        tokens, learned = inputs.pop("counts")
        self.tally.tokens += tokens
        self.tally.learned_tokens += learned
        return super().training_step(model, inputs, num_items_in_batch)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # nobody reads it, and counting the model's parameters at every step takes longer than the optimizer


def arguments(recipe: Recipe, machine: Machine, total_steps: int, folder: Path, autocast: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=total_steps,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="constant_with_warmup" if recipe.scheduler == "constant" else SchedulerType(recipe.scheduler),
        warmup_steps=math.ceil(recipe.warmup_ratio * total_steps),
        weight_decay=recipe.weight_decay,
        optim="adamw_torch_fused",
        bf16=autocast and machine.compute_dtype == "bfloat16",
        fp16=machine.compute_dtype == "float16",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=machine.device == "cuda",
        use_cpu=machine.device == "cpu",
        seed=recipe.seed,
    )


class Watch(TrainerCallback):
    """Reports every step, looks at the model when `look` wants to, and ends training when the user wishes."""

    def __init__(self, progress: Progress, tally: Tally, total_steps: int, look: Look, machine: Machine) -> None:
        self.progress, self.tally, self.total_steps, self.look, self.machine = (
            progress,
            tally,
            total_steps,
            look,
            machine,
        )
        self._began = monotonic()
        self._step_began = 0.0
        self._tokens_before = 0
        self._smooth = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._began = monotonic()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._step_began, self._tokens_before = monotonic(), self.tally.tokens

    def on_substep_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.progress.check()
        control.should_training_stop = self.progress.wish is not None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        seconds = monotonic() - self._step_began
        self.tally.step_seconds.append(seconds)
        self._smooth = seconds if state.global_step <= 2 else self._smooth + SMOOTHING * (seconds - self._smooth)
        self.progress.check()
        control.should_training_stop |= self.progress.wish is not None

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **about: Any) -> None:
        logs: dict[str, float] = about["logs"]
        if "loss" not in logs:
            return  # the Trainer's own closing words
        step, loss = state.global_step, logs["loss"]
        if not math.isfinite(loss):
            raise StudioError(
                f"The loss stopped being a number at step {step}: the corrections were too large.",
                "Choose a smaller learning rate, for example a third of this one, and start again.",
            )
        if self.tally.first_loss is None:
            self.tally.first_loss = loss
        self.tally.last_loss = loss
        self.progress.point(
            step,
            now=step == 1,
            train_loss=loss,
            learning_rate=logs["learning_rate"],
            gradient_norm=logs.get("grad_norm"),
            tokens=self.tally.tokens,
            tokens_per_second=(self.tally.tokens - self._tokens_before) / self.tally.step_seconds[-1],
            memory_gib=memory_gib(self.machine.device),
            seconds=monotonic() - self._began,
        )
        self.progress.tell(
            step=step, seconds_left=self._smooth * (self.total_steps - step) + self.look.seconds_left(step)
        )
        try:
            if self.progress.wish is None:
                self.look.after(step)
        except StopAsked:
            control.should_training_stop = True


def memory_gib(device: str) -> float:
    """What the process holds now; on a graphics card, what tensors hold there."""
    held = torch.cuda.memory_allocated() if device == "cuda" else psutil.Process().memory_info().rss
    return float(held / GIB)


def peak_memory_gib(device: str) -> float:
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated() / GIB)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
