"""The `studio` command: everything the web page does, for people who automate.

With `--json`, one JSON object on stdout and nothing else. What went wrong is one sentence on stderr and a non-zero
exit.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

from pydantic import ValidationError

from studio.core.catalog import STARTER
from studio.core.choices import parse_settings, parse_yaml
from studio.core.errors import DiskFull, StudioError, is_disk_full
from studio.core.recipe import PRESETS
from studio.core.run_state import WITH_ADAPTER, RunStatus
from studio.settings import Settings


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        sys.exit(options.command(options) or 0)
    except StudioError as error:
        sys.exit(f"studio: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        if is_disk_full(error):
            sys.exit(f"studio: {DiskFull()}")
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="studio", description="Fine-tune a language model without writing code.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, call: Callable[[argparse.Namespace], int | None], words: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words)
        sub.set_defaults(command=call)
        sub.add_argument("--home", type=Path, help="folder of everything the studio keeps (or STUDIO_HOME)")
        return sub

    def as_json(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    for name, call, words in (
        ("up", _up, "Start the studio: web page, consumer and chat engine."),
        ("web", _web, "Run the web page alone."),
    ):
        sub = command(name, call, words)
        sub.add_argument("--host", help="address to listen on (127.0.0.1)")
        sub.add_argument("--port", type=int, help="port to listen on (7860)")
        sub.add_argument("--parent", type=int, help=argparse.SUPPRESS)

    sub = command("work", _work, "Run the consumer alone: take waiting runs and train them.")
    sub.add_argument("--parent", type=int, help=argparse.SUPPRESS)

    sub = command("check", _check, "Report on files: what is wrong with the examples, and how long they are.")
    _add_data(sub)
    sub.add_argument("--model", default="", help="base model whose tokens are counted (starter, if it is here)")
    as_json(sub)

    sub = command("train", _train, "Train on a file.")
    _add_data(sub)
    sub.add_argument("--model", default=STARTER, help="base model: an id, a hub id or a folder (starter)")
    sub.add_argument("--name", default="", help="name of the run")
    sub.add_argument("--preset", choices=PRESETS, help="how long to train (balanced)")
    sub.add_argument("--recipe", type=Path, help="settings from a recipe.yaml")
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    sub.add_argument("--wait", action="store_true", help="wait for the end; works without a running studio")
    as_json(sub)

    as_json(command("runs", _runs, "List the runs."))
    sub = command("show", _show, "Show one run.")
    sub.add_argument("run")
    as_json(sub)
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
    sub = command("storage", _storage, "Say what each thing takes on disk.")
    as_json(sub)
    sub = command("delete", _delete, "Delete something for good; asks first.")
    sub.add_argument("kind", choices=["run", "checkpoints", "dataset", "model", "upload", "backup"])
    sub.add_argument("id", help="a run's number (for its checkpoints too), or an id that `studio storage` lists")
    sub.add_argument("--yes", action="store_true", help="do not ask")
    sub = command("backup", _backup, "Write everything but base models into one file; the studio may be running.")
    sub.add_argument("out", type=Path, metavar="OUT.zip")
    sub.add_argument("--without-checkpoints", action="store_true", help="runs that have not ended start afresh")
    as_json(sub)
    sub = command("restore", _restore, "Put a backup back into an empty home.")
    sub.add_argument("file", type=Path, metavar="FILE.zip")
    sub.add_argument("--replace", action="store_true", help="move what the home holds aside first")
    as_json(sub)
    as_json(command("doctor", _doctor, "Say what this machine has, and what is missing."))
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    given = {name: getattr(options, name, None) for name in ("home", "host", "port")}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        raise StudioError(
            f"The setting {name} cannot be used: {problem['msg'][0].lower()}{problem['msg'][1:]}.",
            f"Correct --{name} or STUDIO_{name.upper()}.",
        ) from None


def _studio(options: argparse.Namespace) -> Any:
    from studio.services.context import Studio

    return Studio.open(_settings(options))


def _up(options: argparse.Namespace) -> None:
    from studio.jobs.processes import up
    from studio.store.home import Home

    settings = _settings(options)
    up(settings, Home.at(settings), lambda words: print(words, flush=True))


def _web(options: argparse.Namespace) -> None:
    from studio.jobs.processes import check_address

    settings = _settings(options)
    check_address(settings)
    _tether(options)
    from studio.services import storage, uploads
    from studio.ui.app import serve

    studio = _studio(options)
    uploads.sweep(studio)
    storage.sweep(studio)
    serve(studio)


def _work(options: argparse.Namespace) -> None:
    from studio.jobs.supervisor import consume

    _tether(options)
    studio = _studio(options)
    consume(studio.home, studio.db)


def _tether(options: argparse.Namespace) -> None:
    from studio.core.lifeline import end_with_parent

    if options.parent:
        end_with_parent(options.parent)


def _train(options: argparse.Namespace) -> int:
    from studio.services import runs

    choices = _read_recipe(options.recipe) if options.recipe else {}
    choices |= {"preset": options.preset} if options.preset else {}
    choices |= parse_settings(options.set)
    studio = _studio(options)
    upload_id, mapping = _take_data(studio, options)
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

    studio = _studio(options)
    upload_id, mapping = _take_data(studio, options)
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


def _add_data(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("data", nargs="+", help="files with examples, or hub:owner/name")
    sub.add_argument("--sheet", default="", help="sheet of a workbook (the first with rows)")
    sub.add_argument("--question", default="", help="column with the question (guessed)")
    sub.add_argument("--answer", default="", help="column with the answer (guessed)")


def _take_data(studio: Any, options: argparse.Namespace) -> tuple[str, Any]:
    """(upload id, mapping) of what `_add_data` has asked for."""
    from studio.core.mapping import Mapping, Reading
    from studio.services import uploads

    asked = Mapping(
        shape="columns" if options.question or options.answer else "",
        question=options.question,
        answer=options.answer,
        reading=Reading(sheet=options.sheet),
    )
    if len(options.data) == 1 and options.data[0].startswith("hub:"):
        return uploads.keep_from_hub(studio, options.data[0].removeprefix("hub:")), asked
    for name in options.data:
        if not Path(name).is_file():
            raise StudioError(f"There is no file {name}.", "Check the name and the folder.")
    return uploads.keep(studio, [(Path(name), Path(name).name) for name in options.data]), asked


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

    studio = _studio(options)
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

    studio = _studio(options)
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

    studio = _studio(options)
    run = runs.stop(studio, runs.parse_id(options.run), options.discard)
    print(f"Run {run.id}: {runs.view(studio, run.id).headline}")


def _pause(options: argparse.Namespace) -> None:
    from studio.services import runs

    studio = _studio(options)
    run = runs.pause(studio, runs.parse_id(options.run))
    print(f"Run {run.id}: {runs.view(studio, run.id).headline}")


def _resume(options: argparse.Namespace) -> int:
    from studio.services import runs

    studio = _studio(options)
    return _follow(studio, runs.resume(studio, runs.parse_id(options.run)).id, options.wait)


def _further(options: argparse.Namespace) -> int:
    from studio.services import runs

    studio = _studio(options)
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

    studio = _studio(options)
    run_id = runs.parse_id(options.run)
    messages = [{"role": "user", "content": options.prompt}]
    with chat.connected(studio) as engine:
        model = chat.model_of(studio, run_id, base=options.base)
        for delta in engine.stream(model, messages, options.temperature, options.max_tokens):
            print(delta.text, end="", flush=True)
    print()


def _export(options: argparse.Namespace) -> None:
    from studio.services import exports, runs

    studio = _studio(options)
    exports.write_adapter_zip(studio, runs.parse_id(options.run), options.out)
    print(f"Written: {options.out} ({options.out.stat().st_size / 2**20:.1f} MiB)")


def _storage(options: argparse.Namespace) -> None:
    from studio.services import storage

    report = storage.report(_studio(options), most=1_000_000)
    if options.json:
        print(json.dumps(asdict(report)))
        return
    for group in report.groups:
        print(f"{group.title}: {_size(group.size_bytes)}")
        for thing in group.things:
            named = thing.name if thing.id in thing.name else f"{thing.name} [{thing.id}]"
            print(f"  {_size(thing.size_bytes):>9}  {named}")
    print(f"{_size(report.size_bytes)} used, {_size(report.free_bytes)} free.")


def _delete(options: argparse.Namespace) -> int:
    from studio.services import storage

    studio, kind = _studio(options), storage.Kind(options.kind)
    thing = storage.find(studio, kind, options.id)
    if not options.yes:
        asked = f"Delete {thing.name}, {_size(thing.size_bytes)}? {thing.in_use or thing.warning} [y/N] "
        print(asked, end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            print("Nothing was deleted.", file=sys.stderr)
            return 1
    storage.delete(studio, kind, thing.id, even_if_used=True)
    print(f"Deleted: {thing.name}, {_size(thing.size_bytes)}.")
    return 0


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MB"


def _backup(options: argparse.Namespace) -> None:
    from studio.services import backup

    written = backup.write(_studio(options), options.out, not options.without_checkpoints, _Said().progress)
    if options.json:
        print(json.dumps(asdict(written)))
        return
    runs, datasets = written.runs, written.datasets
    print(f"Written: {written.path} ({_size(written.size_bytes)}; {runs} runs, {datasets} data sets)")
    for missing in written.missing:
        print(f"studio: not in it, because it is not here: {missing}", file=sys.stderr)
    for model in written.base_models:
        print(f"  base model, to be had again: {model['id']}, fingerprint {str(model['fingerprint'])[:12]}")


def _restore(options: argparse.Namespace) -> None:
    from studio.services import backup
    from studio.store.home import Home

    home = Home.at(_settings(options))
    restored = backup.restore(home, options.file, options.replace, _Said().progress)
    if options.json:
        print(json.dumps(asdict(restored)))
        return
    print(f"Restored: {restored.runs} runs and {restored.datasets} data sets, as of {restored.made_at}.")
    if restored.aside:
        print(f"What was there before is in {restored.aside}.")
    for model in restored.absent_base_models:
        print(f"  base model to get again: {model}")


class _Said:
    """Progress on stderr, at most every second."""

    def __init__(self) -> None:
        self._last = 0.0

    def progress(self, done: int, total: int) -> None:
        if time.monotonic() - self._last > 1:
            self._last = time.monotonic()
            print(f"{_size(done)} of {_size(total)}", file=sys.stderr)


def _doctor(options: argparse.Namespace) -> int:
    from studio.services.machine import report

    found = report(_studio(options))
    if options.json:
        print(json.dumps(found))
    else:
        for check in found["checks"]:
            print(f"{'✓' if check['ok'] else '✗'} {check['name']}: {check['words']}")
    return 0 if all(check["ok"] or not check["needed"] for check in found["checks"]) else 1
