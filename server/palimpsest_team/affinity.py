"""Say which replica a document belongs to, by rendezvous hashing: when one comes or goes, only its documents move.

Knows nothing of Ray. (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM ToN 6(1), 1998.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from palimpsest_engine import FillRequest


def key_of(request: FillRequest) -> str:
    """Return what stays the same from one request of a document to the next, and tells nothing about it.

    A document without a name, and then all of them, belong to their user.
    """
    named = (request.client, request.document or request.path or "")
    return hashlib.blake2b("\0".join(named).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def ranked(key: str, replicas: Iterable[str]) -> list[str]:
    """Return the replicas by how well they suit a document, the best first; the order of `replicas` does not matter."""

    def weight(replica: str) -> tuple[bytes, str]:
        return hashlib.blake2b(f"{key}\0{replica}".encode(), digest_size=8).digest(), replica

    return sorted(replicas, key=weight, reverse=True)
