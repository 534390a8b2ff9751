"""Answer over HTTP while the client is there: whole, or as server-sent events. Whoever goes away ends the work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from palimpsest_api.refusals import Shape, as_response, refusal_of

Say = Callable[[bytes], Awaitable[None]]
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
_PING = b": still at work\n\n"


def event(value: object, name: str = "") -> bytes:
    """Return a server-sent event. JSON has no line ends of its own."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(value) + b"\n\n"


class Whole(Response):
    """Does some work and sends the response that it makes."""

    def __init__(self, work: Callable[[], Awaitable[Response]], shape: Shape) -> None:
        self._work, self._shape = work, shape

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work, and answer."""

        async def work() -> None:
            try:
                response = await self._work()
            except Exception as error:
                response = as_response(refusal_of(error), self._shape)
            await response(scope, receive, send)

        await _while_there(receive, work())


class Streamed(Response):
    """Does some work and sends what it says, event by event; an error before the first one is a whole answer.

    ping: seconds of silence after which a comment is sent. named: the error event has a name.
    """

    def __init__(
        self, work: Callable[[Say], Awaitable[None]], shape: Shape, ping: float, *, named: bool = False
    ) -> None:
        self._work, self._shape, self._ping = work, shape, ping
        self._error = "error" if named else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work, and say so all along."""
        begun = False

        async def say(data: bytes, *, more: bool = True) -> None:
            nonlocal begun
            if not begun:
                begun = True
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": data, "more_body": more})

        async def work() -> None:
            last = b""
            try:
                await self._work(say)
            except Exception as error:
                refusal = refusal_of(error)
                if not begun:
                    await as_response(refusal, self._shape)(scope, receive, send)
                    return
                last = event(self._shape(refusal), self._error)
            await say(last, more=False)

        async def ping() -> None:
            while True:
                await asyncio.sleep(self._ping)
                await say(_PING)

        await _while_there(receive, work(), ping())


async def _while_there(receive: Receive, work: Awaitable[None], *beside: Awaitable[None]) -> None:
    """Wait for some work, and cancel it once the client has gone away. beside: runs as long as the work does."""
    task = asyncio.ensure_future(work)
    others = [asyncio.ensure_future(each) for each in (_gone(receive), *beside)]
    try:
        await asyncio.wait({task, others[0]}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (*others, *(() if task.done() else (task,))):
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        with suppress(asyncio.CancelledError):
            await task


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
