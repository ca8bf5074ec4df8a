"""Commands that keep the studio running: up, web, work, and what this machine has."""

import argparse
import json

from studio.commands.common import Command, add_json, open_studio, settings_of


def add(command: Command) -> None:
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
    add_json(command("doctor", _doctor, "Say what this machine has, and what is missing."))


def _up(options: argparse.Namespace) -> None:
    from studio.jobs.processes import up
    from studio.store.home import Home

    settings = settings_of(options)
    up(settings, Home.at(settings), lambda words: print(words, flush=True))


def _web(options: argparse.Namespace) -> None:
    from studio.jobs.processes import check_address

    settings = settings_of(options)
    check_address(settings)
    _tether(options)
    from studio.services import storage, uploads
    from studio.ui.app import serve

    studio = open_studio(options)
    uploads.sweep(studio)
    storage.sweep(studio)
    serve(studio)


def _work(options: argparse.Namespace) -> None:
    from studio.jobs.supervisor import consume

    _tether(options)
    studio = open_studio(options)
    consume(studio.home, studio.db)


def _tether(options: argparse.Namespace) -> None:
    from studio.core.lifeline import end_with_parent

    if options.parent:
        end_with_parent(options.parent)


def _doctor(options: argparse.Namespace) -> int:
    from studio.services.machine import report

    found = report(open_studio(options))
    if options.json:
        print(json.dumps(found))
    else:
        for check in found["checks"]:
            print(f"{'✓' if check['ok'] else '✗'} {check['name']}: {check['words']}")
    return 0 if all(check["ok"] or not check["needed"] for check in found["checks"]) else 1
