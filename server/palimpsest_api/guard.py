"""Keep out pages in a browser, other names for this machine, and clients without the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from palimpsest_api.refusals import Refusal, as_response, shape_of

Recognise = Callable[[str], str | None]  # takes a token ("" for none); returns the client's name, or None to refuse it
CLIENT = "palimpsest.client"  # the key of the client's name in a scope
_HOST = re.compile(r"(?:\[([^]]+)]|([^:]+))(?::\d+)?")
_OPEN = frozenset({"/health"})  # tells nothing but whether the server is ready


def everybody(token: str) -> str | None:
    """Recognise whoever comes: nobody but this machine's users can."""
    return ""


def holders_of(secret: str) -> Recognise:
    """Return how clients with one token are recognised, compared in constant time."""
    wanted = hashlib.sha256(secret.encode()).digest()

    def recognise(token: str) -> str | None:
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        return "" if hmac.compare_digest(given, wanted) else None

    return recognise


class Guard:
    """Checks each request before anything else sees it.

    hosts: what `Host` may be, besides loopback addresses; None for anything. A page that has its own name resolved to this
    machine sends that name.
    """

    def __init__(self, app: ASGIApp, recognise: Recognise, hosts: Collection[str] | None) -> None:
        self._app, self._recognise, self._hosts = app, recognise, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the client's name in its scope, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            try:
                scope[CLIENT] = self._admitted(Headers(scope=scope), scope["path"])
            except Refusal as refusal:
                await as_response(refusal, shape_of(scope["path"]))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _admitted(self, headers: Headers, path: str) -> str:
        """Return the client's name. Raises Refusal."""
        if "origin" in headers or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refusal(403, "No page in a browser may use this server.", close=True)
        if self._hosts is not None and not is_here(headers.get("host", ""), self._hosts):
            raise Refusal(403, "The Host header names another machine; --allow-host adds a name.", close=True)
        name = self._recognise(_token(headers))
        if name is None and path not in _OPEN:
            raise Refusal(401, "A token is needed: Authorization: Bearer TOKEN.", close=True)
        return name or ""


def _token(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")


def is_here(host: str, names: Collection[str]) -> bool:
    """Return whether a `Host` is a loopback address, or one of the names. Its port does not matter: it may be forwarded."""
    named = _HOST.fullmatch(host)
    name = (named[1] or named[2]).lower() if named else ""
    return name in names or is_loopback(name)


def is_loopback(host: str) -> bool:
    """Return whether a name or address means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
