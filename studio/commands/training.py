"""Commands around runs: check and train, watch and stop, chat and export."""

import argparse
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from studio.commands.common import Command, add_data, add_json, open_studio, take_data
from studio.core.catalog import STARTER
from studio.core.choices import parse_settings, parse_yaml
from studio.core.errors import StudioError
from studio.core.recipe import PRESETS
from studio.core.run_state import WITH_ADAPTER, RunStatus


def add(command: Command) -> None:
    sub = command("check", _check, "Report on files: what is wrong with the examples, and how long they are.")
    add_data(sub)
    sub.add_argument("--model", default="", help="base model whose tokens are counted (starter, if it is here)")
    add_json(sub)

    sub = command("train", _train, "Train on a file.")
    add_data(sub)
    sub.add_argument("--model", default=STARTER, help="base model: an id, a hub id or a folder (starter)")
    sub.add_argument("--name", default="", help="name of the run")
    sub.add_argument("--preset", choices=PRESETS, help="how long to train (balanced)")
    sub.add_argument("--recipe", type=Path, help="settings from a recipe.yaml")
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    sub.add_argument("--wait", action="store_true", help="wait for the end; works without a running studio")
    add_json(sub)

    add_json(command("runs", _runs, "List the runs."))
    sub = command("show", _show, "Show one run.")
    sub.add_argument("run")
    add_json(sub)
    sub = command("stop", _stop, "Stop a run and keep what it has learned.")
    sub.add_argument("run")
    sub.add_argument("--discard", action="store_true", help="keep nothing")
    sub = command("pause", _pause, "Let a run rest; `studio resume` lets it go on.")
    sub.add_argument("run")
    sub = command("resume", _resume, "Let a paused, stopped or failed run go on from its last checkpoint.")
    sub.add_argument("run")
    sub.add_argument("--wait", action="store_true", help="wait for the end; works without a running studio")
    sub = command("further", _further, "Train a finished model further: a new run that starts from it.")
    sub.add_argument("run")
    sub.add_argument("--epochs", type=float, help="further passes over the data (as many as before)")
    sub.add_argument("--wait", action="store_true", help="wait for the end; works without a running studio")
    sub = command("chat", _chat, "Ask a trained model one question.")
    sub.add_argument("run")
    sub.add_argument("--prompt", required=True)
    sub.add_argument("--temperature", type=float, default=0.0)
    sub.add_argument("--max-tokens", type=int, default=256)
    sub.add_argument("--base", action="store_true", help="ask the original model instead")
    sub = command("export", _export, "Write a trained adapter to a file.")
    sub.add_argument("run")
    sub.add_argument("--format", choices=["adapter"], default="adapter")
    sub.add_argument("--out", type=Path, required=True)


def _train(options: argparse.Namespace) -> int:
    from studio.services import runs

    choices = _read_recipe(options.recipe) if options.recipe else {}
    choices |= {"preset": options.preset} if options.preset else {}
    choices |= parse_settings(options.set)
    studio = open_studio(options)
    upload_id, mapping = take_data(studio, options)
    run = runs.start(studio, upload_id, mapping, options.model, choices, options.name, typed_by_operator=True)
    if options.wait:
        _wait(studio, run.id, quiet=options.json)
    shown = runs.show(studio, run.id)
    if options.json:
        print(json.dumps(shown))
    elif not options.wait:
        print(f"Run {run.id} waits. `studio show {run.id}` tells how it goes.")
    else:
        print(f"Run {run.id}: {runs.view(studio, run.id).headline}")
    if shown["error"]:
        print(f"studio: {shown['error']['message']} {shown['error']['hint']}".strip(), file=sys.stderr)
    return 1 if options.wait and RunStatus(shown["status"]) not in WITH_ADAPTER else 0


def _check(options: argparse.Namespace) -> int:
    from studio.services.checkup import checkup

    studio = open_studio(options)
    upload_id, mapping = take_data(studio, options)
    quiet = options.json or not sys.stderr.isatty()
    found = checkup(
        studio,
        upload_id,
        mapping,
        options.model,
        (lambda words: None) if quiet else lambda w: print(w, file=sys.stderr),
    )
    if options.json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        _print_report(found)
    if found.problem:
        print(f"studio: {found.problem}", file=sys.stderr)
    return 1 if found.problem else 0


def _print_report(found: Any) -> None:
    view, counted = found.view, found.lengths
    print(f"{view.filename}: {view.rows:,} rows, {view.words}")
    if counted:
        print(
            f"{counted.total:,} tokens, {counted.learned:,} to learn. "
            f"Half of the rows have up to {counted.p50:,}, 95% up to {counted.p95:,}, the longest {counted.max:,}."
        )
    for finding in found.findings:
        sign = {"error": "✗", "warning": "!", "note": "·"}[finding.severity]
        rows = (
            f" (rows {', '.join(map(str, finding.rows[:8]))}{' …' if finding.count > 8 else ''})"
            if finding.rows
            else ""
        )
        print(f"{sign} {finding.message}{rows}{' The page can repair it.' if finding.repair else ''}")
    if not found.findings and not found.problem:
        print("Nothing is wrong with these examples.")


