"""Who may speak to the chat engine. A web page in a browser may not, even if it finds the port.

Refuses, before anything is read: a Host that is not ours (a foreign name that points at this machine), any Origin
(only browsers send one), a missing or wrong token, and bodies larger than a conversation can be.
"""

from hmac import compare_digest

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.core.errors import StudioError
from workers.roster import Refused

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_BODY_BYTES = 8 << 20
OPEN_PATHS = frozenset({"/health"})  # tells nothing, so it takes no token


class _TooLarge(Exception):
    """More of the body has come than is allowed."""


class Guard:
    def __init__(self, app: ASGIApp, hosts: set[str], token: str) -> None:
        self._app, self._hosts, self._token = app, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["path"], Headers(scope=scope))
        if refusal:
            await error_json(refusal)(scope, receive, send)
            return
        try:
            await self._app(scope, _limited(receive), send)
        except _TooLarge:
            await error_json(_too_large())(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> Refused | None:
        if _name(headers.get("host", "")) not in self._hosts:
            return Refused(
                "The chat engine is not reached under this name.",
                "Use 127.0.0.1, or add the name to STUDIO_ALLOWED_HOSTS.",
                400,
                "bad_host",
            )
        if "origin" in headers:
            return Refused("Web pages may not speak to the chat engine.", "", 403, "bad_origin")
        if self._token and path not in OPEN_PATHS:
            given = headers.get("authorization", "").removeprefix("Bearer ").encode()
            if not compare_digest(given, self._token.encode()):
                return Refused(
                    "The chat engine wants its token.", "Send it as “Authorization: Bearer …”.", 401, "invalid_api_key"
                )
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > MAX_BODY_BYTES:
            return _too_large()
        return None


def error_json(error: StudioError) -> JSONResponse:
    """The error as OpenAI's clients expect it, with our hint besides."""
    known = error if isinstance(error, Refused) else Refused(error.message, error.hint, 500, "failed")
    kind = "server_error" if known.status >= 500 else "invalid_request_error"
    body = {"message": error.message, "hint": error.hint, "type": kind, "code": known.code}
    return JSONResponse({"error": body}, known.status)


def _too_large() -> Refused:
    return Refused(
        f"The request is larger than {MAX_BODY_BYTES >> 20} MiB.", "Shorten the conversation.", 413, "too_large"
    )


def _limited(receive: Receive) -> Receive:
    """For bodies sent in chunks, whose size no header tells."""
    left = MAX_BODY_BYTES

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _TooLarge
        return message

    return counted


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
