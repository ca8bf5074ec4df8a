"""What packing and grouping by length win on short chats: learned tokens a second, and the held-back loss reached.

    python -m benchmarks.training.packing --models FOLDER --rows FILE.jsonl [--only plain grouped packed] [--seed 42]

Real runs of the starter on the same examples, one pass, about as many examples in each step: `plain` pads batches of
8 in random order (the named baseline), `grouped` batches of 8 of similar length, `packed` fills rows. The rows are
question and answer. A second seed of `plain` says how much of a difference in loss is chance.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded

from benchmarks.training.common import queue_run
from studio.core.catalog import STARTER
from studio.core.conversation import Conversation, Message
from studio.core.recipe import Recipe
from studio.store import runs
from workers import batches, tokens
from workers.attempt import work
from workers.train import train
from workers.trainer import Watch

AT_ONCE = 8  # examples in a step
WARMING_UP = 2  # steps that are not counted


class Stopwatch:
    """Adds up a run's steps, optimizer included and checks left out, and the tokens learned in them."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0
        self.learned = self.read = self.steps = 0

    def __enter__(self) -> "Stopwatch":
        self._originals = begin, end = Watch.on_step_begin, Watch.on_step_end

        def on_step_begin(watch: Watch, *given: Any, **more: Any) -> None:
            begin(watch, *given, **more)
            self._before = (watch.tally.learned_tokens, watch.tally.tokens, time.monotonic(), time.process_time())

        def on_step_end(watch: Watch, *given: Any, **more: Any) -> None:
            learned, read, wall, processor = self._before
            self.steps += 1
            if self.steps > WARMING_UP:
                self.wall += time.monotonic() - wall
                self.processor += time.process_time() - processor
                self.learned += watch.tally.learned_tokens - learned
                self.read += watch.tally.tokens - read
            end(watch, *given, **more)

        Watch.on_step_begin, Watch.on_step_end = on_step_begin, on_step_end  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Watch.on_step_begin, Watch.on_step_end = self._originals  # type: ignore[method-assign]


def measure(kind: str, models: Path, rows: list[dict[str, str]], seed: int, length: int) -> dict[str, Any]:
    pool, batches.POOL_BATCHES = batches.POOL_BATCHES, 1 if kind == "plain" else batches.POOL_BATCHES
    lengths = _lengths(models, rows, length)
    recipe = Recipe(
        bits=4, rank=8, alpha=16, learning_rate=1e-3, epochs=1, batch_size=AT_ONCE, max_length=length, seed=seed,
        validation_fraction=0.2, patience=0, keep_best=False, packing=kind == "packed",
    )  # fmt: skip
    if kind == "packed":
        filled = tokens.packed_length(max(lengths), length)
        examples = filled * len(lengths) / sum(lengths)  # in a row, about
        recipe = recipe.model_copy(update={"batch_size": max(1, round(AT_ONCE / examples))})
    with tempfile.TemporaryDirectory() as folder, Stopwatch() as watch:
        home, db, run_id = queue_run(Path(folder), models, rows, recipe)
        claim = runs.claim(db, run_id)
        assert claim
        work(home, db, claim, train)
        run = runs.get(db, run_id)
        assert run.status == "succeeded", run.error_detail
        db.close()
    batches.POOL_BATCHES = pool
    return {
        "kind": kind,
        "steps": watch.steps,
        "tokens a step": round(watch.read / max(1, watch.steps - WARMING_UP)),
        "learned tokens/s": round(watch.learned / watch.wall, 1),
        "learned tokens/core-s": round(watch.learned / watch.processor, 1),
        "held-back loss": [round(run.summary["validation_loss"][name], 4) for name in ("base", "last")],
        "peak GiB": run.summary["peak_memory_gib"],
    }


def _lengths(models: Path, rows: list[dict[str, str]], longest: int) -> list[int]:
    chats = [Conversation((Message("user", r["question"]), Message("assistant", r["answer"])), 1) for r in rows]
    return [len(row.ids) for row in tokens.encode(tokens.load_tokenizer(models / STARTER), chats, longest).rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder that holds the starter model")
    parser.add_argument("--rows", type=Path, required=True, help="JSON lines with question and answer")
    parser.add_argument("--only", nargs="+", default=["plain", "grouped", "packed"])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--max-length", type=int, default=1024)
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.rows.read_text(encoding="utf-8").splitlines()]
    for kind in options.only:
        found = measure(kind, options.models, rows, options.seed, options.max_length)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
