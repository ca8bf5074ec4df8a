"""Train one run. By hand, without web app or queue:

    python -m workers.train RUN [--home DIR] [--fence N] [--log]

or, to have a process with everything imported wait for its run (one line on stdin, {"run": 42, "fence": 3}):

    python -m workers.train --standby [--home DIR]

Knows nothing of screens: reads the run from the database, leaves metrics, samples and an adapter.
Ends with 0 if the run ended as its user wished, with 1 if it failed and the run's row says why, with 143 if it was told
to end; then the run is left as it is, for whoever told it.
"""

import os

# Both are read when torch and tokenizers are loaded. Without PASSIVE idle threads burn the processor that others need.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import argparse
import gc
import json
import logging
import shutil
import signal
import sys
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerBase, set_seed
from transformers.utils import logging as transformers_logging

from studio.core.catalog import CATALOG, STARTER
from studio.core.errors import StudioError
from studio.core.lifeline import end_with_parent
from studio.core.recipe import Recipe
from studio.core.run_state import Phase, RunStatus, Wish
from studio.diagnostics.failures import explain
from studio.settings import Settings
from studio.store import base_models, runs
from studio.store.artifacts import file_sha256, publish
from studio.store.base_models import BaseModel
from studio.store.db import Database, open_database
from studio.store.home import Home
from studio.store.runs import Claim, Lost
from studio.store.tables import Run
from workers import evaluate, lora, loss, methods
from workers.batches import ByLength
from workers.examples import parts
from workers.look import Look
from workers.model import Loaded, attention_for, load_base
from workers.probe import Machine, probe
from workers.progress import Progress, StopAsked
from workers.starter import ensure_base
from workers.tokens import Encoded, encode, load_tokenizer, pack, require_rows
from workers.trainer import AnswerTrainer, Watch, arguments, peak_memory_gib

ROWS_TOLD = 20  # numbers of skipped rows that the summary lists


@dataclass(frozen=True)
class Outcome:
    status: RunStatus
    summary: dict[str, Any]
    adapter: dict[str, Any]


