"""Answer the command `palimpsest.canvas`: open the page that shows fills at work. Knows neither HTTP nor the page.

The page is a package above this one (`palimpsest_canvas`), which needs packages of an extra; so it is imported by its name,
when it is first asked for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from palimpsest_engine import PalimpsestError
from palimpsest_server.documents import window
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions.target import range_of
from palimpsest_server.protocol.lifecycle import UnreadableAnswer
from palimpsest_server.protocol.methods import CANVAS
from palimpsest_server.server import Server
from palimpsest_server.session.permission import ban
from palimpsest_server.session.session import Session

_PATIENCE_SECONDS = 60.0  # an editor may ask its user first
_PACKAGE = "palimpsest_canvas.editor"


class Page(Protocol):
    """The page of one editor."""

    def show(self, document: Snapshot, text: str, base: int, start: int, end: int) -> None:
        """Show a document, or the window of it that begins at `base`, with a hole in it."""
        ...

    def address(self) -> str:
        """Return an address that works once."""
        ...

    def close(self) -> None:
        """Let it end."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """The document that the page is to show, and the place of the hole; None for its end."""

    uri: str
    range: types.Range | None


def place_of(*arguments: Any) -> Place | None:
    """Read the argument of the command, if it has one. Raises JsonRpcInvalidParams, in a sentence."""
    if not arguments:
        return None
    given = arguments[0]
    if len(arguments) != 1 or not isinstance(given, dict) or not isinstance(given.get("uri"), str):
        raise JsonRpcInvalidParams(f"{CANVAS} expects one argument {{uri, range?}}")
    try:
        return Place(given["uri"], None if given.get("range") is None else range_of(given["range"]))
    except (KeyError, TypeError, ValueError) as error:
        raise JsonRpcInvalidParams(f"{CANVAS}: range is not a range of positions") from error


async def show(server: Server, place: Place | None) -> dict[str, Any]:
    """Open the page on a document, and return its address, whether the client shows it, or the reason why there is none."""
    try:
        found = None if place is None else await _seen(server.session, place)
        page = await _page(server)
    except PalimpsestError as error:
        server.warn(f"Palimpsest: the canvas cannot be shown: {error}")
        return {"url": None, "shown": False, "reason": str(error)}
    if found is not None:
        page.show(*found)
    url = page.address()
    shown = await _shown(server, url)
    if not shown:
        server.window_show_message(
            types.ShowMessageParams(types.MessageType.Info, f"Palimpsest: the canvas is at {url}")
        )
    return {"url": url, "shown": shown, "reason": None}


async def _seen(session: Session, place: Place) -> tuple[Snapshot, str, int, int, int]:
    """Return the document, (a window of) its text, where that begins, and the hole. Raises PalimpsestError if it may not be
    shown to a model."""
    document = session.documents.snapshot(place.uri)
    if document is None:
        raise PalimpsestError(session.documents.why_not_open(place.uri))
    if reason := ban(session, document):
        raise PalimpsestError(reason)
    if place.range is None:
        start = end = len(document.content)
    else:
        hole = document.span_of(place.range, session.documents.encoding)
        start, end = hole.start, hole.end
    if not window.is_small(document) and end - start > 2 * window.STRIDE:
        raise PalimpsestError(f"more than {2 * window.STRIDE} characters of a large file are selected")
    text, base = window.around(document, start, end)
    settings = session.settings_for(document)
    if reason := await session.surroundings.objection(document, text, start - base, settings, automatic=False):
        raise PalimpsestError(reason)
    return document, text, base, start - base, end - base


async def _page(server: Server) -> Page:
    """Return the page of this session; the first time, its server is started. Raises PalimpsestError if it cannot be."""
    session, loop = server.session, asyncio.get_running_loop()
    if session.canvas is None:
        # Importing it takes a while, which is not for the event loop.
        page = await asyncio.to_thread(lambda: import_module(_PACKAGE).start(server, loop))
        if session.canvas is not None or session.closed:  # another command was faster, or the server ends
            page.close()
        else:
            session.canvas = page
    if session.canvas is None:
        raise PalimpsestError("the server is shutting down")
    return cast(Page, session.canvas)


async def _shown(server: Server, url: str) -> bool:
    """Have the client show an address in the user's browser; return whether it did."""
    window_ = server.client_capabilities.window
    if not (window_ and window_.show_document and window_.show_document.support):
        return False
    params = types.ShowDocumentParams(url, external=True, take_focus=True)
    try:
        answer = await asyncio.wait_for(server.window_show_document_async(params), _PATIENCE_SECONDS)
    except (JsonRpcException, UnreadableAnswer, TimeoutError):
        return False
    return bool(answer and answer.success)
