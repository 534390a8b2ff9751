"""Bind the routes of the page to the canvas behind it; `docs/canvas.md` has them in a table."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import cast
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from palimpsest_api.bodies import body_of, decoded
from palimpsest_api.exchange import Say, Streamed
from palimpsest_api.refusals import Refusal, as_response, json_response, refusal_of
from palimpsest_canvas import page
from palimpsest_canvas.asked import Asked, Written
from palimpsest_canvas.canvas import Canvas
from palimpsest_canvas.door import HEADERS, Door, Keys, shape
from palimpsest_canvas.runs import Run
from palimpsest_engine import PalimpsestError

_ASKED = msgspec.json.Decoder(Asked)
_WRITTEN = msgspec.json.Decoder(Written)
_NOTHING = msgspec.json.Decoder(dict[str, None])
_WORDS = {404: "There is nothing here.", 405: "That cannot be done here."}


def create(canvas: Canvas, keys: Keys, static: Path = page.STATIC) -> Starlette:
    """Return the application; its state has the canvas as its `desk`. static: the folder with the page's files."""

    async def index(request: Request) -> Response:
        token = request.query_params.get("token")
        if token is not None and request.method == "GET" and (cookie := keys.use(token)) is not None:
            return RedirectResponse("/", 303, {"Set-Cookie": cookie})
        if not keys.opened_by(request.headers):
            return HTMLResponse(page.CLOSED, 403)
        if token is not None:  # used already, by this browser
            return RedirectResponse("/", 303)
        return HTMLResponse(page.asset("index.html", static))

    async def script(request: Request) -> Response:
        return Response(page.asset("page.js", static), media_type="text/javascript")

    async def style(request: Request) -> Response:
        return Response(page.asset("page.css", static), media_type="text/css")

    async def state(request: Request) -> Response:
        return json_response(canvas.state())

    async def fill(request: Request) -> Response:
        asked = decoded(await body_of(request, canvas.limits), _ASKED)
        try:
            return json_response({"run": canvas.fill(asked).id})
        except PalimpsestError as error:
            raise Refusal(503, str(error)) from None

    async def events(request: Request) -> Response:
        return streamed(canvas.events)

    async def run_events(request: Request) -> Response:
        return streamed(run_of(request).events)

    async def cancel(request: Request) -> Response:
        decoded(await body_of(request, canvas.limits) or b"{}", _NOTHING)
        run_of(request).cancel()
        return json_response({})

    async def recording(request: Request) -> Response:
        return Response(run_of(request).recording(), media_type="application/json")

    async def replay(request: Request) -> Response:
        run = run_of(request)
        made = await run_in_threadpool(page.replay, run.recording(), run.begun.name, static)
        name = quote(f"{run.begun.name.rpartition('/')[2]}.html")
        return HTMLResponse(made, headers={"Content-Disposition": f"attachment; filename*=utf-8''{name}"})

    async def apply(request: Request) -> Response:
        written = decoded(await body_of(request, canvas.limits), _WRITTEN)
        run = run_of(request)
        if len(written.texts) != len(run.target.holes):
            raise Refusal(400, f"There are {len(run.target.holes)} holes to fill, not {len(written.texts)}.")
        if reason := await canvas.origin.apply(run.target, written.texts):
            raise Refusal(409, reason)
        return json_response({"applied": True})

    def run_of(request: Request) -> Run:
        if (found := canvas.runs.get(request.path_params["id"])) is None:
            raise Refusal(404, "This run is not kept any more.")
        return found

    def streamed(events: Callable[[], AsyncIterator[bytes]]) -> Response:
        async def work(say: Say) -> None:
            async with aclosing(cast(AsyncGenerator[bytes], events())) as found:
                async for each in found:
                    await say(each)

        return Streamed(work, shape, canvas.limits.ping_seconds)

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = Refusal(error.status_code, _WORDS.get(error.status_code, error.detail))
        response = as_response(refusal_of(error), shape)
        response.headers.update(HEADERS)  # what nobody expected is answered in front of the door
        return response

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            canvas.end()

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/static/page.js", script),
            Route("/static/page.css", style),
            Route("/api/state", state),
            Route("/api/fill", fill, methods=["POST"]),
            Route("/api/events", events),
            Route("/api/runs/{id}/events", run_events),
            Route("/api/runs/{id}/cancel", cancel, methods=["POST"]),
            Route("/api/runs/{id}/recording", recording),
            Route("/api/runs/{id}/replay.html", replay),
            Route("/api/runs/{id}/apply", apply, methods=["POST"]),
        ],
        middleware=[Middleware(Door, keys=keys)],
        exception_handlers={HTTPException: refused, Refusal: refused, Exception: refused},
        lifespan=lifespan,
    )
    app.state.desk = canvas
    return app
