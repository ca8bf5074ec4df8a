"""What every request must pass before anything else sees it: host, origin, login, size. Adds the security headers.

Pure ASGI, so that streamed answers stay streamed. Knows nothing of Gradio but which of its routes the pages need.
"""

import base64
import binascii
from collections import deque
from collections.abc import Iterable
from secrets import compare_digest
from time import monotonic
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.settings import Settings

UPLOAD_ROUTE = "/gradio_api/upload"
OPEN_ROUTE = "/health"  # answers without a login and says nothing but "ok"
OTHER_BODY_BYTES = 8 * 2**20
FAILURES_ALLOWED = 10
FAILURE_WINDOW_SECONDS = 60.0

# Gradio renders its pages with inline scripts and compiles event handlers in the browser
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# of Gradio's own API only what the pages call; no file serving, no proxy, no API description, no token
_GRADIO_API = tuple(
    f"/gradio_api/{name}"
    for name in ("queue/", "run/", "upload", "heartbeat/", "startup-events", "reset", "cancel", "theme.css")
)
_CLOSED = ("/gradio_api", "/monitoring", "/openapi.json", "/docs", "/redoc", "/file", "/proxy", "/login", "/logout")


class Guard:
    """ASGI middleware around the whole site."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = _allowed_hosts(settings)
        self._upload_bytes = (settings.max_upload_mib + 1) * 2**20  # 1 MiB for the form around the file
        self._login = _Login(settings) if settings.username and settings.password.get_secret_value() else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})  # no page of ours opens one
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            refusal.headers.update(SECURITY_HEADERS)
            await refusal(scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _hostname(host) not in self._hosts:
            return PlainTextResponse(
                "The studio does not answer to this host name. Add it to STUDIO_ALLOWED_HOSTS if it should.", 400
            )
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if foreign or (scope["method"] not in {"GET", "HEAD"} and headers.get("sec-fetch-site") == "cross-site"):
            return PlainTextResponse("Requests from other sites are not answered.", 403)
        path = scope["path"]
        if path.startswith(_CLOSED) and not path.startswith(_GRADIO_API):
            return PlainTextResponse("Not found.", 404)
        if self._login and path != OPEN_ROUTE:
            refused = self._login.refusal(scope, headers.get("authorization", ""))
            if refused:
                return refused
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._limit(path):
            return self._too_large(path)
        return None

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, received, started = scope["path"], 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit(path):
                raise _TooLarge
            return message

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            await self._app(scope, counted, with_headers)
        except _TooLarge:
            if not started:
                await self._too_large(path)(scope, receive, with_headers)

    def _limit(self, path: str) -> int:
        return self._upload_bytes if path == UPLOAD_ROUTE else OTHER_BODY_BYTES

    def _too_large(self, path: str) -> PlainTextResponse:
        mib = self._limit(path) // 2**20
        return PlainTextResponse(f"That is too large: the studio takes {mib:,} MiB here.", 413)


class _TooLarge(ClientDisconnect):
    """More was sent than is taken. A ClientDisconnect, so that whoever reads the body cleans up after itself."""


class _Login:
    """HTTP Basic, with a pause for whoever guesses."""

    def __init__(self, settings: Settings) -> None:
        self._expected = f"{settings.username}:{settings.password.get_secret_value()}".encode()
        self._failures: dict[str, deque[float]] = {}

    def refusal(self, scope: Scope, authorization: str) -> PlainTextResponse | None:
        client = scope["client"][0] if scope.get("client") else ""
        recent = self._recent(client)
        if len(recent) >= FAILURES_ALLOWED:
            return PlainTextResponse(
                "Too many wrong passwords. Wait a minute.", 429, {"retry-after": str(int(FAILURE_WINDOW_SECONDS))}
            )
        if compare_digest(_credentials(authorization), self._expected):
            self._failures.pop(client, None)
            return None
        if authorization:
            recent.append(monotonic())
            self._failures[client] = recent
        return PlainTextResponse(
            "This studio asks for a login.", 401, {"www-authenticate": 'Basic realm="Adapter Studio", charset="UTF-8"'}
        )

    def _recent(self, client: str) -> deque[float]:
        oldest = monotonic() - FAILURE_WINDOW_SECONDS
        for known in [k for k, times in self._failures.items() if times[-1] < oldest]:
            del self._failures[known]
        recent = self._failures.get(client, deque(maxlen=FAILURES_ALLOWED))
        while recent and recent[0] < oldest:
            recent.popleft()
        return recent


def _credentials(authorization: str) -> bytes:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _allowed_hosts(settings: Settings) -> frozenset[str]:
    named: Iterable[str] = (name.strip().lower() for name in settings.allowed_hosts.split(","))
    # a name that stands for every address (0.0.0.0, ::) is one that no browser sends
    return frozenset({"127.0.0.1", "localhost", "::1", settings.host.lower(), *named} - {""})


def _hostname(host: str) -> str:
    """`[::1]:7860` → `::1`, `Studio.local:80` → `studio.local`."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