def _read_recipe(path: Path) -> dict[str, Any]:
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise StudioError(f"The recipe {path} cannot be read.", "Give the path of a recipe.yaml.") from None


def _wait(studio: Any, run_id: int, quiet: bool) -> None:
    """Until the run has ended or is paused: train it here if nobody else does."""
    from studio.jobs.supervisor import Supervisor
    from studio.services import runs
    from studio.store.locks import Held

    supervisor = Supervisor(studio.home, studio.db)

    def train_unless_somebody_does() -> None:
        with suppress(Held):
            supervisor.execute(run_id, wait_for_device=False)

    trainer, last_words = Thread(target=train_unless_somebody_does), ""
    trainer.start()
    try:
        while not (view := runs.view(studio, run_id)).rests:
            words = f"{view.headline} {view.share_done * 10 // 1 * 10:.0f}%"
            if not quiet and words != last_words:
                print(words, file=sys.stderr)
            last_words = words
            if view.run.status == RunStatus.QUEUED and not trainer.is_alive():
                trainer = Thread(target=train_unless_somebody_does)
                trainer.start()
            time.sleep(0.5)
    finally:
        supervisor.close()
        trainer.join()


def _runs(options: argparse.Namespace) -> None:
    from studio.services import runs

    studio = open_studio(options)
    listed = runs.every(studio)
    if options.json:
        print(json.dumps({"runs": [{"id": r.id, "name": r.name, "status": r.status, "step": r.step} for r in listed]}))
        return
    for run in listed:
        print(f"{run.id:>5}  {run.status:<10} {run.name}")
    if not listed:
        print("No runs yet. Start one with `studio train FILE`.")


def _show(options: argparse.Namespace) -> None:
    from studio.services import runs

    studio = open_studio(options)
    run_id = runs.parse_id(options.run)
    if options.json:
        print(json.dumps(runs.show(studio, run_id)))
        return
    view = runs.view(studio, run_id)
    print(f"{view.run.name} (run {view.run.id}, {view.base_name}): {view.headline}")
    if view.run.total_steps:
        print(f"  step {view.run.step:,} of {view.run.total_steps:,}")
    for name, value in view.run.summary.items():
        print(f"  {name.replace('_', ' ')}: {json.dumps(value)}")
    if view.run.error_message:
        print(f"  {view.run.error_message} {view.run.error_hint or ''}".rstrip())


def _stop(options: argparse.Namespace) -> None:
    from studio.services import runs

    studio = open_studio(options)
    run = runs.stop(studio, runs.parse_id(options.run), options.discard)
    print(f"Run {run.id}: {runs.view(studio, run.id).headline}")


def _pause(options: argparse.Namespace) -> None:
    from studio.services import runs

    studio = open_studio(options)
    run = runs.pause(studio, runs.parse_id(options.run))
    print(f"Run {run.id}: {runs.view(studio, run.id).headline}")


def _resume(options: argparse.Namespace) -> int:
    from studio.services import runs

    studio = open_studio(options)
    return _follow(studio, runs.resume(studio, runs.parse_id(options.run)).id, options.wait)


def _further(options: argparse.Namespace) -> int:
    from studio.services import runs

    studio = open_studio(options)
    return _follow(studio, runs.train_further(studio, runs.parse_id(options.run), options.epochs).id, options.wait)


def _follow(studio: Any, run_id: int, wait: bool) -> int:
    """Say how a run stands, at its end if `wait`; the exit code says whether it left a model."""
    from studio.services import runs

    if wait:
        _wait(studio, run_id, quiet=False)
    view = runs.view(studio, run_id)
    print(f"Run {run_id}: {view.headline}")
    if view.run.error_message:
        print(f"studio: {view.run.error_message} {view.run.error_hint or ''}".strip(), file=sys.stderr)
    return 1 if wait and RunStatus(view.run.status) not in WITH_ADAPTER else 0


def _chat(options: argparse.Namespace) -> None:
    from studio.services import chat, runs

    studio = open_studio(options)
    run_id = runs.parse_id(options.run)
    messages = [{"role": "user", "content": options.prompt}]
    with chat.connected(studio) as engine:
        model = chat.model_of(studio, run_id, base=options.base)
        for delta in engine.stream(model, messages, options.temperature, options.max_tokens):
            print(delta.text, end="", flush=True)
    print()


def _export(options: argparse.Namespace) -> None:
    from studio.services import exports, runs

    studio = open_studio(options)
    exports.write_adapter_zip(studio, runs.parse_id(options.run), options.out)
    print(f"Written: {options.out} ({options.out.stat().st_size / 2**20:.1f} MiB)")
