import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from studio.core.conversation import Conversation, Message
from studio.store import examples
from studio.store.base_models import tokenizer_fingerprint
from tests.workers.conftest import conversation
from workers import check, lengths
from workers.tokens import IGNORE, encode


@pytest.fixture
def path(tmp_path: Path, conversations: list[Conversation]) -> Path:
    path = tmp_path / "examples.db"
    examples.create(path, conversations, "Uploaded")
    return path


def test_counts_are_those_of_the_trainer(
    path: Path, tiny_models: Path, tokenizer: PreTrainedTokenizerFast, conversations: list[Conversation]
) -> None:
    folder = tiny_models / "starter"
    lengths.count(path, folder, None)
    rows = encode(tokenizer, conversations, 10_000).rows
    with examples.opened(path) as book:
        assert book.lengths(1, tokenizer_fingerprint(folder)) == [
            (len(row.ids), row.learned, next(i for i, label in enumerate(row.labels) if label != IGNORE))
            for row in rows
        ]
        assert book.told(f"tokens {tokenizer_fingerprint(folder)}") == (24, 24, "")
        assert book.uncounted(1, tokenizer_fingerprint(folder)) == 0


def test_what_is_shown_is_the_text_with_the_learned_part_marked(tokenizer: PreTrainedTokenizerFast) -> None:
    (text,) = lengths.show(tokenizer, conversation("Which colour?", "Blue – ✓ ü"))
    assert "".join(piece for piece, _ in text["tokens"]) == (
        "<|im_start|>user\nWhich colour?<|im_end|>\n<|im_start|>assistant\nBlue – ✓ ü<|im_end|>\n"
    )
    assert "".join(piece for piece, learned in text["tokens"] if learned) == "Blue – ✓ ü<|im_end|>"
    assert text["count"] == len(text["tokens"]) and text["learned"] == sum(m for _, m in text["tokens"])


def test_text_is_learned_as_a_whole_and_a_mute_row_not_at_all(tokenizer: PreTrainedTokenizerFast) -> None:
    (text,) = lengths.show(tokenizer, Conversation((), 1, text="A page."))
    assert all(learned for _, learned in text["tokens"])
    mute = Conversation((Message("user", "Which?"), Message("assistant", "Blue.", learn=False)), 1)
    (text,) = lengths.show(tokenizer, mute)
    assert text["learned"] == 0


def test_the_process_answers_line_by_line_and_says_errors_in_words(path: Path, tiny_models: Path) -> None:
    asked = {"model": str(tiny_models / "starter"), "examples": str(path), "version": 1, "position": 0}
    lines = [
        json.dumps(asked),
        json.dumps(asked | {"examples": str(path / "no")}),
        json.dumps(asked | {"position": 99}),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "workers.lengths", "--answer"],
        input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    shown, gone, nowhere = map(json.loads, done.stdout.splitlines())
    assert shown["texts"][0]["learned"] > 0
    assert "not here any more" in gone["error"] and "cannot be shown" in nowhere["error"]


def test_a_check_leaves_its_report(path: Path) -> None:
    assert check.main([str(path), "1"]) == 0
    with examples.opened(path) as book:
        report = book.report(1)
    assert report and report["figures"]["rows"] == 24
    assert check.main([str(path), "7"]) == 1
