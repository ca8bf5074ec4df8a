"""The guard around a small application that answers everything."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from studio.settings import Settings
from studio.ui.guard import FAILURES_ALLOWED, OTHER_BODY_BYTES, SECURITY_HEADERS, UPLOAD_ROUTE, Guard

Make = Callable[..., TestClient]
HOST = "127.0.0.1:7860"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"took {len(body)}")(scope, receive, send)


@pytest.fixture
def guarded(settings: Callable[..., Settings]) -> Make:
    return lambda **changes: TestClient(Guard(answer, settings(**changes)), base_url=f"http://{HOST}")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "192.168.1.5:7860"]
)
def test_another_host_name_is_refused(guarded: Make, host: str) -> None:
    assert guarded().get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7860", "127.0.0.1:7860", "[::1]:7860", "studio.local:80"])
def test_own_host_names_are_answered(guarded: Make, host: str) -> None:
    assert guarded(allowed_hosts="studio.local, other.local").get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:7860"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_another_origin_is_refused(guarded: Make, origin: str, method: str) -> None:
    assert guarded().request(method, "/", headers={"origin": origin}).status_code == 403


def test_the_own_origin_is_answered(guarded: Make) -> None:
    assert guarded().post("/", headers={"origin": f"http://{HOST}"}).status_code == 200
    assert guarded().post("/", headers={"sec-fetch-site": "cross-site"}).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/token", "/gradio_api/openapi.json", "/gradio_api/file=/etc/passwd", "/gradio_api/proxy=http://x",
        "/gradio_api/info", "/gradio_api/runs", "/gradio_api/vibe-edit/", "/monitoring/summary", "/openapi.json",
        "/docs", "/file=/etc/passwd", "/login",
    ],
)  # fmt: skip
def test_what_no_page_needs_is_not_there(guarded: Make, path: str) -> None:
    assert guarded().get(path).status_code == 404


def test_every_answer_has_the_security_headers(guarded: Make) -> None:
    for response in (guarded().get("/"), guarded().get("/docs"), guarded().get("/", headers={"host": "evil.example"})):
        assert response.headers.items() >= SECURITY_HEADERS.items()


def test_a_body_over_the_limit_is_refused(guarded: Make) -> None:
    site = guarded(max_upload_mib=10)
    assert site.post("/x", content=b"a" * (OTHER_BODY_BYTES + 1)).status_code == 413
    assert site.post(UPLOAD_ROUTE, content=b"a" * (OTHER_BODY_BYTES + 1)).text == f"took {OTHER_BODY_BYTES + 1}"
    assert site.post(UPLOAD_ROUTE, content=b"a" * (11 * 2**20 + 1)).status_code == 413
    assert site.post("/x", content=b"", headers={"content-length": "-1"}).status_code == 413


def test_a_body_without_a_length_is_cut_at_the_limit(settings: Callable[..., Settings]) -> None:
    sent: list[Message] = []
    pieces = 0

    async def endless() -> Message:
        nonlocal pieces
        pieces += 1
        return {"type": "http.request", "body": b"a" * 2**20, "more_body": True}

    async def keep(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/x", "query_string": b"", "client": ("127.0.0.1", 1),
        "headers": [(b"host", HOST.encode()), (b"transfer-encoding", b"chunked")],
    }  # fmt: skip
    asyncio.run(Guard(answer, settings())(scope, endless, keep))
    assert sent[0]["status"] == 413
    assert pieces <= OTHER_BODY_BYTES // 2**20 + 1


def basic(username: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def test_a_login_covers_every_route_but_health(guarded: Make) -> None:
    site = guarded(username="ann", password=SecretStr("sesame – öffne dich"))
    for path in ("/", "/api/runs", "/download/run-1.zip", UPLOAD_ROUTE, "/studio-assets/studio.js"):
        refused = site.get(path)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic")
    assert site.get("/health").status_code == 200
    assert site.get("/", headers=basic("ann", "sesame – öffne dich")).status_code == 200
    for wrong in (basic("ann", "sesame"), basic("", ""), {"authorization": "Basic ?"}, {"authorization": "Bearer x"}):
        assert site.get("/", headers=wrong).status_code == 401


def test_guessing_a_password_is_slowed_down(guarded: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    site = guarded(username="ann", password=SecretStr("sesame"))
    for _ in range(FAILURES_ALLOWED):
        assert site.get("/", headers=basic("ann", "guess")).status_code == 401
    assert site.get("/", headers=basic("ann", "guess")).status_code == 429
    assert site.get("/", headers=basic("ann", "sesame")).status_code == 429
    monkeypatch.setattr("studio.ui.guard.FAILURE_WINDOW_SECONDS", 0.0)
    assert site.get("/", headers=basic("ann", "sesame")).status_code == 200
