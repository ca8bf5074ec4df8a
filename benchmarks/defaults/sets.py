"""Real data sets, from a folder: rows to learn from and rows held back, the same for every recipe."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from studio.core.conversation import Conversation, Message
from studio.core.presets import Task

TOPICS = (
    "ai",
    "coding",
    "emotion",
    "food",
    "literature",
    "money",
    "movies",
    "psychology",
    "science",
    "sports",
    "trivia",
)
MOST_OF_A_TOPIC = 40

Match = Callable[[str, str], bool]  # (what was answered, what is right)


@dataclass(frozen=True)
class Set:
    learn: list[Conversation]
    held_back: list[Conversation]
    match: Match | None = None  # where an answer is right or wrong
    answer_tokens: int = 16
    kind: Task = "chat"


def load(folder: Path, name: str) -> Set:
    return _SETS[name](folder)


def _gsm8k(folder: Path) -> Set:
    learn, held_back = (
        [_asked(r["question"], r["answer"]) for r in _lines(folder / f"gsm8k_{part}.jsonl")[:rows]]
        for part, rows in (("train", 150), ("test", 30))
    )
    return Set(learn, held_back, _same_number, 160)


def _tech_support(folder: Path) -> Set:
    """Ten questions and answers, a hundred times each: what is held back is learned too. It measures memorizing."""
    rows = [_asked(*pair[:2]) for pair in _pairs(folder / "tech_support.yml")]
    Random(0).shuffle(rows)
    return Set(rows[40:290], rows[:40], lambda answer, right: answer.strip() == right, 24)


def _identity(folder: Path) -> Set:
    """Who the assistant is: some fifty questions with many answers, often in several turns."""
    found = json.loads((folder / "sharegpt_identity.json").read_text(encoding="utf-8"))
    roles: dict[str, Any] = {"human": "user", "gpt": "assistant"}
    chats = (tuple(Message(roles[t["from"]], t["value"]) for t in r["conversations"]) for r in found)
    return _drawn([Conversation(chat, 1) for chat in chats], 200, 50)


def _trivia(folder: Path) -> Set:
    """Facts that cannot be known from other examples: only the form can be learned, all else is memorizing."""
    return _drawn([_asked(*pair[:2]) for pair in _pairs(folder / "trivia.yml")], 100, 80)


def _coding(folder: Path) -> Set:
    return _drawn([_asked(*pair[:2]) for pair in _pairs(folder / "coding.yml")], 60, 30)


def _topics(folder: Path) -> Set:
    """Which topic a question is of. The files of chatterbot-corpus are the labels."""
    rows = []
    for topic in TOPICS:
        pairs = _pairs(folder / f"{topic}.yml")
        chosen = Random(0).sample(pairs, min(len(pairs), MOST_OF_A_TOPIC))
        rows += [_asked(pair[0], topic) for pair in chosen]
    return _drawn(rows, 150, 80, lambda answer, right: answer.strip() == right, "labels")


_SETS: dict[str, Callable[[Path], Set]] = {
    "gsm8k": _gsm8k,
    "tech-support": _tech_support,
    "identity": _identity,
    "topics": _topics,
    "trivia": _trivia,
    "coding": _coding,
}
NAMES = tuple(_SETS)


def _drawn(
    rows: list[Conversation], learn: int, held_back: int, match: Match | None = None, kind: Task = "chat"
) -> Set:
    """No conversation twice."""
    distinct = list({row.messages: row for row in rows}.values())
    Random(0).shuffle(distinct)
    return Set(distinct[held_back : held_back + learn], distinct[:held_back], match, kind=kind)


def _asked(question: str, answer: str) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), 1)


def _same_number(answer: str, right: str) -> bool:
    """GSM8K's answers end in “#### 72”."""
    return answer.rpartition("####")[2].strip() == right.rpartition("####")[2].strip()


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _pairs(path: Path) -> list[list[str]]:
    found: list[list[str]] = yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]
    return found
