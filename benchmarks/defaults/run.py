"""Our defaults beside those of other tools: the same model, rows and number of training tokens.

    python -m benchmarks.defaults.run --models FOLDER --data FOLDER [--sets gsm8k …] [--recipes balanced unsloth …]
                                      [--tokens 20000] [--seeds 42] [--results FILE.jsonl]

Every run is a real one, by the studio's worker. What is in the results already is not run again, so a benchmark that
was interrupted, or ended by `--minutes`, goes on. A recipe may be one of ours with other values:
`balanced:learning_rate=5e-4,rank=8`. `--table` only prints what is there.
"""

import os

os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "true"}  # read when torch is loaded

import argparse
import io
import json
import tempfile
import time
from collections import defaultdict
from contextlib import redirect_stdout
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.defaults import sets
from benchmarks.defaults.peers import PEERS
from benchmarks.training.common import queue_conversations
from studio.core.catalog import CATALOG, STARTER
from studio.core.choices import build, parse_settings
from studio.core.presets import Facts
from studio.core.recipe import PRESETS, Recipe
from studio.store import adapters, runs
from workers.tokens import encode, load_tokenizer

BITS, MAX_LENGTH = 16, 512


def recipe_of(name: str, data: sets.Set, passes: float, seed: int) -> Recipe:
    """The recipe of that name for these rows. What is the same for all is laid over it."""
    same = {"bits": BITS, "max_length": MAX_LENGTH, "epochs": passes, "max_steps": 0, "validation_fraction": 0,
            "seed": seed}  # fmt: skip
    preset, _, changes = name.partition(":")
    if preset in PRESETS:
        chosen = {"preset": preset, **parse_settings(changes.split(",") if changes else [])}
    else:
        chosen = PEERS[preset].values
        # the same step in one piece, which takes half the time on a processor
        step = chosen["batch_size"] * chosen["gradient_accumulation"]
        chosen = chosen | {"batch_size": step, "gradient_accumulation": 1}
    facts = Facts(len(data.learn), CATALOG[STARTER].parameters, data.kind)
    return build(chosen | same, facts.rows, facts.parameters, facts)


def one(name: str, data: sets.Set, models: Path, tokens: int, seed: int, answers: int) -> dict[str, Any]:
    from benchmarks.defaults.measure import measure  # both load torch, which a mere table does not need
    from workers import train

    tokenizer = load_tokenizer(models / STARTER)
    of_a_pass = sum(len(row.ids) for row in encode(tokenizer, data.learn, MAX_LENGTH).rows)
    recipe = recipe_of(name, data, tokens / of_a_pass, seed)
    with tempfile.TemporaryDirectory() as scratch:
        home, db, run_id = queue_conversations(Path(scratch), models, data.learn, recipe)
        began = time.process_time()
        with redirect_stdout(io.StringIO()) as said:
            train.main([str(run_id), "--home", str(home.path), "--models", str(models)])
        run = runs.get(db, run_id)
        assert run.status == "succeeded", run.error_detail or said.getvalue()
        seconds = time.process_time() - began
        adapter = adapters.usable(db, home, run_id)
        found = measure(models, home.path / adapter.path, data, BITS, MAX_LENGTH, answers)
    return found | {"steps": run.summary["steps"], "tokens": run.summary["tokens"], "passes": tokens / of_a_pass,
                    "train_loss": run.summary["train_loss"]["last"], "core_seconds": round(seconds)}  # fmt: skip


def table(results: list[dict[str, Any]]) -> str:
    """Held-back loss for each recipe and set, exact match behind it; the mean where there are several seeds."""
    cells: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        cells[result["recipe"], result["set"], result["asked"]].append(result)
    columns = sorted({(name, asked) for _, name, asked in cells})
    lines = ["| | " + " | ".join(f"{name}, {asked:,} tokens" for name, asked in columns) + " |",
             "|---|" + "---|" * len(columns)]  # fmt: skip
    for recipe in dict.fromkeys(name for name, _, _ in cells):
        row = [_cell(cells.get((recipe, name, asked), [])) for name, asked in columns]
        lines.append(f"| {recipe} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def _cell(results: list[dict[str, Any]]) -> str:
    if not results:
        return ""
    text = f"{mean(r['loss'] for r in results):.3f}"
    if len(results) > 1:
        text += f" ± {(max(r['loss'] for r in results) - min(r['loss'] for r in results)) / 2:.3f}"
    return text + (f" ({100 * mean(r['exact'] for r in results):.0f}%)" if "exact" in results[0] else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder that holds the starter model")
    parser.add_argument("--data", type=Path, help="folder with the data sets' files")
    parser.add_argument("--sets", nargs="+", choices=sets.NAMES, default=list(sets.NAMES))
    parser.add_argument("--recipes", nargs="+", default=["balanced", *PEERS])
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--results", type=Path, default=Path("results.jsonl"))
    parser.add_argument(
        "--answers", type=int, default=40, help="held-back questions to be answered, to compare exactly"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no other run after so many")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = [json.loads(line) for line in _lines(options.results)]
    there = {(r["set"], r["recipe"], r["seed"], r["asked"]) for r in results}
    wanted = [] if options.table else [
        (name, recipe, seed) for seed in options.seeds for name in options.sets for recipe in options.recipes
    ]  # fmt: skip
    began = time.monotonic()
    for name, recipe, seed in wanted:
        if (name, recipe, seed, options.tokens) in there:
            continue
        if time.monotonic() - began > 60 * options.minutes:
            print("to be continued")
            break
        found = one(recipe, sets.load(options.data, name), options.models, options.tokens, seed, options.answers)
        result = {"set": name, "recipe": recipe, "seed": seed, "asked": options.tokens, **found}
        results.append(result)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)
    print(table(results))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
