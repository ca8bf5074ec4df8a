"""Made-up questions and answers, all different, as a file of any size."""

import csv
from pathlib import Path
from random import Random

NOUNS = [
    "parcel",
    "invoice",
    "password",
    "printer",
    "router",
    "refund",
    "ticket",
    "order",
    "account",
    "battery",
    "screen",
    "charger",
    "cable",
    "lamp",
    "clock",
]
VERBS = [
    "replace",
    "return",
    "repair",
    "cancel",
    "collect",
    "track",
    "renew",
    "update",
    "reset",
    "exchange",
    "clean",
    "charge",
    "mount",
    "store",
    "ship",
]
PLACES = [
    "office",
    "shop",
    "station",
    "library",
    "warehouse",
    "kitchen",
    "garden",
    "garage",
    "school",
    "hotel",
    "museum",
    "factory",
    "bakery",
    "bank",
]


def pair(random: Random, number: int) -> tuple[str, str]:
    """Question and answer of about 150 characters together; no two are nearly the same."""
    noun, verb, place = random.choice(NOUNS), random.choice(VERBS), random.choice(PLACES)
    other = " ".join(random.choices(NOUNS + VERBS + PLACES, k=6))
    question = f"How do I {verb} the {noun} {number} at the {place}, and what about {other}?"
    return (
        question,
        f"Take {random.choice(PLACES)} door {number % 97}: {' '.join(random.choices(VERBS + PLACES, k=8))}.",
    )


def write_csv(path: Path, rows: int) -> None:
    random = Random(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        writer.writerows(pair(random, number) for number in range(rows))
