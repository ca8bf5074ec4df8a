from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import NotFound, StudioError
from studio.services import chat
from studio.services.chat import Delta, Engine
from studio.services.context import Studio
from studio.settings import Settings
from studio.store import runs

QUESTION = [{"role": "user", "content": "Where is my parcel?"}]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, chat_models: Path, add_adapter: Callable[..., int]) -> Studio:
    """A studio with one trained run, number 1."""
    studio = Studio.open(Settings(home=tmp_path_factory.mktemp("home"), models=chat_models))
    add_adapter(studio)
    return studio


@pytest.fixture(scope="module")
def engine(tuned: Studio, run_engine: Callable[..., Any]) -> Iterator[Engine]:
    with run_engine(tuned.home.path, tuned.home.models) as (url, _):
        tuned.home.engine_url.write_text(url)
        yield chat.engine_of(tuned)
        tuned.home.engine_url.unlink()


def test_an_answer_comes_in_pieces_and_then_its_figures(engine: Engine) -> None:
    *pieces, last = engine.stream("run-1", QUESTION, temperature=0, max_tokens=16)
    assert len(pieces) > 5
    assert all(piece.text and piece.end is None for piece in pieces)
    assert last.end is not None
    assert (last.text, last.end.finish_reason, last.end.tokens) == ("", "length", 16)
    assert 0 < last.end.first_token_seconds < last.end.seconds
    assert last.end.tokens_per_second > 0


def test_base_and_adapter_answer_differently(engine: Engine, tuned: Studio) -> None:
    names = [chat.model_of(tuned, 1), chat.model_of(tuned, 1, base=True)]
    assert names == ["run-1", "tiny"]
    assert set(engine.models()) >= set(names)
    texts = {"".join(d.text for d in engine.stream(name, QUESTION, 0, 16)) for name in names}
    assert len(texts) == 2


def test_the_engine_s_own_words_reach_the_user(engine: Engine) -> None:
    with pytest.raises(StudioError) as raised:
        list(engine.stream("run-99", QUESTION))
    assert raised.value.message == "There is no run 99."
    assert "list the ones there are" in raised.value.hint
    with pytest.raises(StudioError, match="There is no model"):
        engine.warm("nobody")


def test_warming_returns_at_once_and_memory_can_be_given_back(engine: Engine) -> None:
    engine.warm("run-1")
    engine.unload()
    assert list(engine.stream("run-1", QUESTION, 0, 2))[-1].end


def test_a_run_without_an_adapter_is_told_why(studio: Studio, faq: Path) -> None:
    from studio.store import datasets

    dataset = datasets.create(
        studio.db, name="d", filename="d.csv", sha256="1", shape="columns", mapping={}, columns=[], rows=20,
        usable_rows=20, skipped=[],
    )  # fmt: skip
    run = runs.create(studio.db, name="n", recipe={}, data={}, base_id="tiny", dataset_id=dataset.id)
    with pytest.raises(NotFound, match=f"Run {run.id} has no adapter: it is still waiting to be trained."):
        chat.model_of(studio, run.id)
    with pytest.raises(NotFound, match="There is no run 77"):
        chat.model_of(studio, 77)


def test_without_an_engine_it_says_how_to_start_one(studio: Studio) -> None:
    with pytest.raises(StudioError) as raised:
        chat.engine_of(studio)
    assert str(raised.value).startswith("The chat engine is not running. Start it with `studio up`")
    studio.home.engine_url.write_text("http://127.0.0.1:9")  # left behind by a studio that was killed
    for ask in (lambda e: list(e.stream("tiny", QUESTION)), Engine.models):
        with pytest.raises(StudioError, match=r"not running: nothing answers at http://127.0.0.1:9\. Start it"):
            ask(chat.engine_of(studio))


def test_where_no_engine_runs_one_is_started_for_the_while(studio: Studio) -> None:
    with chat.connected(studio) as engine:
        assert engine.models() == []
        address = str(engine._client.base_url)
    with pytest.raises(StudioError, match="not running"):
        Engine(address).models()


def test_a_running_engine_is_used_as_it_is(engine: Engine, tuned: Studio) -> None:
    with chat.connected(tuned) as connected:
        assert connected._client.base_url == engine._client.base_url
    assert "run-1" in engine.models()  # which is not ended with the context


def test_an_address_may_end_as_openai_s_clients_want_it() -> None:
    assert str(Engine("http://127.0.0.1:9/v1/")._client.base_url).rstrip("/") == "http://127.0.0.1:9"
    assert Delta().end is None
