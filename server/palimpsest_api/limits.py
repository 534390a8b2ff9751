"""The bounds of the server: what a client may send, how long it may take, how many may wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds, in bytes and seconds.

    head, head_seconds: of a request line with its headers. body, body_seconds: of what follows. fills: under way and waiting.
    fill_seconds: until an answer. stalled_seconds: without the client reading anything. idle_seconds: of a connection between
    two requests. ping_seconds: between two signs of life in a stream that has nothing to say.
    ending_seconds: for answers under way when the server ends.
    """

    head: int = 32 * 1024
    head_seconds: float = 10.0
    body: int = 8 * 2**20
    body_seconds: float = 20.0
    connections: int = 128
    fills: int = 32
    fill_seconds: float = 120.0
    stalled_seconds: float = 20.0
    idle_seconds: int = 15
    ping_seconds: float = 10.0
    ending_seconds: int = 5
