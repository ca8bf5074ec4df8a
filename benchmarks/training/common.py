"""What the training benchmarks share: a home with one queued run, rows to train on, and the start of both sides."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from studio.core.catalog import STARTER
from studio.core.conversation import Conversation, Message, write_jsonl
from studio.core.recipe import Recipe
from studio.settings import Settings
from studio.store import runs
from studio.store.db import Database, open_database
from studio.store.home import Home
from studio.store.tables import Dataset
from workers.tokens import load_tokenizer

HERE = Path(__file__).parent
WORDS = ("river", "count", "apple", "green", "stone", "seven", "window", "light", "paper", "house", "train", "cloud")
# for both sides: without it TRL is several times slower beside other work
ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}


def invented_rows(models: Path, count: int, tokens: int) -> list[dict[str, str]]:
    """Questions and answers of random words, each exactly `tokens` long with the starter's chat template."""
    tokenizer = load_tokenizer(models / STARTER)
    draw = random.Random(0)
    rows = []
    for _ in range(count):
        question = draw.choices(WORDS, k=tokens // 3)
        answer = draw.choices(WORDS, k=tokens // 3)
        while (length := _length(tokenizer, question, answer)) != tokens:
            answer = answer[:-1] if length > tokens else [*answer, draw.choice(WORDS)]
        rows.append({"question": " ".join(question), "answer": " ".join(answer)})
    return rows


def _length(tokenizer: Any, question: list[str], answer: list[str]) -> int:
    chat = [{"role": "user", "content": " ".join(question)}, {"role": "assistant", "content": " ".join(answer)}]
    return len(tokenizer(tokenizer.apply_chat_template(chat, tokenize=False), add_special_tokens=False)["input_ids"])


def rows_of(path: Path | None, models: Path, count: int, tokens: int) -> list[dict[str, str]]:
    """The first `count` rows of a JSON-lines file with question and answer; invented ones without a file."""
    if path is None:
        return invented_rows(models, count, tokens)
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line, _ in zip(file, range(count), strict=False)]


def queue_run(folder: Path, models: Path, rows: list[dict[str, str]], recipe: Recipe) -> tuple[Home, Database, int]:
    asked = [
        Conversation((Message("user", r["question"]), Message("assistant", r["answer"])), number)
        for number, r in enumerate(rows, start=1)
    ]
    return queue_conversations(folder, models, asked, recipe)


def queue_conversations(
    folder: Path, models: Path, rows: list[Conversation], recipe: Recipe
) -> tuple[Home, Database, int]:
    home = Home.at(Settings(home=folder, models=models))
    db = open_database(home.database)
    with db.writing() as session:
        dataset = Dataset(
            name="benchmark", filename="-", sha256="", shape="", mapping={}, columns=[],
            rows=len(rows), usable_rows=len(rows), skipped=[],
        )  # fmt: skip
        session.add(dataset)
        session.flush()
    home.dataset(dataset.id).mkdir()
    write_jsonl(home.examples(dataset.id), rows)
    run = runs.create(db, name="benchmark", recipe=recipe.model_dump(), dataset_id=dataset.id, data={}, base_id=STARTER)
    return home, db, run.id


def ours(home: Home, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "workers.train", *arguments, "--home", str(home.path), "--models", str(home.models)]


def plain(script: str, models: Path, rows: Path, *arguments: str, python: str = sys.executable) -> dict[str, Any]:
    """Run one of the plain scripts; what it measured."""
    command = [python, str(HERE / script), str(models / STARTER), str(rows), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT | {"PYTHONPATH": str(HERE.parents[1])}
    )
    if done.returncode:
        sys.exit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
