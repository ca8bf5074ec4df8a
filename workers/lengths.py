"""Count a data set's real tokens for a base model, and show single examples as the model sees them. By hand:

    python -m workers.lengths EXAMPLES --model FOLDER [--version N]     count; EXAMPLES is a data set's examples.db
    python -m workers.lengths --answer                                  answer questions, one JSON object a line

What is counted stays in EXAMPLES under the fingerprint of FOLDER's tokenizer, so that nothing is counted twice. What
is shown is made by `workers.tokens`, as the trainer does it.
"""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # read when tokenizers is loaded

import argparse
import json
import select
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.conversation import Conversation
from studio.core.errors import StudioError
from studio.core.lifeline import end_with_parent
from studio.store import examples
from studio.store.base_models import tokenizer_fingerprint
from workers.tokens import IGNORE, Marked, load_tokenizer, marked

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IDLE_SECONDS = 600  # after which a process that answers ends
SHOWN_TOKENS = 20_000  # of one example
UNIT = "tokens"  # the name of the task whose progress is told


def count(path: Path, folder: Path, version: int | None) -> None:
    """Count what has not been counted yet, telling how far it is."""
    model = tokenizer_fingerprint(folder)
    with examples.opened(path) as book:
        number = book.version(version).number
        total, done = book.uncounted(number, model), 0
        task = f"{UNIT} {model}"
        book.tell(task, 0, total)
        tokenizer = load_tokenizer(folder)
        for batch in book.to_count(number, model):
            book.keep_lengths(model, _lengths(tokenizer, batch))
            done += len(batch)
            book.tell(task, done, total)


def _lengths(
    tokenizer: "PreTrainedTokenizerBase", batch: list[tuple[int, Conversation]]
) -> Iterable[tuple[int, int, int, int]]:
    """(state's number, tokens, tokens to learn, place of the first one); of several texts the longest."""
    numbers = {id(conversation): number for number, conversation in batch}
    found: dict[int, tuple[int, int, int]] = {}
    for whole in marked(tokenizer, [conversation for _, conversation in batch]):
        number = numbers[id(whole.conversation)]
        tokens, learned, first = found.get(number, (0, 0, len(whole.ids)))
        begins = next((i for i, label in enumerate(whole.labels) if label != IGNORE), len(whole.ids))
        found[number] = (max(tokens, len(whole.ids)), learned + whole.learned, min(first, begins))
    return [(number, *length) for number, length in found.items()]


def show(tokenizer: "PreTrainedTokenizerBase", conversation: Conversation) -> list[dict[str, Any]]:
    """The texts made of one example, each as [what the token stands for, learned or not] from first to last."""
    return [
        {"tokens": _pieces(whole)[:SHOWN_TOKENS], "count": len(whole.ids), "learned": whole.learned}
        for whole in marked(tokenizer, [conversation])
    ]


def _pieces(whole: Marked) -> list[tuple[str, int]]:
    """A token that is only a part of a letter shows the letter once, at its first part."""
    pieces, at = [], 0
    for (start, end), label in zip(whole.offsets, whole.labels, strict=True):
        pieces.append((whole.text[max(start, at) : end], int(label != IGNORE)))
        at = max(at, end)
    return pieces


def answer() -> None:
    """One line in, one line out, until nobody asks any more."""
    tokenizers: dict[str, PreTrainedTokenizerBase] = {}
    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0] and (line := sys.stdin.readline()):
        asked = json.loads(line)
        try:
            folder = asked["model"]
            if folder not in tokenizers:
                tokenizers[folder] = load_tokenizer(Path(folder))
            with examples.opened(Path(asked["examples"])) as book:
                (example,) = book.at(asked["version"], [asked["position"]])
            said: dict[str, Any] = {"texts": show(tokenizers[folder], example.conversation)}
        except Exception as error:
            in_words = isinstance(error, StudioError)
            said = {"error": str(error) if in_words else f"This example cannot be shown ({type(error).__name__})."}
        print(json.dumps(said), flush=True)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workers.lengths", description="Count tokens, show examples.")
    parser.add_argument("examples", nargs="?", type=Path)
    parser.add_argument("--model", type=Path, help="folder of the base model")
    parser.add_argument("--version", type=int, help="version of the data set (the newest)")
    parser.add_argument("--answer", action="store_true", help="answer questions on stdin")
    parser.add_argument("--parent", type=int, help="end when this process is not the parent any more")
    options = parser.parse_args(given)
    if options.answer == bool(options.examples and options.model):
        parser.error("give EXAMPLES and --model, or --answer")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.parent:
        end_with_parent(options.parent)
    if options.answer:
        answer()
        return 0
    try:
        count(options.examples, options.model, options.version)
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
