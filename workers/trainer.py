"""transformers' Trainer with our batches and checkpoints, and the callback that reports on it."""

import math
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
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
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback

from studio.core.recipe import Recipe
from studio.core.run_state import Wish
from workers import methods, optimizers, snapshot
from workers.attempt import BadLoss
from workers.batches import ByLength, collate
from workers.checkpoints import Keeper
from workers.look import Look
from workers.probe import GIB, Machine
from workers.progress import Interrupted, Progress, StopAsked
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

    @property
    def warm_up_seconds(self) -> float:
        """What the first two took beyond the usual."""
        return sum(max(0.0, first - self.seconds_per_step) for first in self.step_seconds[:2])


class AlreadyOver(Exception):
    """The run is at its end; only its adapter is still to be written."""


class AnswerTrainer(Trainer):
    """Trains on rows of tokens, grouped by length; evaluates, logs and saves nothing by itself.

    A batch goes through the model in pieces of `micro_batch` rows if that is given; the step stays the same.
    """

    def __init__(
        self,
        model: PeftModel,
        rows: Sequence[Row],
        pad: int,
        recipe: Recipe,
        args: TrainingArguments,
        batches: ByLength,
        micro_batch: int | None = None,
    ) -> None:
        super().__init__(model=model, args=args)
        self.remove_callback(PrinterCallback)
        self.rows, self.pad, self.recipe, self.batches = rows, pad, recipe, batches
        self.micro_batch = micro_batch
        self.tally = Tally()
        self._correct: Tensor | int = 0  # learned tokens predicted right since `accuracy` was asked
        self._learned_before = 0
        self._restored: dict[str, Any] = {}

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = optimizers.create(self.recipe, methods.parameter_groups(self.learner, self.recipe))
        return self.optimizer

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
        rows = len(inputs["input_ids"])
        size = self.micro_batch or rows
        losses = [
            super(AnswerTrainer, self).training_step(
                model, {name: part[start : start + size] for name, part in inputs.items()}, num_items_in_batch
            )
            for start in range(0, rows, size)
        ]
        self.tally.tokens += tokens
        self.tally.learned_tokens += learned
        return torch.stack(losses).sum() if len(losses) > 1 else losses[0]

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        value, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        self._correct = outputs["correct"] + self._correct
        return (value, outputs) if return_outputs else value

    def accuracy(self) -> float:
        """The share of learned tokens predicted right, since this was last asked."""
        learned = self.tally.learned_tokens - self._learned_before
        share = float(self._correct) / max(1, learned)
        self._correct, self._learned_before = 0, self.tally.learned_tokens
        return share

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # nobody reads it, and counting the model's parameters at every step takes longer than the optimizer

    @property
    def learner(self) -> PeftModel:
        assert isinstance(self.model, PeftModel)
        return self.model

    def is_sound(self) -> bool:
        """Whether every weight that learns is still a number."""
        return snapshot.are_finite(self.learner)

    def write_state(self, folder: Path, **more: Any) -> None:
        """All that `train(resume_from_checkpoint=folder)` needs to go on exactly, and `more` for `read_state`."""
        assert self.optimizer is not None and self.lr_scheduler is not None
        self.state.log_history.clear()  # the database has it
        self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
        scaler = self.accelerator.scaler
        snapshot.save(
            folder,
            {
                "weights": snapshot.learning_weights(self.learner),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.lr_scheduler.state_dict(),
                "scaler": scaler.state_dict() if scaler else {},
                "random": snapshot.random_numbers(),
                "method": methods.state(self.learner),
                "tally": asdict(self.tally),
                **more,
            },
        )

    def read_state(self, folder: Path) -> dict[str, Any]:
        """The state in `folder`, taken over by the trainer when it trains from there."""
        self._restored = snapshot.load(folder)
        self.tally = Tally(**self._restored["tally"])
        self._learned_before = self.tally.learned_tokens
        return self._restored

    def take_weights(self) -> None:
        """Put the weights of the state that was read into the model, to keep them without training on."""
        snapshot.restore_weights(self.learner, self._restored["weights"])
        methods.restore(self.learner, self._restored["method"])

    def state_bytes(self) -> int:
        """About what `write_state` will take: the weights that learn, two moments of each, and the best ones."""
        return (4 if self.recipe.keep_best else 3) * sum(
            w.nbytes for w in snapshot.learning_weights(self.learner).values()
        )

    # what transformers calls when it goes on from a checkpoint, each in its own good time

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        self.take_weights()
        self.batches.epoch = TrainerState.load_from_json(
            str(Path(resume_from_checkpoint) / TRAINER_STATE_NAME)
        ).global_step // -(-len(self.batches) // self.args.gradient_accumulation_steps)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        assert self.optimizer is not None and self.lr_scheduler is not None
        wanted = [group["initial_lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(self._restored["optimizer"])
        groups = self.optimizer.param_groups
        for group, rate in zip(groups, wanted, strict=True):  # it may have become gentler since
            group["lr"] *= rate / group["initial_lr"]
            group["initial_lr"] = rate
        now = {"base_lrs": wanted, "_last_lr": [group["lr"] for group in groups]}
        self.lr_scheduler.load_state_dict(self._restored["scheduler"] | now)

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self._restored["scaler"]:
            self.accelerator.scaler.load_state_dict(self._restored["scaler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            snapshot.restore_random_numbers(self._restored["random"])


def arguments(
    recipe: Recipe, machine: Machine, total_steps: int, folder: Path, autocast: bool, checkpointing: bool
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=total_steps,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation,
        **optimizers.schedule(recipe, total_steps),
        max_grad_norm=recipe.max_gradient_norm,
        neftune_noise_alpha=recipe.neftune_alpha or None,
        activation_checkpointing=checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if checkpointing else None,
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
    """Reports every step, looks at the model when `look` wants to, and ends training when the user wishes or nothing
    gets better any more."""

    def __init__(
        self, progress: Progress, trainer: AnswerTrainer, total_steps: int, look: Look, keeper: Keeper, machine: Machine
    ) -> None:
        self.progress, self.trainer, self.total_steps = progress, trainer, total_steps
        self.look, self.keeper, self.machine = look, keeper, machine
        self._elapsed = 0.0  # of earlier attempts
        self._began = monotonic()
        self._step_began = 0.0
        self._tokens_before = 0
        self._smooth = 0.0

    @property
    def tally(self) -> Tally:
        return self.trainer.tally

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._began = monotonic() - self._elapsed
        with suppress(StopAsked, Interrupted):  # the first step sees it too
            self.look.catch_up(state.global_step)
        if self.look.best.exhausted or state.global_step >= self.total_steps:
            raise AlreadyOver  # transformers would take one more step

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._step_began, self._tokens_before = monotonic(), self.tally.tokens

    def on_optimizer_step(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        methods.after_step(self.trainer.learner, state.global_step + 1)

    def on_substep_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.progress.check()
        # in the middle of a step nothing can be saved to go on from exactly, so the others wait for its end
        control.should_training_stop = self.progress.wish is Wish.DISCARD

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        seconds = monotonic() - self._step_began
        self.tally.step_seconds.append(seconds)
        self._smooth = seconds if state.global_step <= 2 else self._smooth + SMOOTHING * (seconds - self._smooth)
        self.progress.check()
        control.should_training_stop |= self.progress.ends

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **about: Any) -> None:
        logs: dict[str, float] = about["logs"]
        if "loss" not in logs:
            return  # the Trainer's own closing words
        step, loss = state.global_step, logs["loss"]
        if not math.isfinite(loss):
            raise BadLoss(step)
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
            token_accuracy=self.trainer.accuracy(),
            seconds=monotonic() - self._began,
        )
        self.progress.tell(
            step=step, seconds_left=self._smooth * (self.total_steps - step) + self.look.seconds_left(step)
        )
        try:
            if not self.progress.ends:
                self.look.after(step)
                if self.keeper.due(step):
                    self.save(step)
        except (StopAsked, Interrupted):
            control.should_training_stop = True
        control.should_training_stop |= self.look.best.exhausted

    def save(self, step: int) -> None:
        """A checkpoint, unless what was learned is broken: then the last one is the better place to go on from."""
        if self.trainer.is_sound():
            seen = {"look": self.look.state(), "elapsed": monotonic() - self._began, "smooth": self._smooth}
            self.keeper.save(
                step, self.trainer.state_bytes(), lambda folder: self.trainer.write_state(folder, watch=seen)
            )

    def restore(self, seen: dict[str, Any]) -> None:
        self.look.restore(seen["look"])
        self._elapsed, self._smooth = seen["elapsed"], seen["smooth"]


def memory_gib(device: str) -> float:
    """What the process holds now; on a graphics card, what tensors hold there."""
    held = torch.cuda.memory_allocated() if device == "cuda" else psutil.Process().memory_info().rss
    return float(held / GIB)


def peak_memory_gib(device: str) -> float:
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated() / GIB)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB
