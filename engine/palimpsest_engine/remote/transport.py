"""Send requests over HTTP and read the answers, line by line, within bounds of time and size. Knows no API, no holes.

No redirect is followed, no proxy or password of the environment is used, and nothing that was sent is quoted in an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from palimpsest_engine.errors import EndpointError
from palimpsest_engine.remote.address import Address
from palimpsest_engine.remote.refusal import Unreachable, refused, shown, unreachable
from palimpsest_engine.remote.wire import Backend, Watch, Wire

Events = Generator[dict[str, Any], None, None]
_ERROR = 2**16  # bytes of an error to read
_SSE, _JSON = "text/event-stream", "application/json"
_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-lines")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one exchange, in seconds and bytes. silence: without a byte. probe: all of a question about the server.
    chat: all of an answer to an instruction, which a user watches."""

    connect: float = 3.0
    silence: float = 60.0
    total: float = 120.0
    chat: float = 600.0
    probe: float = 5.0
    line: int = 2**20
    body: int = 2**23


class Transport:
    """The way to one server. For one thread, and for one exchange at a time. key: asked for with each request.

    cancelled: ends short questions about the server, too.
    """

    def __init__(self, address: Address, key: Callable[[], str], limits: Limits) -> None:
        self.address, self.limits = address, limits
        self.cancelled: Callable[[], bool] = lambda: False
        self._key = key
        self._backend = Backend(self._watch(lambda: False, limits.probe))
        self._client = httpx.Client(
            transport=Wire(address, self._backend),
            timeout=httpx.Timeout(limits.connect),
            follow_redirects=False,
            trust_env=False,
        )

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON of a short answer."""
        with self._answer(method, path, body, self._watch(self.cancelled, self.limits.probe)) as answer:
            if _kind(answer) != _JSON:
                raise self._strange(_kind(answer), _JSON)
            return self._json(b"".join(self._pieces(answer)))

    def events(self, path: str, body: object, cancelled: Callable[[], bool], *, chat: bool = False) -> Events:
        """Yield the objects of a streamed answer, one by one. Closing the iterator closes the connection.

        Raises EndpointError with a sentence, `Refused` if the server answered with an error, FillCancelled once
        `cancelled()` is true.
        """
        watch = self._watch(cancelled, self.limits.chat if chat else self.limits.total)
        with self._answer("POST", path, body, watch, accept=f"{_SSE}, {_JSON}, {_LINES[0]}") as answer:
            kind = _kind(answer)
            if kind == _JSON:
                yield self._event(b"".join(self._pieces(answer)), body)
            elif kind in (_SSE, *_LINES):
                for line in self._lines(answer):
                    name, colon, value = (b"data", b":", line) if kind != _SSE else line.partition(b":")
                    if name == b"data" and value.strip() == b"[DONE]":
                        return
                    if name == b"error" and colon:  # not of the standard: llama.cpp has sent it
                        raise self._refused(0, value, body)
                    if name == b"data" and value.strip():
                        yield self._event(value, body)
            else:
                raise self._strange(kind, "a stream")

    def close(self) -> None:
        """Close what is open."""
        self._client.close()

    def _watch(self, cancelled: Callable[[], bool], seconds: float) -> Watch:
        return Watch(self.address.place, cancelled, seconds, self.limits.silence)

    @contextmanager
    def _answer(
        self, method: str, path: str, body: object, watch: Watch, accept: str = _JSON
    ) -> Iterator[httpx.Response]:
        """Send a request and take the head of its answer, and turn every failure until its end into a sentence."""
        place, headers = (
            self.address.place,
            {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "palimpsest"},
        )
        if key := self._key():
            headers["Authorization"] = f"Bearer {key}"
        content = None
        if body is not None:
            content = json.dumps(body).encode("ascii")
            headers["Content-Type"] = _JSON
        watch.look()
        self._backend.watch = watch
        try:
            request = self._client.build_request(method, self.address.base + path, content=content, headers=headers)
            answer = self._client.send(request, stream=True)
            try:
                if answer.status_code != 200:
                    raise self._refused(answer.status_code, self._beginning(answer), body)
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise EndpointError(f"{place} compresses its answers, which was not asked for.")
                yield answer
            finally:
                answer.close()
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise Unreachable(unreachable(self.address, error, self.limits.connect)) from None
        except (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError) as error:
            said = "closed the connection in the middle of an answer"
            strange = isinstance(error, httpcore.RemoteProtocolError) and not re.search("closed|disconnect", str(error))
            raise Unreachable(f"{place} {'does not speak HTTP' if strange else said}.") from None
        except (httpcore.TimeoutException, httpcore.ProtocolError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{place} cannot be asked: {type(error).__name__}.") from None

    def _pieces(self, answer: httpx.Response) -> Iterator[bytes]:
        """Yield the bytes of a body, up to the bound. They come as they were sent: nothing is unpacked."""
        size = 0
        for piece in answer.iter_raw():
            size += len(piece)
            if size > self.limits.body:
                raise EndpointError(f"{self.address.place} sends more than {self.limits.body} bytes in one answer.")
            self._backend.watch.look()
            yield piece

    def _lines(self, answer: httpx.Response) -> Iterator[bytes]:
        rest = b""
        for piece in self._pieces(answer):
            *lines, rest = (rest + piece).split(b"\n")
            if max(map(len, (rest, *lines))) > self.limits.line:
                raise EndpointError(f"{self.address.place} sends a line of more than {self.limits.line} bytes.")
            yield from lines
        yield rest

    def _beginning(self, answer: httpx.Response) -> bytes:
        """Return as much of an error as is worth reading."""
        data = b""
        for piece in self._pieces(answer):
            data += piece
            if len(data) >= _ERROR:
                break
        return data

    def _json(self, data: bytes) -> Any:
        try:
            return json.loads(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise EndpointError(f"{self.address.place} sends bytes that are not UTF-8.") from None
        except (ValueError, RecursionError):
            raise EndpointError(f"{self.address.place} sends something that is not JSON.") from None

    def _event(self, data: bytes, body: object) -> dict[str, Any]:
        event = self._json(data)
        if not isinstance(event, dict):
            raise EndpointError(f"{self.address.place} sends JSON that is not an object.")
        if event.get("error"):
            raise self._refused(0, data, body)
        return event

    def _strange(self, kind: str, expected: str) -> EndpointError:
        found = shown(kind) or "nothing that has a type"
        return EndpointError(
            f"{self.address.place} answers with {found} instead of {expected}: is this the URL of a model server?"
        )

    def _refused(self, status: int, data: bytes, body: object) -> EndpointError:
        return refused(self.address.place, status, data, body, self._key())


def _kind(answer: httpx.Response) -> str:
    """Return the type of an answer, without its parameters."""
    kind: str = answer.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()
