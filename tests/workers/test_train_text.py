"""Continued pretraining, with the tiny model: all of a document is learned, and its openings are gone on with."""

import pytest

from studio.core.conversation import Conversation, write_jsonl
from studio.core.recipe import Recipe
from studio.core.run_state import RunStatus
from studio.store import metrics, runs
from studio.store.db import Database
from studio.store.home import Home
from studio.store.tables import Dataset
from workers.attempt import work
from workers.train import train

# PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

PIECES = 24


def test_a_document_is_learned_as_a_whole(here: Home, db: Database) -> None:
    texts = [f"What colour is box {n}? The box is red, green or blue. " * 3 for n in range(PIECES)]
    document = [
        Conversation((), n, text=text.strip(), piece=n, goes_on=n < PIECES) for n, text in enumerate(texts, start=1)
    ]
    with db.writing() as session:
        dataset = Dataset(
            name="d", filename="d", sha256="", shape="text", mapping={}, columns=[], rows=PIECES, usable_rows=PIECES,
            skipped=[],
        )  # fmt: skip
        session.add(dataset)
        session.flush()
    here.dataset(dataset.id).mkdir()
    write_jsonl(here.examples(dataset.id), document)
    recipe = Recipe(rank=4, learning_rate=5e-3, max_steps=6, epochs=5, max_length=128, packing=True)
    run_id = runs.create(
        db, name="run", recipe=recipe.model_dump(), dataset_id=dataset.id, data={}, base_id="starter"
    ).id
    claim = runs.claim(db, run_id)
    assert claim

    assert work(here, db, claim, train) == 0
    run = runs.get(db, run_id)
    assert run.status == RunStatus.SUCCEEDED, run.error_detail
    assert run.summary["validation_loss"]["last"] < run.summary["validation_loss"]["base"]
    assert run.summary["learned_tokens"] > 0.97 * run.summary["tokens"]  # all but the first of a row
    assert run.summary["skipped"] == {"cut": {"count": 0, "rows": []}, "nothing_to_learn": {"count": 0, "rows": []}}
    samples = metrics.samples(db, run_id)
    assert len({sample.question for sample in samples}) == 2  # of the two pieces held back
    for sample in samples:
        whole = next(text for text in texts if text.startswith(sample.question))
        assert whole[len(sample.question) :].lstrip().startswith(sample.expected[:40])
