"""Fill requests by asking the server of one endpoint: reach it when it is needed, and say of it how it is.

A failure ends the fill with one sentence, which the status keeps until the next request has tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from palimpsest_engine.engine import Endpoint, EngineStatus
from palimpsest_engine.errors import EndpointError
from palimpsest_engine.fill.following import nothing
from palimpsest_engine.fill.in_turn import in_turn
from palimpsest_engine.remote.address import Address, address_of, key_of
from palimpsest_engine.remote.asking import NoChat, Speaks
from palimpsest_engine.remote.edit import EditFill
from palimpsest_engine.remote.hole import HoleFill
from palimpsest_engine.remote.instructed import ChatFill
from palimpsest_engine.remote.probe import reach
from palimpsest_engine.remote.transport import Limits, Transport
from palimpsest_engine.remote.whole import Whole
from palimpsest_engine.request import Draft, Fill, FillRequest, Verdict

NO_TOUCH_UP = (
    "A model behind an endpoint writes from left to right, so it cannot keep a part of a text, only write it anew; a "
    'diffusion model can: set model to {"edit": "embedded"}, say.'
)

NO_START = (
    "A model behind an endpoint writes from left to right, so its canvas cannot begin with a text; a diffusion model's can: "
    'set model to {"edit": "embedded"}, say.'
)
NO_INSTRUCTIONS = (
    "The model of the endpoint is not told what to do with a text; a model here can be: set model to "
    '{"edit": "qwen2.5-coder-0.5b"}, say.'
)


class RemoteFiller:
    """Fills holes one after the other over HTTP. Not thread-safe: it belongs to the engine's thread."""

    def __init__(self, endpoint: Endpoint, limits: Limits | None = None) -> None:
        self.endpoint, self.limits = endpoint, limits or Limits()
        self.status = EngineStatus("loading", "The endpoint is being asked what it is.")
        self._address: Address | None = None
        self._transport: Transport | None = None
        self._speaks: Speaks | Whole | None = None

    def open(self) -> None:
        """Find out what the endpoint is. A failure goes into the status; the next request tries again."""
        try:
            self._reached(lambda: False)
        except EndpointError as error:
            self._failed(error)

    def rehearse(self, cancelled: Callable[[], bool]) -> None:
        """Ask only for what a client waits for: others may use the server, too."""

    def fill(self, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
        """Yield drafts, then the `Fill`. Raises EndpointError, and FillCancelled once `cancelled()` is true."""
        try:
            server = self._reached(cancelled)
            if isinstance(server, Whole):
                yield from server.fill(request, cancelled)
                server.refresh()
            elif request.instruction:
                yield from _instructed(server, request, cancelled)
            elif request.changes:
                yield from _edit(server, request, cancelled)
            else:
                yield from _holes(server, request, cancelled)
        except EndpointError as error:
            self._failed(error)
            raise
        self.status = self._ready(server)

    def close(self) -> None:
        """Close what is open."""
        if self._transport is not None:
            self._transport.close()

    def _reached(self, cancelled: Callable[[], bool]) -> Speaks | Whole:
        """Return the way to speak with the server; ask it what it is, if that is not known or was wrong."""
        if self._speaks is None:
            if self._transport is None:
                self._address = address_of(self.endpoint)
                self._transport = Transport(self._address, lambda: key_of(self.endpoint), self.limits)
            self._transport.cancelled = cancelled
            self._speaks = reach(self._transport, self.endpoint)
            self.status = self._ready(self._speaks)
        return self._speaks

    def _ready(self, speaks: Speaks | Whole) -> EngineStatus:
        assert self._address is not None
        if isinstance(speaks, Whole):
            told = speaks.engine
            reason = " ".join(each for each in (self._address.warning, told.reason) if each)
            place = ", ".join(each for each in (f"{self._address.place} ({speaks.name})", told.device) if each)
            state = "ready" if told.state == "starting" else told.state
            return replace(told, state=state, reason=reason, device=place)
        reason = " ".join(each for each in (self._address.warning, speaks.note) if each)
        place = f"{self._address.place} ({speaks.name})"
        return EngineStatus(
            "ready",
            reason,
            speaks.model,
            place,
            denoises=False,
            writes=True,
            edits=bool(speaks.edits),
            instructs=speaks.chats is not None,
        )

    def _failed(self, error: EndpointError) -> None:
        """Forget the server: by the next request it may be another one."""
        self._speaks = None
        self.status = EngineStatus("error", str(error), exit_code=error.exit_code)


def _instructed(speaks: Speaks, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
    """Yield drafts, then the `Fill` of a request with an instruction."""
    if speaks.chats is None:
        yield nothing(NO_INSTRUCTIONS)
        return
    try:
        yield from _timed(ChatFill(speaks.chats, speaks.context, request, cancelled).run())
    except NoChat as none:
        speaks.chats = None
        yield nothing(str(none))


def _edit(speaks: Speaks, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
    """Yield drafts, then the `Fill` of a request with changes."""
    yield from _timed(EditFill(speaks, request, cancelled).run())


def _timed(events: Iterator[Draft | Fill]) -> Iterator[Draft | Fill]:
    begun = time.perf_counter()
    for event in events:
        if isinstance(event, Fill):
            event = replace(event, ms=(time.perf_counter() - begun) * 1000)
        yield event


def _holes(speaks: Speaks, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
    """Yield drafts, then the `Fill` of a request whose holes are asked for one after the other."""
    if request.start:
        yield Fill(("",), Verdict("no worse", "nothing was written"), NO_START)
        return
    if request.strength < 1.0:
        yield Fill(("",) * len(request.holes), Verdict("no worse", "nothing was written"), NO_TOUCH_UP)
        return
    if not any(hole.end > hole.start for hole in request.holes):
        request = replace(request, tidy=True)  # the model does not know where to stop; tidying does
    alone = ((hole,) for hole in request.holes)
    yield from in_turn(request, request.holes, alone, lambda part: HoleFill(speaks, part, cancelled).run())
