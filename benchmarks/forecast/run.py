"""Forecast before, measured after: memory and time of real short runs on the starter model.

    python -m benchmarks.forecast.run --models FOLDER --home SCRATCH [--only NAME …]   run cases, one after the other
    python -m benchmarks.forecast.run --home SCRATCH --table                           what has been run so far

SCRATCH is a studio's home that fills up with the runs, so that each forecast may learn from those before it. Where none
was much like it, a probe of a few steps goes before, as the page offers it. It is the forecast itself that is tried,
through `studio.services.forecast`.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from subprocess import DEVNULL, run
from typing import Any

from benchmarks.training.common import ENVIRONMENT, invented_rows, ours, queue_run
from studio.core.catalog import STARTER
from studio.core.recipe import Recipe
from studio.services import forecast
from studio.services.context import Studio
from studio.services.forecast import Question
from studio.settings import Settings
from studio.store import runs

STEPS = 6
USUAL: dict[str, Any] = {
    "bits": 4, "rank": 8, "alpha": 16, "batch_size": 4, "tokens": 256, "gradient_checkpointing": "off",
    "epochs": 100, "max_steps": STEPS, "validation_fraction": 0, "keep_best": False, "patience": 0,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "usual": {},
    "rank 64": {"rank": 64},
    "16 bit": {"bits": 16},
    "8 bit": {"bits": 8, "batch_size": 2},
    "length 512": {"tokens": 512},
    "length 1024, batch 2": {"tokens": 1024, "batch_size": 2},
    "length 128": {"tokens": 128},
    "batch 1": {"batch_size": 1},
    "batch 8": {"batch_size": 8},
    "checkpointing": {"tokens": 512, "gradient_checkpointing": "on"},
    "checkpointing, batch 8": {"batch_size": 8, "tokens": 512, "gradient_checkpointing": "on"},
    "dropout": {"dropout": 0.1},
    "q and v, 16 bit": {"bits": 16, "target_modules": ["q_proj", "v_proj"]},
    "packed to 512": {"tokens": 120, "max_length": 512, "packing": True, "batch_size": 2},
    "collected": {"batch_size": 2, "gradient_accumulation": 3},
    "looked at": {"max_steps": 24, "validation_fraction": 0.1},
    "looked at, 16 bit": {"bits": 16, "max_steps": 48, "validation_fraction": 0.1, "rank": 16},
}


def tried(models: Path, home: Path, name: str) -> dict[str, Any]:
    """One case: its forecast, its run, and both side by side."""
    settings = USUAL | CASES[name]
    tokens = settings.pop("tokens")
    recipe = Recipe.model_validate({"max_length": max(tokens, 16)} | settings)
    each = recipe.batch_size * recipe.gradient_accumulation
    count = each * recipe.max_steps * (recipe.max_length // tokens if recipe.packing else 1)
    studio = Studio.open(Settings(home=home, models=models))
    question = Question(STARTER, recipe.model_dump(), rows=count, tokens=tokens)
    if probed := not forecast.forecast(studio, question).tried:
        forecast.try_speed(studio, question)
    told = forecast.forecast(studio, question)
    rows = invented_rows(models, count, tokens)
    kept, db, run_id = queue_run(home, models, rows, recipe)
    run(ours(kept, str(run_id)), stdout=DEVNULL, stderr=DEVNULL, env=ENVIRONMENT, check=False)
    done = runs.get(db, run_id)
    if done.status != "succeeded":
        raise SystemExit(f"{name}: {done.error_message}")
    assert told.time
    return {
        "name": name,
        "memory": {"told": told.memory.total, "found": done.summary["peak_memory_gib"], "parts": told.memory.as_dict()},
        "seconds": {
            "told": told.time.seconds, "low": told.time.low, "high": told.time.high,
            "found": sum(done.phase_seconds.values()),
        },
        "parameters": {"told": told.facts.trainable_parameters, "found": done.summary["trainable_parameters"]},
        "learned_from": told.learned_from,
        "probed": probed,
    }  # fmt: skip


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| case | memory told, found (GiB) | off by | seconds told (bar), found | off by | probed |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        m, s = r["memory"], r["seconds"]
        lines.append(
            f"| {r['name']} | {m['told']:.2f}, {m['found']:.2f} | {_off(m):+.0%} | {s['told']:.0f} ({s['low']:.0f}–"
            f"{s['high']:.0f}), {s['found']:.0f} | {_off(s):+.0%} | {'yes' if r['probed'] else ''} |"
        )
    for what in ("memory", "seconds"):
        errors = [abs(_off(r[what])) for r in results]
        lines.append(f"\n{what}: off by {mean(errors):.0%} on average, {max(errors):.0%} at most ({len(errors)} runs).")
    wrong = [r["name"] for r in results if r["parameters"]["told"] != r["parameters"]["found"]]
    lines.append(f"trainable parameters: {f'wrong in {wrong}' if wrong else 'exact in all'}.")
    return "\n".join(lines)


def _off(pair: dict[str, float]) -> float:
    return pair["told"] / pair["found"] - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder that holds the starter model")
    parser.add_argument("--home", type=Path, required=True, help="scratch folder for the runs and their results")
    parser.add_argument("--only", nargs="+", choices=list(CASES), help="these cases (all)")
    parser.add_argument("--table", action="store_true", help="print what has been run so far")
    options = parser.parse_args()
    options.home.mkdir(parents=True, exist_ok=True)
    file = options.home / "forecast-benchmark.jsonl"
    if not options.table:
        for name in options.only or CASES:
            result = tried(options.models, options.home, name)
            with file.open("a", encoding="utf-8") as kept:
                kept.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)
    print(table([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]))


if __name__ == "__main__":
    main()
