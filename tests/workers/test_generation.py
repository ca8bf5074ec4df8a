"""Generating without HTTP: what a client cannot see."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.core.errors import ModelError
from studio.core.recipe import Recipe
from studio.services.context import Studio
from studio.settings import Settings
from workers import generation, methods
from workers.generation import Generator, Sampling, _overlap, _Pieces, _room, _spare_the_head
from workers.roster import Refused, choose
from workers.serve import Engine
from workers.tokens import PLAIN_TEMPLATE, load_tokenizer

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # peft 0.21.2 calls what transformers 5.23 renames
    pytest.mark.filterwarnings("ignore:Unsupported layer type|Position ids are not supported"),
]


@pytest.fixture
def served(tmp_path: Path, chat_models: Path) -> Studio:
    return Studio.open(Settings(home=tmp_path, models=chat_models))


def answer(generator: Generator, studio: Studio, name: str, **sampling: Any) -> str:
    pieces: list[str] = []
    sampling = {"temperature": 0, "max_tokens": 12} | sampling
    generator.answer(choose(studio.db, studio.home, name), QUESTION, Sampling(**sampling), pieces.append, Event())
    return "".join(pieces)


def test_stops_writing_as_soon_as_it_is_cancelled(served: Studio) -> None:
    cancelled, pieces = Event(), []

    def emit(piece: str) -> None:
        pieces.append(piece)
        cancelled.set()

    sampling = Sampling(temperature=0, max_tokens=200)
    done = Generator().answer(choose(served.db, served.home, "tiny"), QUESTION, sampling, emit, cancelled)
    assert len(pieces) == 1
    assert done.completion_tokens < 10


def test_adapters_longest_unused_make_room(
    served: Studio, add_adapter: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "ADAPTERS_KEPT", 2)
    names = [f"run-{add_adapter(served, seed=seed)}" for seed in (1, 2, 3)]
    generator = Generator()
    first = {name: answer(generator, served, name) for name in names}
    loaded: Any = generator._model
    assert set(loaded.peft_config) == set(names[1:])
    assert len(set(first.values())) == 3
    assert {name: answer(generator, served, name) for name in reversed(names)} == first


def test_new_weights_in_the_same_folder_are_loaded(
    tmp_path: Path, add_base: Callable[..., None], served: Studio
) -> None:
    studio = Studio.open(Settings(home=tmp_path / "other", models=tmp_path / "models"))
    generator = Generator()
    add_base(tmp_path / "models" / "mine", seed=1)
    before = answer(generator, studio, "mine")
    add_base(tmp_path / "models" / "mine", seed=2)
    after = answer(generator, studio, "mine")
    assert before != after == answer(Generator(), studio, "mine")


def test_a_base_without_a_chat_template_is_asked_as_it_would_be_trained(
    tmp_path: Path, add_base: Callable[..., None]
) -> None:
    add_base(tmp_path / "plain", seed=1, template=False)
    assert load_tokenizer(tmp_path / "plain").chat_template == PLAIN_TEMPLATE
    prompt = generation._prompt(load_tokenizer(tmp_path / "plain"), QUESTION)
    assert load_tokenizer(tmp_path / "plain").decode(prompt["input_ids"][0]) == (
        "<|im_start|>User: Where is my parcel?\nAssistant:"
    )


def test_the_head_gives_the_same_numbers_to_the_last_bit(chat_models: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(chat_models / "tiny", dtype=torch.bfloat16)
    ids = torch.arange(40)[None]
    before = [model(input_ids=ids, logits_to_keep=keep).logits for keep in (0, 1)]
    _spare_the_head(model)
    after = [model(input_ids=ids, logits_to_keep=keep).logits for keep in (0, 1)]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_memory_that_runs_out_is_told_and_given_back(served: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator()
    before = answer(generator, served, "tiny")

    def too_much(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")

    monkeypatch.setattr(generator._plain, "generate", too_much)
    with pytest.raises(Refused, match="not enough memory"):
        answer(generator, served, "tiny")
    assert generator._model is None
    assert answer(generator, served, "tiny") == before


def test_an_adapter_that_does_not_fit_its_base_is_told_in_words(
    served: Studio, add_adapter: Callable[..., int], add_base: Callable[..., None], tmp_path: Path
) -> None:
    run_id = add_adapter(served)
    config = served.home.adapter(run_id, 1) / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 4', '"r": 8'))
    with pytest.raises(ModelError, match=f"The adapter run-{run_id} could not be put on its base model"):
        answer(Generator(), served, f"run-{run_id}")


def test_adapters_of_other_kinds_take_turns_on_the_base(served: Studio, add_adapter: Callable[..., int]) -> None:
    """LoRA, prompt tuning and trained norms cannot stand side by side; each leaves the base as it was."""
    base = served.home.models / "tiny"
    runs = {"lora": add_adapter(served), "prompt": add_adapter(served), "norms": add_adapter(served)}
    for method in ("prompt", "norms"):
        torch.manual_seed(2)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
        adapted = methods.attach(model, Recipe.model_validate({"method": method, "virtual_tokens": 5}), "tiny")
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=1.0)
        methods.save(adapted, served.home.adapter(runs[method], 1), {"format": "pt"})
    generator = Generator()
    names = ["tiny", *(f"run-{number}" for number in runs.values())]
    first = {name: answer(generator, served, name) for name in names}
    assert len(set(first.values())) == 4
    for name in (names[2], names[0], names[3], names[2], names[1], names[3], names[0], names[1]):
        assert answer(generator, served, name) == first[name], name
    alone = {name: answer(Generator(), served, name) for name in names}
    assert alone == first


def test_virtual_tokens_take_their_place_in_the_context(served: Studio, add_adapter: Callable[..., int]) -> None:
    run = add_adapter(served)
    base = AutoModelForCausalLM.from_pretrained(served.home.models / "tiny", dtype=torch.bfloat16)
    context = base.config.max_position_embeddings
    adapted = methods.attach(base, Recipe.model_validate({"method": "prompt", "virtual_tokens": 5}), "tiny")
    methods.save(adapted, served.home.adapter(run, 1), {"format": "pt"})
    generator = Generator()
    answer(generator, served, f"run-{run}")
    choice = choose(served.db, served.home, f"run-{run}")
    assert _room(generator._model, choice, context - 6) == 1
    with pytest.raises(Refused, match=f"can keep {context - 5:,} in mind"):
        _room(generator._model, choice, context - 5)


@pytest.mark.parametrize("stop", [(), ("parcel",), ("zzz", "Straße 🙂")])
def test_pieces_are_whole_characters_and_never_part_of_a_stop_text(chat_models: Path, stop: tuple[str, ...]) -> None:
    tokenizer = load_tokenizer(chat_models / "tiny")  # its tokens are single bytes
    text = "Your parcel 📦 is in Straße 🙃, not in Straße 🙂 at all."
    pieces: list[str] = []
    streamer = _Pieces(tokenizer, 3, stop, pieces.append, Event())
    streamer.put(torch.tensor([[5, 6, 7]]))  # the prompt
    for token in tokenizer(text)["input_ids"]:
        streamer.put(torch.tensor([token]))
    streamer.end()
    ends = [text.index(s) for s in stop if s in text]
    assert "".join(pieces) == text[: min(ends, default=None)]
    assert streamer.found_stop == bool(ends)
    assert not any("\ufffd" in piece for piece in pieces)


def test_overlap_is_how_much_of_a_stop_text_may_have_begun() -> None:
    assert [_overlap(text, "END") for text in ("", "x", "xE", "xEN", "ENxE")] == [0, 0, 1, 2, 1]


def test_an_idle_engine_gives_the_memory_back_by_itself(served: Studio) -> None:
    async def use() -> None:
        engine = Engine(idle_seconds=0.2)
        generator = engine.generator()
        engine.submit(lambda: generator.warm(choose(served.db, served.home, "tiny")))
        async with asyncio.timeout(60):
            while generator._model is None:
                await asyncio.sleep(0.01)
            while generator._model is not None:
                await asyncio.sleep(0.01)
        engine.close()

    asyncio.run(use())
