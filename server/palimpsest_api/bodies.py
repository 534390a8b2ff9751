"""Read what a client sends: within bounds of size and time, and as the types of a protocol."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from palimpsest_api.limits import Limits
from palimpsest_api.refusals import Refusal

T = TypeVar("T")


async def body_of(request: Request, limits: Limits) -> bytes:
    """Return a body. Raises Refusal if it is too large, or comes too slowly, whatever its length was said to be."""
    said = request.headers.get("content-length", "0")
    if said.isascii() and said.isdigit() and int(said[:20]) > limits.body:
        raise _too_large(limits)
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size > limits.body:
                    raise _too_large(limits)
                parts.append(part)
    except TimeoutError:
        message = f"The body did not arrive within {limits.body_seconds:g} s."
        raise Refusal(408, message, close=True) from None
    except ClientDisconnect:
        raise Refusal(400, "The client went away.", close=True) from None  # nobody reads it
    return b"".join(parts)


def decoded(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return a body as a type. Raises Refusal, which names the field and quotes nothing."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"The body is not what this route takes: {_plain(error)}.", "ValueError") from None


def named(request: Request, body: Any, *names: str) -> str:
    """Return what the body or, without that, the query says under the first of some names; "" for nothing."""
    for name in names:
        if found := getattr(body, name, None) or request.query_params.get(name):
            return str(found)[:1000]
    return ""


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"The body is larger than the {limits.body:,} bytes that are allowed.", close=True)


def _plain(error: Exception) -> str:
    match error:
        case msgspec.ValidationError():
            return str(error).rstrip(".").replace("`", "")
        case UnicodeDecodeError():
            return "its text is not UTF-8"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return "it is not JSON"
