"""The chat engine, as a client over HTTP sees it: the real process, a tiny base model, real adapters."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import APIError, OpenAI
from sqlalchemy import update

from studio.services.context import Studio
from studio.settings import Settings
from studio.store import runs
from studio.store.tables import Adapter
from workers.serve import listen

ROOT = Path(__file__).parents[2]
QUESTION = [{"role": "user", "content": "Where is my parcel?"}]


@dataclass
class Served:
    studio: Studio
    url: str
    pid: int

    def ask(self, model: str, **more: Any) -> httpx.Response:
        body = {"model": model, "messages": QUESTION, "temperature": 0, "max_tokens": 24} | more
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=120)

    def text(self, model: str, **more: Any) -> str:
        answer = self.ask(model, **more)
        assert answer.is_success, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    chat_models: Path,
    add_adapter: Callable[..., int],
    add_base: Callable[..., None],
    run_engine: Callable[..., Any],
) -> Iterator[Served]:
    """An engine with `tiny`, its adapters run-1 and run-2, `plain` without a chat template and its adapter run-3."""
    add_base(chat_models / "plain", seed=5, template=False)
    home = tmp_path_factory.mktemp("home")
    studio = Studio.open(Settings(home=home, models=chat_models))
    assert [add_adapter(studio, seed=1), add_adapter(studio, seed=2), add_adapter(studio, "plain")] == [1, 2, 3]
    with run_engine(home, chat_models) as (url, pid):
        yield Served(studio, url, pid)


def error_of(response: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = response.json()["error"]
    return error


def test_listens_at_once_without_loading_torch(served: Served) -> None:
    # the first test of the module, before anything has been asked
    assert httpx.get(f"{served.url}/health").json() == {"status": "ok"}
    assert "libtorch" not in Path(f"/proc/{served.pid}/maps").read_text()


def test_lists_bases_and_adapters(served: Served) -> None:
    listed = httpx.get(f"{served.url}/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["tiny", "plain", "run-3", "run-2", "run-1"]


def plainly(models: Path, base: str, adapter: Path | None, max_tokens: int) -> str:
    """The answer as a program with nothing but transformers and peft gets it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(models / base, dtype=torch.bfloat16)
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    tokenizer = AutoTokenizer.from_pretrained(models / base)
    prompt = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**prompt, max_new_tokens=max_tokens, do_sample=False)
    return str(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft 0.21.2 calls what transformers 5.23 renames
def test_answers_as_plain_transformers_and_peft_do_whatever_the_order(served: Served) -> None:
    home, models = served.studio.home, served.studio.home.models
    expected = {
        "tiny": plainly(models, "tiny", None, 24),
        "run-1": plainly(models, "tiny", home.adapter(1, 1), 24),
        "run-2": plainly(models, "tiny", home.adapter(2, 1), 24),
    }
    assert len(set(expected.values())) == 3
    for name in ("tiny", "run-1", "run-2", "tiny", "run-2", "run-1", "tiny"):
        # a character that was cut in two at the end is left out instead of shown as a question mark
        assert expected[name].rstrip("\ufffd") == served.text(name).rstrip("\ufffd"), name


def test_another_base_replaces_the_one_in_memory(served: Served) -> None:
    before = served.text("tiny"), served.text("plain"), served.text("run-3")
    assert (served.text("tiny"), served.text("plain"), served.text("run-3")) == before
    assert len(set(before)) == 3


def test_a_stream_is_the_whole_answer_in_pieces(served: Served) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    lines = [line for line in served.ask("run-1", **options).text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    pieces = [choice["delta"].get("content", "") for event in events for choice in event["choices"]]
    whole = served.ask("run-1").json()
    assert "".join(pieces) == whole["choices"][0]["message"]["content"]
    assert len(pieces) > 10
    assert events[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "length"
    assert events[-1]["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens"] == 24
    assert whole["usage"]["prompt_tokens"] == len("user\nWhere is my parcel?\nassistant\n") + 3  # bytes and marks


def test_any_openai_client_works(served: Served) -> None:
    client = OpenAI(base_url=f"{served.url}/v1", api_key="none")
    assert client.models.list().data[0].id == "tiny"
    asked: Any = {"model": "run-2", "messages": QUESTION, "temperature": 0, "max_tokens": 24}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    stream = client.chat.completions.create(**asked, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole == served.text("run-2")
    with pytest.raises(APIError, match="There is no model “gpt-9”"):
        client.chat.completions.create(**asked | {"model": "gpt-9"})


def test_stop_texts_end_the_answer_before_them(served: Served) -> None:
    text = served.text("run-1", max_tokens=40)
    stop = text[10:13]
    ended = served.ask("run-1", max_tokens=40, stop=[stop, "never said"]).json()["choices"][0]
    assert ended["message"]["content"] == text[: text.index(stop)]
    assert ended["finish_reason"] == "stop"


def test_the_same_seed_gives_the_same_answer(served: Served) -> None:
    one, two, other = (served.text("run-1", temperature=1.5, seed=seed) for seed in (7, 7, 8))
    assert one == two != other


def test_what_does_not_exist_is_refused_with_what_there_is(served: Served) -> None:
    queued = runs.create(
        served.studio.db, name="later", recipe={}, data={}, base_id="tiny", dataset_id=1, request_key="queued"
    )
    for name, words in {
        "nobody": "There are: tiny, plain, run-3, run-2, run-1.",
        "../../etc": "There is no model “../../etc”.",
        "run-99": "There is no run 99.",
        "run-0": "There is no model “run-0”.",
        f"run-{queued.id}": f"Run {queued.id} has no adapter: it is still waiting to be trained.",
    }.items():
        refused = served.ask(name)
        assert refused.status_code == 404
        assert words in error_of(refused)["message"] + error_of(refused)["hint"]
        assert error_of(refused)["code"] == "model_not_found"
        warmed = httpx.post(f"{served.url}/v1/warm", json={"model": name})
        assert error_of(warmed) == error_of(refused)


def test_an_adapter_is_not_put_on_other_weights(served: Served) -> None:
    with served.studio.db.writing() as session:
        session.execute(update(Adapter).where(Adapter.run_id == 2).values(base_fingerprint="ab12" * 16))
    refused = served.ask("run-2")
    assert refused.status_code == 409
    assert "trained on other weights of tiny (fingerprint ab12ab12ab12…, here " in error_of(refused)["message"]
    assert "train again" in error_of(refused)["hint"]
    with served.studio.db.writing() as session:
        right = runs.adapter_of(served.studio.db, 1)
        assert right
        session.execute(update(Adapter).where(Adapter.run_id == 2).values(base_fingerprint=right.base_fingerprint))
    assert served.ask("run-2").is_success


def test_says_when_the_base_is_gone_and_goes_on_when_it_is_back(served: Served) -> None:
    folder = served.studio.home.models / "plain"
    away = folder.rename(folder.with_name("away.tmp"))
    try:
        refused = served.ask("run-3")
    finally:
        away.rename(folder)
    assert refused.status_code == 409
    assert error_of(refused)["message"] == (
        "The base model this adapter was trained on is not on this computer any more."
    )
    assert served.ask("run-3").is_success


def test_a_damaged_adapter_is_told_in_words_and_the_engine_goes_on(
    served: Served, add_adapter: Callable[..., int]
) -> None:
    run_id = add_adapter(served.studio, seed=3)
    weights = served.studio.home.adapter(run_id, 1) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused = served.ask(f"run-{run_id}")
    assert refused.status_code == 500
    assert "could not be put on its base model" in error_of(refused)["message"]
    assert served.ask("run-1").is_success


def test_a_conversation_too_long_for_the_model_is_told_in_words(served: Served) -> None:
    refused = served.ask("run-1", messages=[{"role": "user", "content": "long " * 200}])
    assert refused.status_code == 400
    assert error_of(refused)["message"] == ("The conversation is 1,019 tokens long; tiny can keep 512 in mind.")
    cut = served.ask("run-1", max_tokens=100_000).json()  # more than there is room for: up to the end of it
    assert cut["usage"]["total_tokens"] <= 512


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 3}, "“temperature” in the request cannot be used"),
        ({"max_tokens": 0}, "“max_tokens” in the request cannot be used"),
        ({"messages": []}, "“messages” in the request cannot be used"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "The last message must be the user's"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "only text can be read here"),
        ({"n": 2}, "“n” in the request cannot be used"),
        ({"tools": [{"type": "function"}]}, "“tools” in the request cannot be used"),
        ({"messages": None}, "The request has no “messages”."),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_understood_are_refused_in_words(
    served: Served, change: dict[str, Any], words: str
) -> None:
    refused = served.ask("tiny", **change)
    assert refused.status_code == 400
    assert words in error_of(refused)["message"]


def test_text_in_parts_is_text(served: Served) -> None:
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "Where is "}, {"type": "text", "text": "my parcel?"}]}
    ]
    assert served.text("tiny", messages=parts) == served.text("tiny")


