"""Let one browser in: by a token that works once, then by a cookie. No other page, and no other name for this machine."""

from __future__ import annotations

import hashlib
import hmac
import threading
from secrets import token_hex, token_urlsafe

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palimpsest_api.guard import is_here
from palimpsest_api.refusals import Refusal, as_response

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TOKENS = 16  # that wait to be used
_KEPT_SECONDS = 7 * 24 * 3600


def shape(refusal: Refusal) -> dict[str, str]:
    """Return an error as the page reads it."""
    return {"error": refusal.message}


class Keys:
    """The tokens that still work, and the cookie. Safe from any thread."""

    def __init__(self) -> None:
        self.cookie = f"palimpsest-canvas-{token_hex(4)}"  # cookies know no ports, and other pages may be open
        self._secret = token_urlsafe(32)
        self._tokens: list[bytes] = []
        self._lock = threading.Lock()

    def token(self) -> str:
        """Return a new token."""
        made = token_urlsafe(32)
        with self._lock:
            self._tokens = [*self._tokens[1 - _TOKENS :], _digest(made)]
        return made

    def use(self, token: str) -> str | None:
        """Return the value of a `Set-Cookie` header for a token that still works, which it does not do any more."""
        given = _digest(token)
        with self._lock:
            left = [each for each in self._tokens if not hmac.compare_digest(each, given)]
            if len(left) == len(self._tokens):
                return None
            self._tokens = left
        return f"{self.cookie}={self._secret}; Path=/; Max-Age={_KEPT_SECONDS}; HttpOnly; SameSite=Strict"

    def opened_by(self, headers: Headers) -> bool:
        """Return whether a request has the cookie."""
        given = cookie_parser("; ".join(headers.getlist("cookie"))).get(self.cookie, "")
        return hmac.compare_digest(_digest(given), _digest(self._secret))


class Door:
    """Checks each request before anything else sees it, and puts the headers of safety on every answer."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            self._check(scope["method"], scope["path"], Headers(scope=scope))
        except Refusal as refusal:
            await as_response(refusal, shape)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        """Raise Refusal for a request that is not from our own page. The page itself is let in by its route."""
        host = headers.get("host", "")
        if not is_here(host, ()):
            raise Refusal(403, "The Host header names another machine.", close=True)
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            raise Refusal(403, "Another page may not use this server.", close=True)
        if path == "/" and method in ("GET", "HEAD"):
            return
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refusal(403, "Another page may not use this server.", close=True)
        if not self._keys.opened_by(headers):
            raise Refusal(403, "This page is not open any more: open it anew.", close=True)
        if method == "POST" and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "A body has to be application/json.", close=True)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
