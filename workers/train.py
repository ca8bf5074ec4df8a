"""Train one run. By hand, without web app or queue:

    python -m workers.train RUN [--home DIR] [--fence N] [--log]

or, to have a process with everything imported wait for its run (one line on stdin, {"run": 42, "fence": 3}):

    python -m workers.train --standby [--home DIR]

Knows nothing of screens: reads the run from the database, leaves metrics, samples and an adapter.
Ends with 0 if the run ended as its user wished, with 1 if it did not and the run's row says why, with 143 if it was
told to end: then the run has a checkpoint and waits for another process.
"""

import os

# Both are read when torch and tokenizers are loaded. Without PASSIVE idle threads burn the processor that others need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import argparse
import gc
import json
import logging
import signal
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedTokenizerBase, set_seed
from transformers.utils import logging as transformers_logging

from studio.core.adjustments import Adjustments
from studio.core.catalog import CATALOG, STARTER
from studio.core.errors import ModelError, StudioError
from studio.core.lifeline import end_with_parent
from studio.core.recipe import Recipe
from studio.core.run_state import Phase, RunStatus, Wish
from studio.diagnostics.lengths import packed_length
from studio.settings import Settings
from studio.store import adapters, base_models, metrics, runs
from studio.store.artifacts import file_sha256, publish
from studio.store.base_models import BaseModel
from studio.store.db import Database, open_database
from studio.store.home import Home
from studio.store.locks import Held, exclusive
from studio.store.runs import Claim
from studio.store.tables import Checkpoint, Run
from workers import activations, evaluate, loss, methods, starts
from workers.attempt import Outcome, say, work
from workers.batches import ByLength
from workers.best import Best
from workers.checkpoints import Keeper
from workers.examples import parts
from workers.look import Look
from workers.model import Loaded, attention_for, load_base
from workers.probe import Machine, probe
from workers.progress import Interrupted, Progress, StopAsked
from workers.starter import ensure_base
from workers.tokens import Encoded, encode, load_tokenizer, pack, require_rows
from workers.trainer import AlreadyOver, AnswerTrainer, Watch, arguments, peak_memory_gib

ROWS_TOLD = 20  # numbers of skipped rows that the summary lists


