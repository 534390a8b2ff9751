"""Put whole requests to another Palimpsest (`palimpsest api`, `palimpsest team`), which answers as an engine here would.

Several holes, strength, drafts and what follows from a change are its own. Only what it needs is sent: the text near the
holes, the name of the file without its folders, and a number in place of the document's address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any, TypeVar

import msgspec

from palimpsest_engine.engine import Endpoint, EngineStatus
from palimpsest_engine.errors import EndpointError
from palimpsest_engine.remote.asking import cut_short, short_name
from palimpsest_engine.remote.transport import Transport
from palimpsest_engine.request import Draft, Fill, FillRequest, Span

BEFORE, AFTER = 40_000, 20_000  # code points of the text around the holes that are sent
T = TypeVar("T")


class Whole:
    """A Palimpsest at an endpoint. engine: what its engine said of itself when it was last asked."""

    name = "palimpsest"

    def __init__(self, transport: Transport, endpoint: Endpoint) -> None:
        self._transport, self._place = transport, transport.address.place
        self.engine = self._asked()

    @property
    def model(self) -> str:
        """Return the model's name as people know it."""
        return short_name(self.engine.model)

    def fill(self, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
        """Yield drafts, then the `Fill`. Raises EndpointError, and FillCancelled once `cancelled()` is true."""
        sent, shift = _near(request)
        events = self._transport.events("/v1/fill", _plain(sent), cancelled)
        try:
            for event in events:
                if "texts" in event:
                    yield self._checked(request, self._read(event, Fill), shift)
                    return
                yield self._read(event, Draft)
        finally:
            events.close()
        raise cut_short(self._place)

    def refresh(self) -> None:
        """Ask again what the engine is, if it was still loading. Raises EndpointError."""
        if self.engine.state in ("starting", "loading"):
            self.engine = self._asked()

    def _asked(self) -> EngineStatus:
        return self._read(self._transport.ask("GET", "/v1/engine"), EngineStatus)

    def _read(self, told: Any, kind: type[T]) -> T:
        try:
            return msgspec.convert(told, kind)
        except msgspec.ValidationError:
            raise EndpointError(
                f"{self._place} answers with something that is no {kind.__name__} of Palimpsest."
            ) from None

    def _checked(self, request: FillRequest, fill: Fill, shift: int) -> Fill:
        """Return the fill with places in the whole document. Raises EndpointError if it is of another request."""
        if any(len(texts) != len(request.holes) for texts in (fill.texts, *fill.alternatives)):
            raise EndpointError(f"{self._place} answers for another number of holes than were asked for.")
        bad = tuple(Span(span.start + shift, span.end + shift) for span in fill.verdict.bad)
        return replace(fill, verdict=replace(fill.verdict, bad=bad))


def _near(request: FillRequest) -> tuple[FillRequest, int]:
    """Return the request with no more than is to be sent, and the offset at which its text begins."""
    begin = max(0, request.holes[0].start - BEFORE)
    end = min(len(request.text), request.holes[-1].end + AFTER)
    begin = request.text.rfind("\n", 0, begin) + 1  # whole lines, for the grammar
    cursor = request.cursor
    sent = replace(
        request,
        text=request.text[begin:end],
        holes=tuple(Span(hole.start - begin, hole.end - begin) for hole in request.holes),
        cursor=None if cursor is None else min(max(cursor - begin, 0), end - begin),
        document=hashlib.sha256(request.document.encode("utf-8", "replace")).hexdigest()[:16]
        if request.document
        else "",
        client="",
        trace=0,  # frames are for a screen beside the engine
        path=None if request.path is None else PurePath(request.path).name,
    )
    return sent, begin


def _plain(request: FillRequest) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(request)
    return plain
