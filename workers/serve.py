"""The playground's engine: chat with a base model and its adapters, over OpenAI's API. By hand:

    python -m workers.serve [--home DIR] [--host 127.0.0.1] [--port 7861]

    GET  /v1/models              what can be asked
    POST /v1/chat/completions    one answer, streamed or whole
    POST /v1/warm                {"model": NAME}: load it, without waiting for it
    POST /v1/unload              give the memory back
    GET  /health

Knows nothing of the web app. Port 0 takes a free one; the first line printed tells the address. It is up in a second
because torch is imported with the first answer, in the one thread that owns the model; requests wait in line there.
After IDLE_SECONDS without a request the memory is given back. Errors are OpenAI's JSON with a `hint` besides.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded; idle threads would burn the processor
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything served is on disk

import argparse
import asyncio
import json
import logging
import socket
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from studio.core.errors import StudioError
from studio.core.lifeline import end_with_parent
from studio.settings import Settings
from studio.store.db import Database, open_database
from studio.store.home import Home
from workers import roster
from workers.chat_request import ChatRequest, WarmRequest, parse
from workers.guard import LOOPBACK, Guard, error_json
from workers.roster import Choice, Refused

if TYPE_CHECKING:
    from workers.generation import Answer, Generator, Sampling

IDLE_SECONDS = 15 * 60
_log = logging.getLogger("engine")


class Engine:
    """The thread that owns the model, and the line of requests before it."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._thread = ThreadPoolExecutor(1, "model")
        self._generator: Generator | None = None  # touched by that thread only
        self._waiting = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self.closing = Event()

    def submit(self, work: Callable[[], None]) -> None:
        """Let the thread do `work` after what was asked before. `work` deals with its own errors."""
        self._waiting += 1
        if self._idle_timer:
            self._idle_timer.cancel()
        loop = asyncio.get_running_loop()
        done = self._thread.submit(work)
        done.add_done_callback(lambda future: loop.is_closed() or loop.call_soon_threadsafe(self._done, future))

    def generator(self) -> "Generator":
        """For work in the thread. Its first call imports torch, which takes seconds."""
        if self._generator is None:
            _quiet_libraries()
            from workers.generation import Generator

            self._generator = Generator()
        return self._generator

    async def release(self) -> None:
        """Give the model's memory back, once the answers asked for before are done."""
        await asyncio.wrap_future(self._thread.submit(self._release))

    def close(self) -> None:
        self.closing.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _done(self, future: "Future[None]") -> None:
        if not future.cancelled() and (error := future.exception()):
            _log.error("The engine failed", exc_info=error)
        self._waiting -= 1
        if not self._waiting and not self.closing.is_set():
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._idle_seconds, self._thread.submit, self._release)

    def _release(self) -> None:
        if self._generator is not None:
            self._generator.release()


class _Job:
    """One answer on its way: pieces of text, then how it ended or what went wrong."""

    def __init__(self, engine: Engine, choice: Choice, asked: ChatRequest) -> None:
        self.cancelled = Event()
        self._events: asyncio.Queue[str | Answer | StudioError] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._choice, self._asked, self._engine = choice, asked, engine
        engine.submit(self._run)

    async def next(self) -> "str | Answer":
        event = await self._events.get()
        if isinstance(event, StudioError):
            raise event
        return event

    def give_up(self) -> None:
        """Nobody waits for the answer any more: stop writing it."""
        self.cancelled.set()
        self._events.put_nowait(Refused("The client went away.", status=499, code="client_gone"))

    def _run(self) -> None:
        if self.cancelled.is_set() or self._engine.closing.is_set():
            return
        try:
            generator, asked = self._engine.generator(), self._asked
            messages = [message.model_dump() for message in asked.messages]
            self._tell(generator.answer(self._choice, messages, _sampling(asked), self._tell, self.cancelled))
        except StudioError as error:
            self._tell(error)
        except Exception:
            _log.exception("An answer failed")
            self._tell(
                Refused("The chat engine failed at this answer.", "Try again; its log has the details.", 500, "failed")
            )

    def _tell(self, event: "str | Answer | StudioError") -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)


def _sampling(asked: ChatRequest) -> "Sampling":
    from workers.generation import Sampling

    length = asked.max_completion_tokens or asked.max_tokens
    return Sampling(asked.temperature, asked.top_p, length, tuple(asked.stop), asked.seed)