def train(home: Home, db: Database, run: Run, progress: Progress) -> Outcome:
    """The run, from its row in the database to its adapter on disk, or on from its newest checkpoint.

    Raises StopAsked, Interrupted, Lost or what went wrong.
    """
    recipe = Recipe.model_validate(run.recipe)
    adjustments = Adjustments.model_validate(run.adjustments)
    set_seed(recipe.seed)

    progress.phase(Phase.LOADING)
    keeper = Keeper(db, home, progress, recipe.checkpoint_minutes * 60, recipe.checkpoint_steps)
    checkpoint, damaged = keeper.begin()
    for broken in damaged:
        say(f"The checkpoint of step {broken.step} is damaged; it is left out.")
    machine = probe()
    progress.tell(device=machine.device_name)
    base = ensure_base(home.models, run.base_id, say)
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(base_models.fingerprint, base.path)
        say(f"Loading {base.name} ({base.source}) in {recipe.bits} bit on {machine.device_name}.")
        tokenizer = load_tokenizer(base.path)
        to_learn, held_back = parts(home, run, recipe)
        encoded, checked = (encode(tokenizer, part, recipe.max_length) for part in (to_learn, held_back))
        require_rows(encoded, recipe.max_length)
        progress.check_wish(keep_later=checkpoint is not None)
        rows = encoded.rows
        if recipe.packing:
            rows = pack(rows, packed_length(max(len(row.ids) for row in rows), recipe.max_length))
        longest = max(len(row.ids) for row in [*rows, *checked.rows])
        loaded = load_base(
            base, recipe.bits, machine, attention_for(longest, machine), recipe.quantization, recipe.double_quantization
        )
        progress.check_wish(keep_later=checkpoint is not None)
        fingerprint = reading.result()
    if loaded.notice:
        say(loaded.notice)
    if run.base_fingerprint not in (None, fingerprint):
        raise ModelError(
            f"The files of {base.name} have changed since this run began, so it cannot go on with them.",
            "Put the former files back, or start the run anew.",
        )
    notice = _notice(loaded, checkpoint, damaged)
    progress.tell(base_fingerprint=fingerprint, notice=notice)
    loss.install(loaded.model, recipe.label_smoothing)
    fresh = checkpoint is None and run.parent_id is None
    first = starts.batch_of(rows, tokenizer.pad_token_id or 0) if fresh else None
    model = methods.attach(loaded.model, recipe, _public_name(base), recipe.steps(len(rows)), first)
    if run.parent_id is not None:
        methods.begin_from(model, adapters.whole(db, home, run.parent_id, fingerprint))
    autocast = methods.needs_autocast(model)

    total_steps = recipe.steps(len(rows))
    progress.tell(total_steps=total_steps)
    batches = ByLength([len(row.ids) for row in rows], recipe.batch_size, recipe.seed)
    an_epoch = recipe.model_copy(update={"epochs": 1, "max_steps": 0}).steps(len(rows))
    plan = evaluate.plan(checked.rows, total_steps, sum(batches.lengths) * total_steps // an_epoch)
    best = Best(model, recipe.keep_best, recipe.patience)
    look = Look(model, tokenizer, plan, held_back, best, progress, say)
    gentle = recipe.model_copy(update={"learning_rate": recipe.learning_rate * adjustments.learning_rate_factor})
    shape = (adjustments.micro_batch or recipe.batch_size, max(batches.lengths))
    choice = "on" if adjustments.gradient_checkpointing else recipe.gradient_checkpointing
    checkpointing = activations.wanted(choice, loaded.model, *shape, machine)
    if checkpointing:
        say("To save memory, activations are computed twice instead of kept.")
    settings = arguments(gentle, machine, total_steps, home.run(run.id), autocast, checkpointing)
    pad = tokenizer.pad_token_id or 0
    trainer = AnswerTrainer(model, rows, pad, gentle, settings, batches, adjustments.micro_batch)
    watch = Watch(progress, trainer, total_steps, look, keeper, machine)
    trainer.add_callback(watch)
    keeper.require_room(trainer.state_bytes())

    if checkpoint is None:
        progress.commit(lambda session: metrics.forget_after(session, run.id, -1))
        progress.check_wish()
        progress.phase(Phase.CHECKING)
        look.before()
    else:
        folder = home.path / checkpoint.path
        watch.restore(trainer.read_state(folder)["watch"])
        progress.tell(step=checkpoint.step)
        progress.commit(lambda session: metrics.forget_after(session, run.id, checkpoint.step))
        say(f"Going on from step {checkpoint.step}.")

    if progress.wish is Wish.KEEP and checkpoint is not None:
        trainer.take_weights()  # nothing more is to be learned, only to be kept
        steps = checkpoint.step
    else:
        progress.check_wish(keep_later=checkpoint is not None)
        progress.phase(Phase.TRAINING)
        learning = methods.trainable_parameters(model)
        say(f"Training {learning:,} parameters: {total_steps} steps on {len(encoded.rows)} examples.")
        gc.collect()
        gc.freeze()  # the libraries' hundred thousands of objects stay; collections need not walk them at every step
        with suppress(AlreadyOver):
            trainer.train(resume_from_checkpoint=str(folder) if checkpoint else None)
        progress.check()
        steps = trainer.state.global_step
        if steps < total_steps and not best.exhausted:
            if steps and not progress.discarded:
                watch.save(steps)
            if progress.wish is not Wish.KEEP or steps == 0:
                progress.check_wish()

    end = _choose(look, steps, total_steps, recipe)
    progress.tell(notice=_joined(notice, end.notice))
    progress.phase(Phase.SAVING)
    target = home.adapter(run.id, progress.claim.fence)
    publish(target, lambda partial: _fill(partial, model, tokenizer, base, fingerprint))
    progress.end_phase()
    say("Saved the adapter.")
    weights = target / "adapter_model.safetensors"
    return Outcome(
        RunStatus.SUCCEEDED if end.early or steps == total_steps else RunStatus.STOPPED,
        _summary(trainer, steps, look, end, keeper, machine, loaded, encoded, checked),
        {
            "path": str(target.relative_to(home.path)),
            "sha256": file_sha256(weights),
            "size_bytes": weights.stat().st_size,
            "base_id": run.base_id,
            "base_fingerprint": fingerprint,
        },
    )


@dataclass(frozen=True)
class End:
    """How a run ended, and which step its adapter is of."""

    step: int
    early: str | None  # why it ended before its last step, if by itself
    notice: str | None


def _choose(look: Look, steps: int, total_steps: int, recipe: Recipe) -> End:
    """Put the best weights into the model, if they are wanted and not those of the last step."""
    best, early, notice = look.best, None, None
    if best.exhausted and steps < total_steps:
        early = f"Stopped at step {steps:,} of {total_steps:,}: no improvement for {recipe.patience} checks."
        say(early)
    kept = best.step if recipe.keep_best and best.step is not None else steps
    if kept != steps:
        best.put_back()
        say(f"Step {kept:,} did best on the held-back examples: the adapter is the one of that step.")
        with suppress(StopAsked, Interrupted):  # the answers are only to look at
            look.ask(kept)
    if best.step is not None and look.losses[0] < best.loss:
        notice = (
            "The untrained model did better on the held-back examples than after any training: look at the examples, "
            "or choose a smaller learning rate."
        )
        say(notice)
    return End(kept, early, notice)


def _joined(*sentences: str | None) -> str | None:
    return " ".join(sentence for sentence in sentences if sentence) or None


def _notice(loaded: Loaded, checkpoint: Checkpoint | None, damaged: list[Checkpoint]) -> str | None:
    """What the user should know of how this attempt begins."""
    told = [loaded.notice] if loaded.notice else []
    if damaged:
        where = (
            f"training goes on from the one before, step {checkpoint.step}" if checkpoint else "training starts again"
        )
        told.append(f"The newest checkpoint (step {damaged[0].step}) was damaged on the disk, so {where}.")
    return " ".join(told) or None


def _fill(
    folder: Path, model: PeftModel, tokenizer: PreTrainedTokenizerBase, base: BaseModel, fingerprint: str
) -> None:
    about = {"format": "pt", "base_fingerprint": fingerprint, "base_id": _public_name(base)}
    methods.save(model, folder, about)
    tokenizer.save_pretrained(str(folder))


def _public_name(base: BaseModel) -> str:
    """What an adapter calls its base on other machines: the hub id, or the folder's name without its path."""
    known = CATALOG.get(base.id)
    return known.hub_id if known else base.path.name if Path(base.id).is_absolute() else base.id


def _summary(
    trainer: AnswerTrainer,
    steps: int,
    look: Look,
    end: End,
    keeper: Keeper,
    machine: Machine,
    loaded: Loaded,
    encoded: Encoded,
    checked: Encoded,
) -> dict[str, Any]:
    tally, losses = trainer.tally, look.losses
    seconds = sum(tally.step_seconds)
    return {
        "steps": steps,
        "kept_step": end.step,
        "ended_early": end.early,
        "tokens": tally.tokens,
        "learned_tokens": tally.learned_tokens,
        "tokens_per_second": round(tally.tokens / seconds, 1) if seconds else None,
        "seconds_per_step": round(tally.seconds_per_step, 4),
        "warm_up_seconds": round(tally.warm_up_seconds, 3),
        "looking_seconds": round(look.seconds_spent, 3),
        "peak_memory_gib": round(peak_memory_gib(machine.device), 3),
        "model_gib": round(loaded.gib, 6),
        "bits": loaded.bits,
        "trainable_parameters": methods.trainable_parameters(trainer.model),
        "train_loss": {"first": tally.first_loss, "last": tally.last_loss},
        "validation_loss": {
            "base": losses.get(0),
            "best": look.best.loss if look.best.step is not None else None,
            "best_step": look.best.step,
            "kept": losses.get(end.step),
            "last": losses[max(losses)] if losses else None,
        },
        "autocast": bool(trainer.args.bf16 or trainer.args.fp16),
        "gradient_checkpointing": bool(trainer.args.activation_checkpointing),
        "checkpoints": {"count": keeper.count, "seconds": round(keeper.seconds_spent, 3)},
        "skipped": {
            "cut": _told(encoded.cut + checked.cut),
            "nothing_to_learn": _told(encoded.left_out + checked.left_out),
        },
    }


def _told(numbers: list[int]) -> dict[str, Any]:
    return {"count": len(numbers), "rows": sorted(numbers)[:ROWS_TOLD]}


def _warm_up(home: Home) -> None:
    """Pay now for what only a first run pays: late imports, set-up of kernels, the base's fingerprint."""
    machine = probe()
    with suppress(StudioError):  # a starter model that cannot be used is told to whoever wants to train it
        if base := base_models.find(home.models, STARTER):
            load_tokenizer(base.path)
            load_base(base, 4, machine)
            base_models.fingerprint(base.path)


def _quiet_libraries() -> None:
    """The log is for people: what libraries say about themselves is left out."""
    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for name in ("bitsandbytes", "accelerate", "peft", "torch", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _log_to(path: Path) -> None:
    """From here on everything the process prints, C libraries included, goes to the run's log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
    os.close(descriptor)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.train", description="Train one run.")
    parser.add_argument("run", nargs="?", type=int)
    parser.add_argument("--home", type=Path, help="the studio's data folder")
    parser.add_argument("--models", type=Path, help="folder of base models (default: models in the home)")
    parser.add_argument("--fence", type=int, help="the claim under which to work; without it the run is claimed here")
    parser.add_argument("--log", action="store_true", help="print into the run's log")
    parser.add_argument("--standby", action="store_true", help="wait for a run on stdin")
    parser.add_argument("--parent", type=int, help="end when this process is not the parent any more")
    options = parser.parse_args(given)
    if (options.run is None) != options.standby:
        parser.error("give the number of a run, or --standby")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _quiet_libraries()
    if options.parent:
        end_with_parent(options.parent)
    chosen = {"home": options.home, "models": options.models}
    home = Home.at(Settings(**{name: path for name, path in chosen.items() if path}))
    if options.standby:
        _warm_up(home)
        line = sys.stdin.readline()
        if not line.strip():
            return 0
        order = json.loads(line)
        options.run, options.fence, options.log = order["run"], order["fence"], True
    if options.log:
        _log_to(home.log(options.run))
    db = open_database(home.database)
    if options.fence is not None:
        return work(home, db, Claim(options.run, options.fence), train)
    try:
        with exclusive(home.lock("device"), wait=False):
            claim = runs.claim(db, options.run)
            if claim is not None:
                return work(home, db, claim, train)
    except Held:
        say("Another run is being trained on this computer. Wait for its end.")
        return 1
    say(f"Run {options.run} is not waiting to be trained.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
