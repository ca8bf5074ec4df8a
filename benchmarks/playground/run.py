"""The playground against plain transformers + peft, with the same base, adapter and prompts, in turn in one run.

    python benchmarks/playground/run.py [--models DIR] [--rounds 8] [--tokens 48]

Makes two adapters of its own on the starter model. Prints medians, and the ratios that the speed bars are about.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from studio.core.catalog import STARTER  # noqa: E402
from studio.core.recipe import Recipe  # noqa: E402
from studio.core.run_state import RunStatus  # noqa: E402
from studio.services.chat import End, Engine  # noqa: E402
from studio.settings import Settings  # noqa: E402
from studio.store import base_models, datasets, runs  # noqa: E402
from studio.store.artifacts import file_sha256, publish  # noqa: E402
from studio.store.db import Database, open_database  # noqa: E402
from studio.store.home import Home  # noqa: E402

PROMPTS = ("Tell me a long story about a fox.", "How do I bake bread, step by step?", "What is a volcano, and why?")
MAKE = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
base, *folders = sys.argv[1:]
for seed, folder in enumerate(folders):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    torch.manual_seed(seed)
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=5e-4)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    home = Path(os.environ.get("STUDIO_HOME", "~/.adapter-studio")).expanduser()
    parser.add_argument("--models", type=Path, default=Path(os.environ.get("STUDIO_MODELS") or home / "models"))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Home.at(Settings(home=Path(scratch), models=options.models))
        _make_runs(home, open_database(home.database))
        command = [
            sys.executable,
            "-m",
            "workers.serve",
            "--home",
            scratch,
            "--models",
            str(options.models),
            "--port",
            "0",
        ]
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
        plain_command = [sys.executable, str(Path(__file__).with_name("plain.py"))]
        plain_command += [str(options.models / STARTER), str(home.adapter(1, 1))]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "env": environment, "cwd": ROOT}
        with subprocess.Popen(plain_command, stdin=subprocess.PIPE, **pipes) as plain:
            _line(plain)
            began = time.perf_counter()
            with subprocess.Popen(command, **pipes) as served:
                engine = Engine(_line(served).split()[-1])
                engine.models()
                print(f"engine answers after {time.perf_counter() - began:.2f} s")
                try:
                    _compare(engine, served.pid, plain, options.rounds, options.tokens)
                    _switch(engine, options.rounds)
                    _rest(engine, served.pid)
                finally:
                    served.terminate()
            plain.stdin.close() if plain.stdin else None


def _make_runs(home: Home, db: Database) -> None:
    base = base_models.folder_of(home.models, STARTER)
    folders = [home.path / "made-1", home.path / "made-2"]
    subprocess.run([sys.executable, "-c", MAKE, str(base), *map(str, folders)], check=True, stderr=subprocess.DEVNULL)
    dataset = datasets.create(
        db, name="none", filename="none", sha256="0", shape="columns", mapping={}, columns=[], rows=0, usable_rows=0,
        skipped=[],
    )  # fmt: skip
    for made in folders:
        run = runs.create(
            db, name=made.name, recipe=Recipe().model_dump(), dataset_id=dataset.id, data={}, base_id=STARTER
        )
        claim = runs.claim(db, run.id)
        assert claim
        target = home.adapter(run.id, 1)
        publish(target, lambda partial, made=made: [path.rename(partial / path.name) for path in made.iterdir()])
        adapter = {
            "path": str(target.relative_to(home.path)),
            "sha256": file_sha256(target / "adapter_model.safetensors"),
            "size_bytes": 0,
            "base_id": STARTER,
            "base_fingerprint": base_models.fingerprint(base),
        }
        runs.finish(db, claim, RunStatus.SUCCEEDED, {}, adapter)


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline()


def _compare(engine: Engine, pid: int, plain: "subprocess.Popen[str]", rounds: int, tokens: int) -> None:
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    process = psutil.Process(pid)
    for turn in range(rounds + 1):  # the first warms both up
        prompt = PROMPTS[turn % len(PROMPTS)]
        asks = [lambda: _ask_engine(engine, process, prompt, tokens), lambda: _ask_plain(plain, prompt, tokens)]  # noqa: B023
        if turn % 2:
            theirs_now, ours_now = asks[1](), asks[0]()
        else:
            ours_now, theirs_now = asks[0](), asks[1]()
        assert ours_now["text"].strip() == theirs_now["text"].strip(), (ours_now["text"], theirs_now["text"])
        if turn:
            ours.append(ours_now)
            theirs.append(theirs_now)
    for name, unit in (
        ("first", "s to the first token"),
        ("rate", "tokens a second"),
        ("cpu", "core-seconds an answer"),
    ):
        pairs = [(one[name], other[name]) for one, other in zip(ours, theirs, strict=True)]
        print(
            f"{unit}: engine {median(a for a, _ in pairs):.3f}, plain {median(b for _, b in pairs):.3f}, "
            f"ratio {median(a / b for a, b in pairs):.3f} (median of {len(pairs)} pairs)"
        )


def _ask_engine(engine: Engine, process: psutil.Process, prompt: str, tokens: int) -> dict[str, Any]:
    before = process.cpu_times()
    text, end = _ask(engine, "run-1", prompt, tokens)
    after = process.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    return {"first": end.first_token_seconds, "rate": end.tokens_per_second, "text": text, "cpu": cpu}


def _ask_plain(plain: "subprocess.Popen[str]", prompt: str, tokens: int) -> dict[str, Any]:
    assert plain.stdin
    plain.stdin.write(json.dumps({"prompt": prompt, "tokens": tokens}) + "\n")
    plain.stdin.flush()
    figures: dict[str, Any] = json.loads(_line(plain))
    return figures


def _ask(engine: Engine, model: str, prompt: str, tokens: int) -> tuple[str, End]:
    text = ""
    for delta in engine.stream(model, [{"role": "user", "content": prompt}], 0, tokens):
        text += delta.text
        if delta.end:
            return text, delta.end
    raise AssertionError("no end")


def _switch(engine: Engine, rounds: int) -> None:
    """What a switch adds to the first token: after another adapter, less after the same one."""
    began = time.perf_counter()
    _ask(engine, "run-2", PROMPTS[0], 1)
    print(f"first answer of an adapter not loaded yet: {time.perf_counter() - began:.2f} s")
    same, other = [], []
    for _ in range(rounds):
        same.append(_ask(engine, "run-2", PROMPTS[0], 1)[1].seconds)
        other.append(_ask(engine, "run-1", PROMPTS[0], 1)[1].seconds)
        same.append(_ask(engine, "run-1", PROMPTS[0], 1)[1].seconds)
        other.append(_ask(engine, "run-2", PROMPTS[0], 1)[1].seconds)
    print(
        f"one token after a switch: {median(other):.3f} s (largest {max(other):.3f}), without {median(same):.3f}: "
        f"a switch costs {median(other) - median(same):.3f} s"
    )


def _rest(engine: Engine, pid: int) -> None:
    process = psutil.Process(pid)
    loaded = process.memory_info().rss / 2**20
    engine.unload()
    time.sleep(1)
    before = process.cpu_times()
    time.sleep(10)
    after = process.cpu_times()
    busy = (after.user + after.system - before.user - before.system) / 10
    unloaded = process.memory_info().rss / 2**20
    print(f"memory {loaded:.0f} MiB, after unloading {unloaded:.0f} MiB; idle {busy:.2%} of a core")


if __name__ == "__main__":
    main()
