"""Say what went wrong, as each protocol says it: llama.cpp, OpenAI, and our own. Nothing quotes what a client sent."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.responses import Response

from palimpsest_engine import EndpointError, FillCancelled, LanguageUnknown, PalimpsestError, QueueFull

log = logging.getLogger("palimpsest.api")


class Refusal(Exception):
    """An answer that is no fill. kind: the class of the error that it stands for, in our own protocol.

    retry_after: seconds. close: the connection is of no more use, because a part of the request has not been read.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "PalimpsestError",
        *,
        retry_after: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind
        self.retry_after, self.close = retry_after, close


def refusal_of(error: BaseException) -> Refusal:
    """Return the refusal for an error. One that nobody expected is logged, and its text is not sent."""
    match error:
        case Refusal():
            return error
        case FillCancelled():
            return Refusal(409, str(error) or "The fill was cancelled.", "FillCancelled")
        case LanguageUnknown():
            return Refusal(422, _sentence(error), "LanguageUnknown")
        case QueueFull():
            return Refusal(429, _sentence(error), "QueueFull", retry_after=1)
        case EndpointError():
            return Refusal(502, _sentence(error), "EndpointError")
        case PalimpsestError():
            return Refusal(500, _sentence(error), type(error).__name__)
        case _:
            log.error("an answer failed", exc_info=error)
            return Refusal(500, "This is a bug in palimpsest; the server's log says more.")


def _sentence(error: BaseException) -> str:
    said = str(error)
    return said if said.endswith((".", "!", "?")) else f"{said}."


Shape = Callable[[Refusal], dict[str, Any]]

_LLAMA_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "not_supported_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    501: "not_supported_error",
    503: "unavailable_error",
}


def llama_shape(refusal: Refusal) -> dict[str, Any]:
    """Return an error as llama.cpp's server writes it."""
    kind = _LLAMA_TYPES.get(refusal.status, "server_error")
    return {"error": {"code": refusal.status, "message": refusal.message, "type": kind}}


def openai_shape(refusal: Refusal) -> dict[str, Any]:
    """Return an error as OpenAI's API writes it."""
    kind = _LLAMA_TYPES.get(refusal.status, "server_error")
    return {"error": {"message": refusal.message, "type": kind, "param": None, "code": None}}


def own_shape(refusal: Refusal) -> dict[str, Any]:
    """Return an error of our own protocol, from which a client makes the same error again."""
    return {"error": {"kind": refusal.kind, "message": refusal.message}}


def shape_of(path: str) -> Shape:
    """Return how errors are written at a path."""
    if path in ("/v1/fill", "/v1/engine"):
        return own_shape
    return openai_shape if path.startswith("/v1/") else llama_shape


def as_response(refusal: Refusal, shape: Shape) -> Response:
    """Return the whole answer."""
    headers = {}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.close:
        headers["Connection"] = "close"
    return json_response(shape(refusal), refusal.status, headers)


def json_response(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value as compact JSON: llama.vim looks for a field before it reads the whole."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
