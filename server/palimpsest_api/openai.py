"""The routes of OpenAI's API that infilling needs: `/v1/completions` with `suffix`, and `/v1/models`.

The usage that is reported is zero: it would count tokens, and no token leaves the engine. Zed refuses an answer without one.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palimpsest_api.bodies import body_of, decoded, named
from palimpsest_api.desk import Desk
from palimpsest_api.exchange import Say, Streamed, Whole, event
from palimpsest_api.guard import CLIENT
from palimpsest_api.llama_cpp import seed_of
from palimpsest_api.middles import Middle, Question, answered
from palimpsest_api.refusals import Refusal, json_response, openai_shape
from palimpsest_api.spoken import sides_of

MOST = 8  # middles of one request
STOPS = 16
_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_DONE = b"data: [DONE]\n\n"


class Body(msgspec.Struct):
    """The body of `/v1/completions`. language, path, filename: of the document; OpenAI has no such fields."""

    prompt: str | list[str]
    suffix: str | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    n: int | None = 1
    echo: bool | None = False
    stream: bool | None = False
    seed: int | None = None
    temperature: int | float | None = None
    language: str | None = None
    path: str | None = None
    filename: str | None = None


_BODY = msgspec.json.Decoder(Body)


class OpenAI:
    """The routes, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._begun = int(time.time())

    async def completions(self, request: Request) -> Response:
        """Answer `POST /v1/completions`. The model is ours, whatever name a client sends."""
        body = decoded(await body_of(request, self.desk.limits), _BODY)
        question = _question(request, body)
        prompt = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
        echo, client, route = prompt if body.echo else "", request.scope[CLIENT], request.scope["path"]

        async def asked() -> tuple[dict[str, Any], tuple[Middle, ...], str]:
            middles: tuple[Middle, ...] = (Middle("", "limit"),)
            reason = ""
            if question.tokens == 0:
                await self.desk.warm()
            else:
                found = await answered(self.desk, question, client, route)
                middles, reason = found.middles, found.reason
            head = {
                "id": f"cmpl-{uuid.uuid4().hex}",
                "object": "text_completion",
                "created": int(time.time()),
                "model": (await self.desk.status()).model,
            }
            return head, middles, reason

        async def whole() -> Response:
            head, middles, reason = await asked()
            choices = [_choice(number, echo + each.text, each) for number, each in enumerate(middles)]
            return json_response(head | {"choices": choices, "usage": _USAGE} | ({"reason": reason} if reason else {}))

        async def stream(say: Say) -> None:
            head, middles, reason = await asked()
            for number, middle in enumerate(middles):
                await say(event(head | {"choices": [_choice(number, echo + middle.text, None)]}))
            last = [_choice(number, "", middle) for number, middle in enumerate(middles)]
            await say(event(head | {"choices": last} | ({"reason": reason} if reason else {})))
            await say(_DONE)

        if body.stream:
            return Streamed(stream, openai_shape, self.desk.limits.ping_seconds)
        return Whole(whole, openai_shape)

    async def models(self, request: Request) -> Response:
        """Answer `GET /v1/models`: there is one."""
        status = await self.desk.status()
        model = {"id": status.model, "object": "model", "created": self._begun, "owned_by": "palimpsest"}
        return json_response({"object": "list", "data": [model] if status.model else []})


def _choice(number: int, text: str, ended: Middle | None) -> dict[str, Any]:
    """Return one choice. ended: the middle whose end this is, None if more of it comes."""
    why = None if ended is None else "length" if ended.end == "limit" else "stop"
    return {"index": number, "text": text, "logprobs": None, "finish_reason": why}


def _question(request: Request, body: Body) -> Question:
    """Return what a body asks. Raises Refusal."""
    if isinstance(body.prompt, list) and len(body.prompt) != 1:
        raise Refusal(400, "A request has one prompt here; send several requests.", "ValueError")
    prompt = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
    count = 1 if body.n is None else body.n
    if not 1 <= count <= MOST:
        raise Refusal(400, f"n is from 1 to {MOST}.", "ValueError")
    if body.max_tokens is not None and body.max_tokens < 0:
        raise Refusal(400, "max_tokens is not below 0.", "ValueError")
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stops) > STOPS:
        raise Refusal(400, f"There are at most {STOPS} stops.", "ValueError")
    question = Question(prompt, body.suffix or "")
    if not body.suffix and (sides := sides_of(prompt)) is not None:
        question = Question(sides.before, sides.after, sides.excerpts, path=sides.path)
    return replace(
        question,
        language=named(request, body, "language"),
        path=named(request, body, "path", "filename") or question.path,
        seed=seed_of(body.seed, body.temperature),
        count=count,
        stops=tuple(each for each in stops if each),
        tokens=body.max_tokens,
    )
