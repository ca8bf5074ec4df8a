"""A real but tiny base model: two llama layers with random weights, and a tokenizer trained here."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from studio.core.conversation import Conversation, Message
from studio.store.base_models import BaseModel
from studio.store.db import Database, open_database
from studio.store.home import Home

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def conversation(question: str, answer: str, row: int = 1) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), row)


@pytest.fixture(scope="session")
def conversations() -> list[Conversation]:
    colours = ("red", "green", "blue", "grey")
    return [
        conversation(f"What colour is box {i}{' of the many' * (i % 5)}?", f"Box {i} is {colours[i % 4]}.", i + 1)
        for i in range(24)
    ]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>", "<pad>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(["What colour is the box? The box is red, green or blue.\n"] * 3, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<pad>")
    made.chat_template = CHATML
    return made


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder of base models that holds one, under the starter's name."""
    models_folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        initializer_range=0.2,
    )
    folder = models_folder / "starter"
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return models_folder


@pytest.fixture
def here(home: Home, tiny_models: Path) -> Home:
    """An empty home with the tiny base model."""
    return Home(home.path, tiny_models)


@pytest.fixture
def db(here: Home) -> Database:
    return open_database(here.database)


@pytest.fixture
def tiny_base(tiny_models: Path) -> BaseModel:
    return BaseModel("starter", "Tiny", tiny_models / "starter", "made for tests", "none")


@pytest.fixture
def batch() -> dict[str, Any]:
    """Four rows of 24 tokens, the second half learned, the last row shorter."""
    torch.manual_seed(1)
    ids = torch.randint(3, 200, (4, 24))
    labels = ids.clone()
    labels[:, :12] = -100
    labels[3, 18:] = -100
    return {"input_ids": ids, "labels": labels}
