"""Every method for real: on the starter model, through a whole run, to an adapter that plain PEFT loads.

The starter by hand: 30 layers of width 576, keys and values 192, MLP 1536, 49,152 words, head and embedding in one.
In and out of a layer's seven matrices add up to 1152 + 768 + 768 + 1152 + 3 * 2112 = 10,176.
"""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from studio.core.conversation import Conversation, write_jsonl
from studio.core.methods import conflicts
from studio.core.recipe import Recipe
from studio.core.run_state import RunStatus
from studio.store import base_models, metrics, runs
from studio.store.db import Database
from studio.store.home import Home
from studio.store.tables import Dataset
from workers import methods
from workers.attempt import work
from workers.model import attention_for, load_base
from workers.probe import probe
from workers.train import train

pytestmark = [
    pytest.mark.slow,
    # PEFT 0.21 asks transformers 5.23 by a name that it calls outdated
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # said by plain PEFT as it loads
    pytest.mark.filterwarnings("ignore:.*tie_word_embeddings|.*has no bias term|Unsupported layer type"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported|.*rank_pattern keys did not match"),
]

LAYERS, WIDTH, KV, MLP, WORDS = 30, 576, 192, 1536, 49_152
IN_AND_OUT = LAYERS * 10_176
OUT = LAYERS * (2 * WIDTH + 2 * KV + 2 * MLP + WIDTH)
LAYER = 2 * WIDTH * WIDTH + 2 * WIDTH * KV + 3 * WIDTH * MLP + 2 * WIDTH
RANK, STEPS = 4, 3
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "lora": ({"rslora": True, "rank_pattern": {"down_proj": 8}}, 4, RANK * (IN_AND_OUT + LAYERS * 2112)),
    "lora+": ({"lora_plus_ratio": 16, "quantization": "fp4", "double_quantization": False}, 4, RANK * IN_AND_OUT),
    "pissa": ({"initialization": "pissa", "target_modules": "attention"}, 16, RANK * LAYERS * 3840),
    "olora": ({"initialization": "olora", "target_modules": "attention-qv"}, 4, RANK * LAYERS * 1920),
    "eva": ({"initialization": "eva", "target_modules": "attention-qv"}, 4, RANK * LAYERS * 1920),
    "loftq": ({"initialization": "loftq", "target_modules": "attention-qv"}, 4, RANK * LAYERS * 1920),
    "dora": ({"method": "dora"}, 4, RANK * IN_AND_OUT + OUT),
    "lora-fa": ({"method": "lora-fa"}, 4, RANK * OUT),
    "adalora": ({"method": "adalora"}, 4, RANK * 3 // 2 * (IN_AND_OUT + LAYERS * 7)),
    "vera": ({"method": "vera", "rank": 64}, 4, OUT + LAYERS * 7 * 64),
    "dylora": ({"method": "dylora"}, 4, RANK * IN_AND_OUT),
    "oft": ({"method": "oft", "rank": 16}, 4, LAYERS * (6 * WIDTH + MLP) // 16 * 120),
    "ia3": ({"method": "ia3"}, 16, LAYERS * (2 * KV + MLP)),
    "prompt": ({"method": "prompt"}, 4, 8 * WIDTH),
    "prefix": ({"method": "prefix"}, 4, 8 * LAYERS * 2 * KV),
    "norms": ({"method": "norms"}, 4, (2 * LAYERS + 1) * WIDTH),
    "layers": ({"method": "layers"}, 16, 2 * LAYER),
    "full": ({"method": "full"}, 16, LAYERS * LAYER + WIDTH + WORDS * WIDTH),
}
AUTOCAST = {"dora", "adalora", "vera", "oft"}  # their layers compute in float32 without it
TOLERANCE = {"adalora": 0.5}  # it drops zeros and adds up the rest in another order


@pytest.fixture
def real(here: Home, starter_models: Path) -> Home:
    return Home(here.path, starter_models)


def run_of(home: Home, db: Database, conversations: list[Conversation], recipe: Recipe) -> int:
    with db.writing() as session:
        dataset = Dataset(
            name="d", filename="d", sha256="", shape="", mapping={}, columns=[], rows=24, usable_rows=24, skipped=[]
        )
        session.add(dataset)
        session.flush()
    home.dataset(dataset.id).mkdir()
    write_jsonl(home.examples(dataset.id), conversations)
    made = runs.create(db, name="r", recipe=recipe.model_dump(), dataset_id=dataset.id, data={}, base_id="starter")
    return made.id


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(1000, 1024)[None]
    found: torch.Tensor = model.eval()(input_ids=ids).logits
    return found.float()


@pytest.mark.parametrize("case", CASES)
def test_trains_the_starter_and_gives_the_same_in_plain_peft(
    real: Home, db: Database, conversations: list[Conversation], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    choices, bits, count = CASES[case]
    recipe = Recipe.model_validate(
        {
            "rank": RANK, "alpha": 8, "virtual_tokens": 8, "bits": bits, "learning_rate": 1e-3, "max_steps": STEPS,
            "warmup_ratio": 0, "epochs": 9, "batch_size": 2, "max_length": 128, "validation_fraction": 0,
        }
        | choices
    )  # fmt: skip
    assert conflicts(recipe) == {}
    trained, moved = [], []
    attach, save = methods.attach, methods.save

    def attached(*given: Any, **more: Any) -> PeftModel:
        model = attach(*given, **more)
        before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
        moved.append(lambda: [n for n, p in model.named_parameters() if n in before and not torch.equal(p, before[n])])
        return model

    def saved(model: PeftModel, *given: Any) -> None:
        trained.append(logits(model))
        save(model, *given)

    monkeypatch.setattr(methods, "attach", attached)
    monkeypatch.setattr(methods, "save", saved)
    run_id = run_of(real, db, conversations, recipe)
    claim = runs.claim(db, run_id)
    assert claim
    assert work(real, db, claim, train) == 0, runs.get(db, run_id).error_detail
    run = runs.get(db, run_id)
    assert run.status == RunStatus.SUCCEEDED
    assert run.summary["bits"] == bits
    assert run.summary["trainable_parameters"] == count
    losses = [row["train_loss"] for row in metrics.read(db, run_id) if row["step"]]
    assert len(losses) == STEPS and all(math.isfinite(value) for value in losses)
    assert moved[0]()
    print(f"\n{case}: {count:,} parameters, {run.summary['seconds_per_step']} s a step, losses {losses}")

    adapter = runs.adapter_of(db, run_id)
    base = base_models.find(real.models, "starter")
    assert adapter and base
    attention = attention_for(recipe.max_length, probe())  # another one differs in the last digits
    plain = load_base(base, bits, probe(), attention, recipe.quantization, recipe.double_quantization).model
    untouched = logits(plain)
    with torch.autocast("cpu", torch.bfloat16, enabled=case in AUTOCAST):
        loaded = logits(PeftModel.from_pretrained(plain, real.path / adapter.path))
    torch.testing.assert_close(loaded, trained[0], atol=TOLERANCE.get(case, 0.0), rtol=0)
    assert not torch.equal(loaded, untouched)


def test_the_starter_has_no_biases_and_says_so(real: Home, db: Database, conversations: list[Conversation]) -> None:
    run_id = run_of(real, db, conversations, Recipe(method="bias", max_length=128))
    claim = runs.claim(db, run_id)
    assert claim and work(real, db, claim, train) == 1
    assert "Choose norms instead" in str(runs.get(db, run_id).error_message)
