"""One attempt at a run: whatever happens in training, the run's row says afterwards where it goes from here.

Knows nothing of tensors: `train` is given.
"""

import shutil
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from studio.core.adjustments import Adjustments
from studio.core.errors import DiskFull, StudioError, is_disk_full
from studio.core.recipe import Recipe
from studio.core.run_state import RunStatus, Wish
from studio.diagnostics.failures import SHUT_DOWN, explain, is_out_of_memory
from studio.store import checkpoints, runs
from studio.store.artifacts import remove
from studio.store.db import Database
from studio.store.home import Home
from studio.store.runs import Claim, Lost
from studio.store.tables import Run
from workers.progress import Interrupted, Progress, StopAsked


@dataclass(frozen=True)
class Outcome:
    status: RunStatus
    summary: dict[str, Any]
    adapter: dict[str, Any]


Train = Callable[[Home, Database, Run, Progress], Outcome]  # raises StopAsked, Interrupted, Lost or what went wrong


class BadLoss(StudioError):
    """The loss is not a number any more."""

    def __init__(self, step: int) -> None:
        super().__init__(
            f"The loss stopped being a number at step {step}: the corrections were too large.",
            "Choose a smaller learning rate, for example a third of this one, and start again.",
        )


def work(home: Home, db: Database, claim: Claim, train: Train) -> int:
    """Train the claimed run and write where it goes from here, whatever happens. Returns the process's exit code.

    On SIGTERM it is asked to end after a checkpoint.
    """
    run = runs.get(db, claim.run_id)
    say(f"Run {run.id}, “{run.name}”.")
    progress = Progress(db, claim, run.phase_seconds)
    before = signal.signal(signal.SIGTERM, lambda *_: setattr(progress, "leave", True)) if _in_main_thread() else None
    try:
        with progress:
            outcome = train(home, db, run, progress)
        if not runs.finish(db, claim, outcome.status, outcome.summary, outcome.adapter):
            return _not_finished(home, db, claim)
        checkpoints.sweep(db, home, run.id)
    except Lost:
        return _lost(home, claim)
    except StopAsked as stop:
        return _pause(db, claim) if stop.wish is Wish.PAUSE else _discard(home, db, claim, stop.wish)
    except Interrupted:
        say("Told to end. The run goes on in another process.")
        runs.put_back(db, claim, SHUT_DOWN)
        return 143
    except Exception as error:
        return _meet(home, db, run, claim, error)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    say(f"Done: {outcome.status}.")
    return 0


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _not_finished(home: Home, db: Database, claim: Claim) -> int:
    """The adapter was there, and the run's row says otherwise: discarded at the last moment, or given away."""
    if runs.get(db, claim.run_id).wish == Wish.DISCARD and runs.move(
        db, claim.run_id, RunStatus.DISCARDED, "by the user", claim.fence
    ):
        return _cleared(home, claim)
    return _lost(home, claim)


def _lost(home: Home, claim: Claim) -> int:
    say("The run was given to another process, or has ended. This one stops.")
    remove(home.adapter(claim.run_id, claim.fence))
    return 1


def _pause(db: Database, claim: Claim) -> int:
    say("Paused, as wished.")
    runs.move(db, claim.run_id, RunStatus.PAUSED, "by the user", claim.fence)
    return 0


def _discard(home: Home, db: Database, claim: Claim, wish: Wish) -> int:
    early = "Stopped before the first step, so there was nothing to keep." if wish is Wish.KEEP else None
    say(early or "Stopped and discarded, as wished.")
    if runs.move(db, claim.run_id, RunStatus.DISCARDED, "by the user", claim.fence, error_message=early):
        return _cleared(home, claim)
    return _lost(home, claim)


def _cleared(home: Home, claim: Claim) -> int:
    shutil.rmtree(home.run(claim.run_id), ignore_errors=True)
    return 0


def _meet(home: Home, db: Database, run: Run, claim: Claim, error: Exception) -> int:
    """Trouble in training: go on with something changed where that may help, wait where the user must act, or fail."""
    detail = traceback.format_exc()
    print(detail, flush=True)
    message, hint = explain(error)
    recipe, adjustments = Recipe.model_validate(run.recipe), Adjustments.model_validate(run.adjustments)
    run = runs.get(db, run.id)
    saved = checkpoints.of(db, run.id)
    where = f"from step {saved[0].step:,}" if saved else "from the start"
    if is_disk_full(error) or isinstance(error, DiskFull):
        say(f"Paused. {message} {hint}")
        runs.move(db, run.id, RunStatus.PAUSED, message, claim.fence, error_message=message, error_hint=hint)
        return 1
    if is_out_of_memory(error) and (changed := adjustments.after_out_of_memory(recipe.batch_size)):
        told = (
            f"Memory ran out at step {run.step:,}. Training goes on {where} {changed.to_save_memory}; each step learns "
            "from as many as before."
        )
    elif isinstance(error, BadLoss) and (changed := adjustments.after_bad_loss()):
        told = f"{error.message} Training goes on {where} with a third of the learning rate."
    elif isinstance(error, BadLoss) and saved:
        told = f"{error.message} That was with the gentler learning rate, so what was learned up to there is kept."
        runs.put_back(db, claim, told, wish=Wish.KEEP)
        return 1
    else:
        say(f"Failed. {message} {hint}".strip())
        runs.move(
            db, run.id, RunStatus.FAILED, message, claim.fence,
            error_message=message, error_hint=hint, error_detail=detail,
        )  # fmt: skip
        return 1
    say(told)
    runs.put_back(db, claim, told, adjustments=changed.model_dump())
    return 1


def say(sentence: str) -> None:
    """To the run's log."""
    print(sentence, flush=True)
