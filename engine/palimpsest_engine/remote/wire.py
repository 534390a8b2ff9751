"""Carry requests of httpx over connections that end at once when a fill is cancelled, or when they take too long."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any

import certifi
import httpcore
import httpx

from palimpsest_engine.errors import FillCancelled
from palimpsest_engine.remote.address import Address
from palimpsest_engine.remote.refusal import Unreachable

_POLL = 0.05  # seconds between two looks at whether a fill is cancelled


class Watch:
    """Ends an exchange that was cancelled or takes too long."""

    def __init__(self, place: str, cancelled: Callable[[], bool], seconds: float, silence: float) -> None:
        self.place, self.cancelled, self.seconds, self.silence = place, cancelled, seconds, silence
        self._begun = self._heard = monotonic()

    def look(self) -> None:
        """Raise FillCancelled or Unreachable if the exchange has to end."""
        if self.cancelled():
            raise FillCancelled("The fill was cancelled.")
        now = monotonic()
        if now - self._begun >= self.seconds:
            raise Unreachable(f"{self.place} took longer than {self.seconds:g} s to answer.")
        if now - self._heard >= self.silence:
            raise Unreachable(f"{self.place} said nothing for {self.silence:g} s.")

    def heard(self) -> None:
        """Note that something came."""
        self._heard = monotonic()


class _Stream(httpcore.NetworkStream):
    """A connection that is looked after while it waits."""

    def __init__(self, inner: httpcore.NetworkStream, backend: Backend) -> None:
        self._inner, self._backend = inner, backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        watch = self._backend.watch
        while True:
            watch.look()
            try:
                data = self._inner.read(max_bytes, _POLL)
            except httpcore.ReadTimeout:
                continue
            watch.heard()
            return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout), self._backend)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    """Opens connections that one watch at a time looks after."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Open a connection. Looking the name up and connecting cannot be cancelled."""
        return _Stream(self._inner.connect_tcp(host, port, timeout, local_address, socket_options), self)


class _Body(httpx.SyncByteStream):
    """The body of an answer, as httpx takes it."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class Wire(httpx.BaseTransport):
    """Carries requests of httpx over connections of `Backend`. Raises the errors of httpcore."""

    def __init__(self, address: Address, backend: Backend) -> None:
        context = None
        if address.tls:
            context = ssl.create_default_context()  # the certificates that this machine trusts
            context.load_verify_locations(certifi.where())
        # A new connection on this machine costs nothing, and cannot have been closed by the other side meanwhile.
        kept = 1 if address.tls else 0
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_keepalive_connections=kept, keepalive_expiry=4.0, network_backend=backend
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; return the head of its answer, with the body still to come."""
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.content,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        """Close what is open."""
        self._pool.close()