def test_an_answer_nobody_waits_for_is_not_written(served: Served) -> None:
    def long_answer(seed: int, **more: Any) -> dict[str, Any]:
        return {"temperature": 1.9, "seed": seed, "max_tokens": 400} | more

    def seconds(**asked: Any) -> float:
        began = time.monotonic()
        served.text("run-1", **asked)
        return time.monotonic() - began

    def tokens(seed: int) -> int:
        return int(served.ask("run-1", **long_answer(seed)).json()["usage"]["completion_tokens"])

    seed = next(seed for seed in range(50) if tokens(seed) == 400)
    whole = seconds(**long_answer(seed))
    body = {"model": "run-1", "messages": QUESTION} | long_answer(seed, stream=True)
    with httpx.stream("POST", f"{served.url}/v1/chat/completions", json=body, timeout=60) as response:
        next(response.iter_lines())
    assert seconds(max_tokens=1) < whole / 2


def test_a_second_question_waits_for_the_first_answer(served: Served) -> None:
    alone = {name: served.text(name, max_tokens=60) for name in ("run-1", "run-2", "tiny")}
    with ThreadPoolExecutor(6) as pool:
        names = ["run-1", "run-2", "tiny"] * 2
        assert list(pool.map(lambda name: served.text(name, max_tokens=60), names)) == [alone[n] for n in names]


