"""Talk to the chat engine, over OpenAI's API: the studio's own, or whichever STUDIO_ENGINE_URL names."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import Any

import httpx

from studio.core.errors import StudioError
from studio.services.context import Studio
from studio.store import adapters, runs

_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 600  # between two pieces: another answer may be before this one, and a model may have to be loaded
_END_SECONDS = 10


@dataclass(frozen=True)
class End:
    """How an answer ended. Rates are of the answer alone: the time to its first token is told apart."""

    finish_reason: str  # "stop", or "length" if it was cut
    prompt_tokens: int
    tokens: int
    first_token_seconds: float
    seconds: float
    tokens_per_second: float


@dataclass(frozen=True)
class Delta:
    """A piece of an answer; the last one has no text and an end."""

    text: str = ""
    end: End | None = None


class Engine:
    def __init__(self, url: str, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        self._client = httpx.Client(
            base_url=url.rstrip("/").removesuffix("/v1"),  # OpenAI's clients want it with, a browser without
            headers=headers,
            timeout=timeout,
            limits=httpx.Limits(max_keepalive_connections=0),  # one kept over an engine's restart would fail
            trust_env=False,  # no proxy: the engine is on this machine or on the operator's own network
        )

    def close(self) -> None:
        self._client.close()

    def models(self) -> list[str]:
        return [model["id"] for model in self._send("GET", "/v1/models")["data"]]

    def warm(self, model: str) -> None:
        """Ask the engine to load `model` and return at once. Raises StudioError if it cannot be chatted with."""
        self._send("POST", "/v1/warm", {"model": model})

    def unload(self) -> None:
        """Have the engine give its memory back, after the answer it is at."""
        self._send("POST", "/v1/unload", {})

    def stream(
        self,
        model: str,
        messages: Sequence[dict[str, str]],
        temperature: float = 0.7,
        max_tokens: int = 512,
        top_p: float = 1.0,
    ) -> Iterator[Delta]:
        """The answer piece by piece; closing the iterator stops the engine.

        Raises StudioError with the engine's own sentence, or one that says that it cannot be reached.
        """
        asked = {
            "model": model,
            "messages": list(messages),
            "temperature": temperature,
            "max_tokens": max_tokens,
            "top_p": top_p,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        began = monotonic()
        first = 0.0
        reason, usage = "", {"prompt_tokens": 0, "completion_tokens": 0}
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=asked) as response:
                if response.is_error:
                    response.read()
                    raise _said(response)
                for event in _events(response):
                    usage = event.get("usage") or usage
                    for choice in event["choices"]:
                        reason = choice["finish_reason"] or reason
                        if text := choice["delta"].get("content"):
                            first = first or monotonic() - began
                            yield Delta(text)
        except httpx.ReadTimeout:
            raise _too_late() from None
        except httpx.HTTPError:
            raise _unreachable(self._client) from None
        seconds = monotonic() - began
        tokens = usage["completion_tokens"]
        rate = (tokens - 1) / (seconds - first) if tokens > 1 and seconds > first else 0.0
        yield Delta(end=End(reason, usage["prompt_tokens"], tokens, first, seconds, rate))

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            response = self._client.request(method, path, json=body)
        except httpx.ReadTimeout:
            raise _too_late() from None
        except httpx.HTTPError:
            raise _unreachable(self._client) from None
        if response.is_error:
            raise _said(response)
        return response.json()


def engine_of(studio: Studio) -> Engine:
    """The engine this studio runs, or the one it was pointed at. Raises StudioError if there is none."""
    url = _url(studio)
    if not url:
        raise _not_running()
    return _engine(url, studio.settings.engine_token.get_secret_value())


@contextmanager
def connected(studio: Studio) -> Iterator[Engine]:
    """An engine that answers: the one that runs, else one started here and ended again afterwards."""
    token = studio.settings.engine_token.get_secret_value()
    if (url := _url(studio)) and (studio.settings.engine_url or _answers(url)):
        engine = Engine(url, token)
        try:
            yield engine
        finally:
            engine.close()
        return
    command = [sys.executable, "-m", "workers.serve", "--home", str(studio.home.path)]
    command += ["--models", str(studio.home.models), "--host", "127.0.0.1", "--port", "0", "--parent", str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise StudioError("The chat engine could not be started.", "`studio doctor` says what is missing.")
            engine = Engine(line.split()[-1], token)
            yield engine
            engine.close()
        finally:
            _end(process)


def model_name(run_id: int) -> str:
    """What the engine calls the adapter of a run."""
    return f"run-{run_id}"


def model_of(studio: Studio, run_id: int, base: bool = False) -> str:
    """The engine's name for what a run left, or for the `base` model it was trained on.

    Raises NotFound, in words, if there is no such run or nothing to chat with.
    """
    if base:
        return runs.get(studio.db, run_id).base_id
    adapters.usable(studio.db, studio.home, run_id)
    return model_name(run_id)


@lru_cache(maxsize=4)
def _engine(url: str, token: str) -> Engine:
    return Engine(url, token)  # kept: threads may share it, and making a client takes 30 ms


def _url(studio: Studio) -> str:
    if studio.settings.engine_url:
        return studio.settings.engine_url
    file = studio.home.engine_url
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def _answers(url: str) -> bool:
    """False for an address that a killed studio left behind."""
    try:
        return httpx.get(f"{url}/health", timeout=_CONNECT_SECONDS, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """The server-sent events of a streamed answer. Raises StudioError for one that tells of an error."""
    for line in response.iter_lines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise StudioError(event["error"]["message"], event["error"].get("hint", ""))
        yield event


def _said(response: httpx.Response) -> StudioError:
    try:
        error = response.json()["error"]
        return StudioError(error["message"], error.get("hint", ""))
    except (ValueError, KeyError, TypeError):
        return StudioError(f"The chat engine answered with an error ({response.status_code}).", "See its log.")


def _unreachable(client: httpx.Client) -> StudioError:
    address = str(client.base_url).rstrip("/")
    return StudioError(f"The chat engine is not running: nothing answers at {address}.", _START_HINT)


def _too_late() -> StudioError:
    return StudioError("The chat engine did not answer for ten minutes.", "Try again, or start the studio again.")


def _not_running() -> StudioError:
    return StudioError("The chat engine is not running.", _START_HINT)


_START_HINT = "Start it with `studio up`, or wait a moment if it has just been started."


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
