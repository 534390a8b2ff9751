"""Put the routes together over a `Backend`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from palimpsest_api.backend import Backend
from palimpsest_api.desk import Desk
from palimpsest_api.fills import Fills
from palimpsest_api.guard import Guard, Recognise, everybody
from palimpsest_api.limits import Limits
from palimpsest_api.llama_cpp import LlamaCpp
from palimpsest_api.metrics import Metrics
from palimpsest_api.openai import OpenAI
from palimpsest_api.refusals import Refusal, as_response, refusal_of, shape_of

_WORDS = {404: "File Not Found", 405: "Method Not Allowed"}


def create(
    backend: Backend,
    *,
    recognise: Recognise = everybody,
    hosts: Collection[str] | None = (),
    limits: Limits | None = None,
) -> Starlette:
    """Return the application; its state has the `desk`. The backend is closed when the application ends.

    recognise: tells clients by their tokens. hosts: names that `Host` may have besides those of this machine; None for any.
    """
    metrics = Metrics()
    desk = Desk(backend, limits or Limits(), metrics)
    llama, openai, own = LlamaCpp(desk), OpenAI(desk), Fills(desk)

    async def figures(request: Request) -> Response:
        return metrics.response()

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = Refusal(error.status_code, _WORDS.get(error.status_code, error.detail))
        else:
            known = request.scope["path"] if request.scope["path"] in paths else "other"
            metrics.count(known, "refused" if isinstance(error, Refusal) else "failed")
        return as_response(refusal_of(error), shape_of(request.scope["path"]))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            desk.end()
            await backend.close()

    routes = [
        Route("/infill", llama.infill, methods=["POST"]),
        Route("/completion", llama.completion, methods=["POST"]),
        Route("/health", llama.health),
        Route("/v1/health", llama.health),
        Route("/props", llama.props),
        Route("/v1/completions", openai.completions, methods=["POST"]),
        Route("/v1/models", openai.models),
        Route("/v1/fill", own.fill, methods=["POST"]),
        Route("/v1/engine", own.engine),
        Route("/metrics", figures),
    ]
    paths = frozenset(route.path for route in routes)
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, recognise=recognise, hosts=hosts)],
        exception_handlers={HTTPException: refused, Refusal: refused, Exception: refused},
        lifespan=lifespan,
    )
    app.state.desk = desk
    return app