class Api:
    """The routes. `db` and `home` say what there is, `engine` answers."""

    def __init__(self, db: Database, home: Home, engine: Engine) -> None:
        self._db, self._home, self._engine = db, home, engine
        self._jobs: set[_Job] = set()

    def app(self, hosts: set[str], token: str) -> Starlette:
        routes = [
            Route("/health", self.health),
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/warm", self.warm, methods=["POST"]),
            Route("/v1/unload", self.unload, methods=["POST"]),
        ]
        errors: dict[Any, Any] = {
            StudioError: lambda _, error: error_json(error),
            404: lambda *_: error_json(Refused("There is no such address.", status=404, code="not_found")),
            405: lambda *_: error_json(Refused("This address takes another method.", status=405, code="bad_method")),
        }
        guard = Middleware(Guard, hosts=hosts, token=token)
        return Starlette(routes=routes, middleware=[guard], exception_handlers=errors, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._engine.close()
        for job in self._jobs:
            job.cancelled.set()

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(self, _: Request) -> Response:
        names = await run_in_threadpool(roster.names, self._db, self._home)
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "studio"} for name in names]
        return JSONResponse({"object": "list", "data": listed})

    async def warm(self, request: Request) -> Response:
        asked = parse(WarmRequest, await request.body())
        choice = await run_in_threadpool(roster.choose, self._db, self._home, asked.model)
        self._engine.submit(lambda: self._engine.generator().warm(choice))
        return JSONResponse({"status": "loading", "model": choice.name}, 202)

    async def unload(self, _: Request) -> Response:
        await self._engine.release()
        return JSONResponse({"status": "unloaded"})

    async def chat(self, request: Request) -> Response:
        asked = parse(ChatRequest, await request.body())
        if asked.messages[-1].role != "user":
            raise Refused("The last message must be the user's: it is what the model answers.")
        choice = await run_in_threadpool(roster.choose, self._db, self._home, asked.model)
        job = _Job(self._engine, choice, asked)
        self._jobs.add(job)
        watch = asyncio.create_task(_watch(request, job))

        def finish() -> None:
            watch.cancel()
            job.cancelled.set()
            self._jobs.discard(job)

        try:
            first = await job.next()  # before the headers, so that what goes wrong till here has its status
            if asked.stream:
                return StreamingResponse(_chunks(job, first, asked, finish), media_type="text/event-stream")
            response = await _whole(job, first, asked)
        except BaseException:
            finish()
            raise
        finish()
        return response


async def _watch(request: Request, job: _Job) -> None:
    """Stop the answer when its reader has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    job.give_up()


async def _whole(job: _Job, event: "str | Answer", asked: ChatRequest) -> Response:
    text = ""
    while isinstance(event, str):
        text += event
        event = await job.next()
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": event.finish_reason}
    body = {"id": _new_id(), "object": "chat.completion", "created": int(time.time()), "model": asked.model}
    return JSONResponse(body | {"choices": [choice], "usage": _usage(event)})


async def _chunks(
    job: _Job, event: "str | Answer", asked: ChatRequest, finish: Callable[[], None]
) -> AsyncIterator[str]:
    head = {"id": _new_id(), "object": "chat.completion.chunk", "created": int(time.time()), "model": asked.model}

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> str:
        return _event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    try:
        yield chunk({"role": "assistant", "content": ""})
        while isinstance(event, str):
            yield chunk({"content": event})
            event = await job.next()
        yield chunk({}, event.finish_reason)
        if asked.stream_options and asked.stream_options.include_usage:
            yield _event(head | {"choices": [], "usage": _usage(event)})
        yield "data: [DONE]\n\n"
    except StudioError as error:  # the headers are gone: OpenAI's clients look for an error in the stream
        yield _event(json.loads(bytes(error_json(error).body)))
    finally:
        finish()


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _usage(answer: "Answer") -> dict[str, int]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def _new_id() -> str:
    return f"chatcmpl-{uuid4().hex}"


def _quiet_libraries() -> None:
    """The log is for people: what libraries say about themselves is left out."""
    from transformers.utils import logging as transformers_logging

    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def listen(host: str, port: int) -> socket.socket:
    """Raises StudioError, in words, if nothing can listen there."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen()  # from now on who connects waits instead of being refused
    except OSError as error:
        raise StudioError(
            f"The chat engine cannot listen on {host}, port {port} ({os.strerror(error.errno or 0).lower()}).",
            "End the program that uses it, or choose another port with --port.",
        ) from None
    return bound


def main(given: list[str] | None = None) -> int:
    settings = Settings()
    parser = argparse.ArgumentParser(prog="python -m workers.serve", description="Serve the chat engine.")
    parser.add_argument("--home", type=Path, default=settings.home, help="the studio's data folder")
    parser.add_argument("--models", type=Path, default=settings.models, help="folder of base models")
    parser.add_argument("--host", default=settings.engine_host, help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=settings.engine_port, help="port to listen on; 0 takes a free one")
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    token = settings.engine_token.get_secret_value()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    try:
        if options.host not in LOOPBACK and not token:
            raise StudioError(
                f"On {options.host} other machines could reach the chat engine, and no token is set.",
                "Set STUDIO_ENGINE_TOKEN first, or leave --host out.",
            )
        bound = listen(options.host, options.port)
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    if options.parent:
        end_with_parent(options.parent)
    home = Home.at(settings.model_copy(update={"home": options.home, "models": options.models}))
    names = {name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()}
    api = Api(open_database(home.database), home, Engine())
    app = api.app({*LOOPBACK, options.host.lower(), *names}, token)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"The chat engine listens on http://{host}:{bound.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2
    )
    uvicorn.Server(config).run(sockets=[bound])
    return 0


if __name__ == "__main__":
    sys.exit(main())
