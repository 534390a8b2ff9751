"""Our own routes. `/v1/fill`: a whole `FillRequest` goes in, drafts and the `Fill` come out; nothing of diffusion is lost.
`/v1/engine`: what the engine says of itself."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palimpsest_api.bodies import body_of, decoded
from palimpsest_api.desk import Desk
from palimpsest_api.exchange import Say, Streamed, Whole, event
from palimpsest_api.guard import CLIENT
from palimpsest_api.refusals import Refusal, json_response, own_shape
from palimpsest_engine import Draft, FillRequest

HOLES, CANDIDATES, SIZES, LARGEST_SIZE, STEPS, SEEDS = 64, 16, 16, 4096, 10_000, 2**32

_REQUEST = msgspec.json.Decoder(FillRequest)


class Fills:
    """The route, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def fill(self, request: Request) -> Response:
        """Answer `POST /v1/fill`, with events if the client accepts them."""
        asked = decoded(await body_of(request, self.desk.limits), _REQUEST)
        _check(asked)
        # Requests take turns by who sends them; what the client calls itself only tells its windows apart.
        # What was read of a document is kept under its name, so the name has the user in it: nobody can ask for another's.
        user = request.scope[CLIENT]
        document = f"{user}\n{asked.client}\n{asked.document}" if asked.document else ""
        asked = replace(asked, client=user, document=document)
        route = request.scope["path"]

        async def whole() -> Response:
            return json_response(await self.desk.fill(asked, route))

        async def stream(say: Say) -> None:
            async def show(draft: Draft) -> None:
                await say(event(draft, "draft"))

            await say(event(await self.desk.fill(asked, route, show), "fill"))

        if "text/event-stream" in request.headers.get("accept", ""):
            return Streamed(stream, own_shape, self.desk.limits.ping_seconds, named=True)
        return Whole(whole, own_shape)

    async def engine(self, request: Request) -> Response:
        """Answer `GET /v1/engine` with the `EngineStatus`."""
        return json_response(msgspec.to_builtins(await self.desk.status()))


def _check(asked: FillRequest) -> None:
    """Raise Refusal for numbers that would keep the engine for ever."""
    bounds = {
        "holes": (len(asked.holes), 1, HOLES),
        "candidates": (asked.candidates, 1, CANDIDATES),
        "seed": (asked.seed, 0, SEEDS - 1),
        "max_lines": (asked.max_lines or 1, 1, 10_000),
        "max_steps": (1 if asked.max_steps is None else asked.max_steps, 1, STEPS),
        "sizes": (len(asked.sizes or ()), 0, SIZES),
        "a size": (min(asked.sizes or (1,)), 1, LARGEST_SIZE),
        "the largest size": (max(asked.sizes or (1,)), 1, LARGEST_SIZE),
        "cursor": (asked.cursor or 0, 0, len(asked.text)),
    }
    for name, (value, least, most) in bounds.items():
        if not least <= value <= most:
            raise Refusal(400, f"The number of {name} is out of bounds: it is from {least} to {most}.", "ValueError")