def train(home: Home, run: Run, progress: Progress) -> Outcome:
    """The run, from its row in the database to its adapter on disk. Raises StopAsked, Lost or what went wrong."""
    recipe = Recipe.model_validate(run.recipe)
    set_seed(recipe.seed)

    progress.phase(Phase.LOADING)
    machine = probe()
    progress.tell(device=machine.device_name)
    base = ensure_base(home.models, run.base_id, _say)
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(base_models.fingerprint, base.path)
        _say(f"Loading {base.name} ({base.source}) in {recipe.bits} bit on {machine.device_name}.")
        tokenizer = load_tokenizer(base.path)
        to_learn, held_back = parts(home, run, recipe)
        encoded, checked = (encode(tokenizer, part, recipe.max_length) for part in (to_learn, held_back))
        require_rows(encoded, recipe.max_length)
        progress.check_wish()
        rows = pack(encoded.rows, recipe.max_length) if recipe.packing else encoded.rows
        longest = max(len(row.ids) for row in [*rows, *checked.rows])
        loaded = load_base(base, recipe.bits, machine, attention_for(longest, machine))
        progress.check_wish()
        fingerprint = reading.result()
    if loaded.notice:
        _say(loaded.notice)
    progress.tell(base_fingerprint=fingerprint, notice=loaded.notice or None)
    loss.install(loaded.model)
    model = methods.attach(loaded.model, recipe, _public_name(base))
    autocast = not lora.speed_up(model)

    total_steps = recipe.steps(len(rows))
    progress.tell(total_steps=total_steps)
    batches = ByLength([len(row.ids) for row in rows], recipe.batch_size, recipe.seed)
    an_epoch = recipe.model_copy(update={"epochs": 1, "max_steps": 0}).steps(len(rows))
    plan = evaluate.plan(checked.rows, total_steps, sum(batches.lengths) * total_steps // an_epoch)
    look = Look(model, tokenizer, plan, held_back, progress, _say)
    settings = arguments(recipe, machine, total_steps, home.run(run.id), autocast)
    trainer = AnswerTrainer(model, rows, tokenizer.pad_token_id or 0, settings, batches)
    trainer.add_callback(Watch(progress, trainer.tally, total_steps, look, machine))
    progress.check_wish()

    progress.phase(Phase.CHECKING)
    look.before()

    progress.phase(Phase.TRAINING)
    learning = methods.trainable_parameters(model)
    _say(f"Training {learning:,} parameters: {total_steps} steps on {len(encoded.rows)} examples.")
    gc.collect()
    gc.freeze()  # the libraries' hundred thousands of objects stay; collections need not walk them at every step
    trainer.train()
    progress.check()
    steps = trainer.state.global_step
    if progress.wish and (progress.discarded or steps == 0):
        raise StopAsked(progress.wish)

    progress.phase(Phase.SAVING)
    folder = home.adapter(run.id)
    publish(folder, lambda partial: _fill(partial, model, tokenizer, base, fingerprint))
    progress.end_phase()
    if progress.discarded:  # it came while saving
        raise StopAsked(Wish.DISCARD)
    _say("Saved the adapter.")
    weights = folder / "adapter_model.safetensors"
    return Outcome(
        RunStatus.STOPPED if steps < total_steps else RunStatus.SUCCEEDED,
        _summary(trainer, look, machine, loaded, encoded, checked),
        {
            "path": str(folder.relative_to(home.path)),
            "sha256": file_sha256(weights),
            "size_bytes": weights.stat().st_size,
            "base_id": run.base_id,
            "base_fingerprint": fingerprint,
        },
    )


def _fill(
    folder: Path, model: PeftModel, tokenizer: PreTrainedTokenizerBase, base: BaseModel, fingerprint: str
) -> None:
    # without save_embedding_layers=False PEFT would ask the model hub about the base
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    weights = {name: tensor.contiguous().cpu() for name, tensor in state.items()}
    about = {"format": "pt", "base_fingerprint": fingerprint, "base_id": _public_name(base)}
    save_file(weights, folder / "adapter_model.safetensors", metadata=about)
    config = model.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def _public_name(base: BaseModel) -> str:
    """What an adapter calls its base on other machines: the hub id, or the folder's name without its path."""
    known = CATALOG.get(base.id)
    return known.hub_id if known else base.path.name if Path(base.id).is_absolute() else base.id


def _summary(
    trainer: AnswerTrainer, look: Look, machine: Machine, loaded: Loaded, encoded: Encoded, checked: Encoded
) -> dict[str, Any]:
    tally, losses = trainer.tally, look.losses
    best = min(losses, key=losses.__getitem__) if losses else None
    seconds = sum(tally.step_seconds)
    return {
        "steps": trainer.state.global_step,
        "tokens": tally.tokens,
        "learned_tokens": tally.learned_tokens,
        "tokens_per_second": round(tally.tokens / seconds, 1) if seconds else None,
        "seconds_per_step": round(tally.seconds_per_step, 4),
        "peak_memory_gib": round(peak_memory_gib(machine.device), 3),
        "model_gib": round(loaded.gib, 6),
        "bits": loaded.bits,
        "trainable_parameters": methods.trainable_parameters(trainer.model),
        "train_loss": {"first": tally.first_loss, "last": tally.last_loss},
        "validation_loss": {
            "base": losses.get(0),
            "best": losses[best] if best is not None else None,
            "last": losses[max(losses)] if losses else None,
            "best_step": best,
        },
        "skipped": {
            "cut": _told(encoded.cut + checked.cut),
            "nothing_to_learn": _told(encoded.left_out + checked.left_out),
        },
    }


def _told(numbers: list[int]) -> dict[str, Any]:
    return {"count": len(numbers), "rows": sorted(numbers)[:ROWS_TOLD]}


def work(home: Home, db: Database, claim: Claim) -> int:
    """Train the claimed run and write its end, whatever it is. Returns the process's exit code."""
    run = runs.get(db, claim.run_id)
    _say(f"Run {run.id}, “{run.name}”.")
    try:
        with Progress(db, claim) as progress:
            outcome = train(home, run, progress)
        if not runs.finish(db, claim, outcome.status, outcome.summary, outcome.adapter):
            raise Lost
    except Lost:
        _say("The run was given to another process, or has ended. This one stops.")
        return 1
    except StopAsked as stop:
        return _discard(home, db, claim, stop.wish)
    except Exception as error:
        return _fail(db, claim, error)
    _say(f"Done: {outcome.status}.")
    return 0


def _discard(home: Home, db: Database, claim: Claim, wish: Wish) -> int:
    early = "Stopped before the first step, so there was nothing to keep." if wish is Wish.KEEP else None
    _say(early or "Stopped and discarded, as wished.")
    runs.move(
        db, claim.run_id, RunStatus.DISCARDED, f"wish: {wish}", claim.fence, error_message=early, seconds_left=None
    )
    shutil.rmtree(home.run(claim.run_id), ignore_errors=True)
    return 0


def _fail(db: Database, claim: Claim, error: Exception) -> int:
    message, hint = explain(error)
    detail = traceback.format_exc()
    print(detail, flush=True)
    _say(f"Failed. {message} {hint}".strip())
    runs.move(
        db, claim.run_id, RunStatus.FAILED, message, claim.fence,
        error_message=message, error_hint=hint, error_detail=detail, seconds_left=None,
    )  # fmt: skip
    return 1


def _say(sentence: str) -> None:
    print(sentence, flush=True)


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
    claim = Claim(options.run, options.fence) if options.fence is not None else runs.claim(db, options.run)
    if claim is None:
        _say(f"Run {options.run} is not waiting to be trained.")
        return 1
    return work(home, db, claim)


if __name__ == "__main__":
    sys.exit(main())
