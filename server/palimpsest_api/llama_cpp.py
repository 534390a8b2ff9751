"""The routes of llama.cpp's server: `/infill`, `/completion`, `/health`, `/props`.

Options that a diffusion model has no use for are ignored, as llama.cpp ignores those that it does not know.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from palimpsest_api.bodies import body_of, decoded, named
from palimpsest_api.desk import Desk
from palimpsest_api.exchange import Say, Streamed, Whole, event
from palimpsest_api.guard import CLIENT
from palimpsest_api.middles import SEEDS, Answer, Question, answered
from palimpsest_api.refusals import Refusal, json_response, llama_shape
from palimpsest_api.spoken import sides_of
from palimpsest_engine import Excerpt, __version__


class Extra(msgspec.Struct):
    """Text of another place."""

    text: str = ""
    filename: str = ""


class Options(msgspec.Struct):
    """Options that both routes take. language, path, filename: of the document; llama.cpp has no such fields."""

    n_predict: int | float | None = -1
    stop: list[str] | None = None
    stream: bool | None = False
    seed: int | float | None = None
    temperature: int | float | None = None
    n_indent: int | float | None = 0
    t_max_predict_ms: int | float | None = 0
    response_fields: list[str] | None = None
    language: str | None = None
    path: str | None = None
    filename: str | None = None


class InfillBody(Options, kw_only=True):
    """The body of `/infill`. prompt: the beginning of the middle."""

    input_prefix: str
    input_suffix: str
    input_extra: list[Extra] | None = None
    prompt: str | None = ""


class CompletionBody(Options, kw_only=True):
    """The body of `/completion`."""

    prompt: str


_INFILL = msgspec.json.Decoder(InfillBody)
_COMPLETION = msgspec.json.Decoder(CompletionBody)


class LlamaCpp:
    """The routes, over one desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    async def infill(self, request: Request) -> Response:
        """Answer `POST /infill`."""
        body = decoded(await body_of(request, self.desk.limits), _INFILL)
        excerpts = tuple(Excerpt(each.filename, each.text) for each in body.input_extra or ())
        question = Question(body.input_prefix + (body.prompt or ""), body.input_suffix, excerpts)
        return self._respond(request, body, question)

    async def completion(self, request: Request) -> Response:
        """Answer `POST /completion`: a prompt with control tokens has two sides, any other has one."""
        body = decoded(await body_of(request, self.desk.limits), _COMPLETION)
        sides = sides_of(body.prompt)
        question = Question(body.prompt)
        if sides is not None:
            question = Question(sides.before, sides.after, sides.excerpts, path=sides.path)
        return self._respond(request, body, question)

    def _respond(self, request: Request, body: Options, question: Question) -> Response:
        question = _with_options(request, body, question)
        client, route = request.scope[CLIENT], request.scope["path"]

        async def whole() -> Response:
            if question.tokens == 0:
                await self.desk.warm()
                return json_response(_chosen({"content": "", "stop": True}, body.response_fields))
            found = await answered(self.desk, question, client, route)
            model = (await self.desk.status()).model  # not before: it may have been loaded for this
            return json_response(_chosen(_final(found, model), body.response_fields))

        async def stream(say: Say) -> None:
            if question.tokens == 0:
                await self.desk.warm()
                await say(event({"content": "", "stop": True}))
                return
            found = await answered(self.desk, question, client, route)
            model = (await self.desk.status()).model  # not before: it may have been loaded for this
            await say(event({"index": 0, "content": found.middles[0].text, "tokens": [], "stop": False}))
            await say(event(_final(found, model) | {"content": ""}))

        if body.stream:
            return Streamed(stream, llama_shape, self.desk.limits.ping_seconds)
        return Whole(whole, llama_shape)

    async def health(self, request: Request) -> Response:
        """Answer `GET /health`."""
        status = await self.desk.status()
        if status.state in ("ready", "busy"):
            return json_response({"status": "ok"})
        loading = status.state in ("starting", "loading")
        said = "Loading model" if loading else "The model cannot be used; the server's own terminal says why."
        return json_response(llama_shape(Refusal(503, said)), 503)

    async def props(self, request: Request) -> Response:
        """Answer `GET /props`."""
        status = await self.desk.status()
        return json_response(
            {
                "default_generation_settings": {"id": 0, "is_processing": status.state == "busy", "params": {}},
                "total_slots": 1,
                "model_alias": status.model,
                "model_path": status.model,
                "modalities": {"vision": False, "audio": False},
                "build_info": f"palimpsest {__version__}",
                "device": status.device,
                "denoises": status.denoises,
                "languages": status.languages,
                "reason": status.reason,
            }
        )


def _with_options(request: Request, body: Options, question: Question) -> Question:
    tokens = -1 if body.n_predict is None else int(body.n_predict)
    milliseconds = body.t_max_predict_ms or 0
    return replace(
        question,
        language=named(request, body, "language"),
        path=named(request, body, "path", "filename") or question.path,
        seed=seed_of(body.seed, body.temperature),
        stops=tuple(each for each in body.stop or () if each),
        tokens=tokens if tokens >= 0 else None,
        indent=max(0, int(body.n_indent or 0)),
        seconds=milliseconds / 1000 if milliseconds > 0 else None,
    )


def seed_of(seed: float | None, temperature: float | None) -> int | None:
    """Return the seed of a request: the one it has, 0 if it wants nothing left to chance, else None for any."""
    if seed is not None and seed >= 0:
        return int(seed) % SEEDS
    return 0 if temperature == 0 else None


def _final(found: Answer, model: str) -> dict[str, Any]:
    """Return the last object of an answer. A predicted token is a pass of the decoder: nothing else is counted here."""
    fill, middle = found.fill, found.middles[0]
    seconds = fill.ms / 1000 or 1e-3
    final: dict[str, Any] = {
        "index": 0,
        "content": middle.text,
        "tokens": [],
        "id_slot": 0,
        "stop": True,
        "model": model,
        "tokens_predicted": fill.nfe,
        "tokens_evaluated": fill.context,
        "has_new_line": "\n" in middle.text,
        "truncated": False,
        "stop_type": middle.end,
        "stopping_word": middle.word,
        "tokens_cached": max(0, fill.context - fill.encoded),
        "timings": {
            "cache_n": max(0, fill.context - fill.encoded),
            "prompt_n": fill.encoded,
            "prompt_ms": 0.0,
            "prompt_per_token_ms": 0.0,
            "prompt_per_second": 0.0,
            "predicted_n": fill.nfe,
            "predicted_ms": fill.ms,
            "predicted_per_token_ms": fill.ms / max(1, fill.nfe),
            "predicted_per_second": fill.nfe / seconds,
        },
        "verdict": fill.verdict.status,
    }
    return final | {"reason": found.reason} if found.reason else final


def _chosen(value: dict[str, Any], fields: list[str] | None) -> dict[str, Any]:
    """Return the fields that were asked for; one with slashes is taken from within, under its whole name."""
    if not fields:
        return value
    found: dict[str, Any] = {}
    for field in fields:
        inner: Any = value
        for part in field.split("/"):
            inner = inner.get(part) if isinstance(inner, dict) else None
        if inner is not None:
            found[field] = inner
    return found
