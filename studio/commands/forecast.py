"""`studio forecast`: what a run would take, before it starts."""

import argparse
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from studio.commands.common import Command, add_data, add_json, open_studio, take_data
from studio.core.catalog import STARTER
from studio.core.choices import parse_settings
from studio.core.recipe import PRESETS

if TYPE_CHECKING:
    from studio.services.forecast import Forecast

PARTS = {
    "weights": "base model",
    "quantization_constants": "its quantization constants",
    "adapters": "what learns",
    "gradients": "its gradients",
    "optimizer": "optimizer",
    "activations": "activations",
    "logits": "logits",
    "mapped_file": "the base model's file; the system takes this back when needed",
    "other": "libraries and the rest",
}


def add(command: Command) -> None:
    sub = command("forecast", _forecast, "Say what a run would take: parameters, memory, minutes; nothing is trained.")
    add_data(sub, needed=False)
    sub.add_argument("--model", default=STARTER, help="base model; its weights need not be here (starter)")
    sub.add_argument("--preset", choices=PRESETS, help="how long to train (balanced)")
    sub.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; may be repeated")
    sub.add_argument("--rows", type=int, default=0, help="without data: how many rows there would be")
    sub.add_argument("--tokens-per-row", type=int, default=0, help="without data: how long they would be (full length)")
    sub.add_argument("--probe", action="store_true", help="measure a few real steps first (about a minute)")
    add_json(sub)


def _forecast(options: argparse.Namespace) -> None:
    from studio.services import forecast

    choices: dict[str, Any] = parse_settings(options.set)
    choices |= {"preset": options.preset} if options.preset else {}
    studio = open_studio(options)
    upload_id, mapping = take_data(studio, options) if options.data else ("", None)
    question = forecast.Question(
        options.model, choices, upload_id=upload_id, mapping=mapping,
        rows=max(0, options.rows), tokens=max(0, options.tokens_per_row),
    )  # fmt: skip
    with closing(studio.errands):
        if options.probe:
            forecast.try_speed(studio, question)
        told = forecast.forecast(studio, question)
    print(json.dumps(told.as_dict(), ensure_ascii=False)) if options.json else _print(told)


def _print(told: "Forecast") -> None:
    facts, memory = told.facts, told.memory.as_dict()
    print(f"{facts.trainable_parameters:,} of {facts.parameters:,} parameters learn ({told.share:.2%}).")
    if told.steps:
        print(f"{told.steps:,} steps, {told.tokens:,} tokens.")
    if told.time:
        low, high = told.time.low / 60, told.time.high / 60
        print(f"About {told.time.seconds / 60:.1f} minutes ({low:.1f} to {high:.1f}).")
    if told.worth_a_probe:
        print("Nothing much like it has been trained here yet: --probe measures a few steps.")
    print(told.sentence)
    for part, words in PARTS.items():
        if memory[part] >= 0.005:
            print(f"  {memory[part]:7.2f} GiB  {words}")
    for change in told.changes:
        print(f"To make it fit: {change.field} {change.old} → {change.new}. {change.cost}")
