"""What every test may use: a studio on an empty home, files to feed it, the real starter model, and a tiny one."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from studio.core.catalog import STARTER
from studio.core.recipe import Recipe
from studio.core.run_state import RunStatus
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import base_models, datasets, runs
from studio.store.artifacts import file_sha256, publish
from studio.store.home import Home
from tests.databases import put_fresh_database

# how long a busy machine takes is not what these tests are about; the examples are the same each time, so that what
# passed once passes everywhere. To look for new ones: pytest --hypothesis-profile search
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("studio", settings.get_profile("search"), derandomize=True)
settings.load_profile("studio")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home.at(Settings(home=tmp_path / "home", models=tmp_path / "models"))
    put_fresh_database(made.database)
    return made


@pytest.fixture
def studio(home: Home) -> Iterator[Studio]:
    opened = Studio.open(Settings(home=home.path, models=home.models))
    yield opened
    opened.errands.close()


@pytest.fixture
def faq(tmp_path: Path) -> Path:
    """A CSV of 20 questions and answers."""
    path = tmp_path / "faq.csv"
    rows = "".join(f"What is item {n}?,Item {n} is on shelf {n * 7}.\n" for n in range(1, 21))
    path.write_text("question,answer\n" + rows, encoding="utf-8")
    return path


@pytest.fixture
def pretend_starter(studio: Studio) -> None:
    """A folder that looks like the starter model, for what only needs it to be there."""
    folder = studio.home.models / STARTER
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")


@pytest.fixture(scope="session")
def starter_models() -> Path:
    """The models folder with the real starter model; `make test` sees to it that it is there."""
    models = Path(os.environ.get("STUDIO_MODELS", "~/.adapter-studio/models")).expanduser()
    if base_models.find(models, STARTER) is None:
        pytest.fail(f"The starter model is not in {models}: run `make install` first.")
    return models


TINY = "tiny"


@pytest.fixture(scope="session")
def chat_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with `tiny`: a random two-layer Llama of 512 tokens context, whose tokens are single bytes."""
    models = tmp_path_factory.mktemp("models")
    _make_base(models / TINY, seed=0)
    return models


@pytest.fixture(scope="session")
def add_base() -> Callable[..., None]:
    """(folder, seed, template=True): another such base model, if wished without a chat template."""
    return _make_base


@pytest.fixture(scope="session")
def add_adapter() -> Callable[..., int]:
    """(studio, base_id="tiny", seed=1): a run that has ended well, with a real adapter by peft; returns its number."""
    return _make_adapter


@pytest.fixture(scope="session")
def run_engine() -> Callable[..., object]:
    """(home, models, **environment): a context with (address, process id) of a running chat engine."""
    return _running_engine


@contextmanager
def _running_engine(home: Path, models: Path, **environment: str) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "workers.serve", "--home", str(home), "--models", str(models), "--port", "0"]
    quiet = {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | quiet | environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1], process.pid
        finally:
            process.terminate()


def _make_base(folder: Path, seed: int, template: bool = True) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens = ["<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    marks = {"bos_token": tokens[0], "eos_token": tokens[1], "pad_token": tokens[1]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, **marks)
    if template:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
        )
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(seed)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _make_adapter(studio: Studio, base_id: str = TINY, seed: int = 1) -> int:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = base_models.folder_of(studio.home.models, base_id)
    data = {"rows": 60, "train_rows": 54, "validation_rows": 6, "sha256": "d" * 64}
    mapping = {"shape": "columns", "question": "Frage", "answer": "Antwort"}
    dataset = datasets.create(
        studio.db, name="questions", filename="questions.csv", sha256="d" * 64, shape="columns", mapping=mapping,
        columns=["Frage", "Antwort"], rows=60, usable_rows=60, skipped=[],
    )  # fmt: skip
    recipe = Recipe(rank=4, alpha=8).model_dump()
    run = runs.create(
        studio.db, name="Support helper", recipe=recipe, dataset_id=dataset.id, data=data, base_id=base_id
    )
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft 0.21.2 calls what transformers 5.23 renames
        adapted = get_peft_model(
            model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:  # zero at first, when an adapter changes nothing
            torch.nn.init.normal_(parameter, std=0.3 if base_id == TINY else 0.002)

    def fill(folder: Path) -> None:
        adapted.save_pretrained(folder)
        AutoTokenizer.from_pretrained(base).save_pretrained(folder)

    folder = studio.home.adapter(run.id, 1)
    publish(folder, fill)
    weights = folder / "adapter_model.safetensors"
    claim = runs.claim(studio.db, run.id)
    assert claim
    summary = {
        "steps": 45,
        "tokens": 12_345,
        "train_loss": {"first": 3.25, "last": 0.5},
        "validation_loss": {"base": 3.5, "best": 0.75, "last": 0.8125, "best_step": 30},
    }
    row = {
        "path": str(folder.relative_to(studio.home.path)),
        "sha256": file_sha256(weights),
        "size_bytes": weights.stat().st_size,
        "base_id": base_id,
        "base_fingerprint": base_models.fingerprint(base),
    }
    assert runs.finish(studio.db, claim, RunStatus.SUCCEEDED, summary, row)
    return run.id