def test_memory_is_given_back_on_request_and_the_next_answer_is_the_same(served: Served) -> None:
    before = served.text("run-1")
    assert httpx.post(f"{served.url}/v1/unload", timeout=60).json() == {"status": "unloaded"}
    assert httpx.post(f"{served.url}/v1/warm", json={"model": "run-1"}).status_code == 202
    assert served.text("run-1") == before


def test_a_web_page_may_not_speak_to_the_engine(served: Served) -> None:
    rebound = httpx.get(f"{served.url}/v1/models", headers={"Host": "evil.example"})
    assert (rebound.status_code, error_of(rebound)["code"]) == (400, "bad_host")
    foreign = httpx.get(f"{served.url}/v1/models", headers={"Origin": "http://evil.example"})
    assert (foreign.status_code, error_of(foreign)["code"]) == (403, "bad_origin")
    assert httpx.get(f"{served.url}/v1/models", headers={"Host": "localhost:1234"}).is_success


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_is_refused(served: Served, chunked: bool) -> None:
    blocks = [b"x" * (1 << 20)] * 9
    refused = httpx.post(
        f"{served.url}/v1/chat/completions", content=iter(blocks) if chunked else b"".join(blocks), timeout=60
    )
    assert refused.status_code == 413


def test_with_a_token_only_its_bearer_is_served(
    tmp_path: Path, chat_models: Path, run_engine: Callable[..., Any]
) -> None:
    with run_engine(tmp_path, chat_models, STUDIO_ENGINE_TOKEN="open sesame") as (url, _):
        assert httpx.get(f"{url}/health").is_success
        assert httpx.get(f"{url}/v1/models").status_code == 401
        assert httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer open sesame"}).is_success
        assert (
            httpx.get(f"{url}/nothing", headers={"Authorization": "Bearer open sesame"}).json()["error"]["hint"] == ""
        )


def test_does_not_open_to_other_machines_without_a_token(tmp_path: Path) -> None:
    ended = serve("--home", str(tmp_path), "--host", "0.0.0.0", "--port", "0")
    assert ended.returncode == 1
    assert "Set STUDIO_ENGINE_TOKEN first" in ended.stderr


def test_who_connects_before_it_is_up_waits_instead_of_being_refused() -> None:
    with listen("127.0.0.1", 0) as bound, socket.create_connection(bound.getsockname(), timeout=5) as early:
        assert early.getpeername() == bound.getsockname()


def test_says_when_the_port_is_taken(tmp_path: Path, served: Served) -> None:
    ended = serve("--home", str(tmp_path), "--port", served.url.rsplit(":", 1)[1])
    assert ended.returncode == 1
    assert "(address already in use)" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_the_starter_model_knows_the_capital_of_france(
    tmp_path: Path, starter_models: Path, run_engine: Callable[..., Any]
) -> None:
    with run_engine(tmp_path, starter_models) as (url, _):
        client = OpenAI(base_url=f"{url}/v1", api_key="none")
        messages: Any = [{"role": "user", "content": "What is the capital of France?"}]
        answer = client.chat.completions.create(model="starter", messages=messages, temperature=0, max_tokens=32)
    assert "Paris" in str(answer.choices[0].message.content)
    assert answer.choices[0].finish_reason == "stop"


def serve(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "workers.serve", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
