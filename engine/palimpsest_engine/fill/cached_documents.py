"""Keep the encoded contexts of the documents asked about last, of all clients, within one budget of memory.

A document has one cache for all clients: a cache goes back to what it has in common with the new context, so it is
exact after anybody's use. Knows no text. Belongs to the thread that owns the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from palimpsest_engine.checkpoint.memory import room_on
from palimpsest_engine.model.prefix_cache import PrefixCache

FEWEST, MOST = 4, 16  # whole contexts that the budget has room for: what one window uses, and ten
SHARE = 8  # in between, the budget is this part of the memory that is free
RESTING = 256  # uses by anybody after which a client that has asked for nothing protects nothing


@dataclass(slots=True)
class Document:
    """A document's cache, the bytes that it held after its last use, and by client the number of the last use."""

    cache: PrefixCache
    size: int = 0
    used: dict[str, int] = field(default_factory=dict)


class CachedDocuments:
    """The caches, the last used one last.

    Where the budget is exceeded, the client that has the most of them loses the one that it used the longest ago: no client
    loses its last one to a client that has several. make: makes an empty cache. budget: of bytes, asked for when the first
    cache holds something.
    """

    def __init__(self, make: Callable[[], PrefixCache], budget: Callable[[PrefixCache], int]) -> None:
        self._make, self._find_budget = make, budget
        self._budget: int | None = None
        self._documents: dict[tuple[str, str], Document] = {}
        self._uses = 0

    def __len__(self) -> int:
        """Return how many documents have a cache."""
        return len(self._documents)

    def of(self, document: str, client: str = "") -> PrefixCache:
        """Return the cache of a document, for a client to use now; a document without a name is the client's own."""
        self._measure()
        key = (document, "" if document else client)
        found = self._documents.pop(key, None) or Document(self._make())
        self._documents[key] = found
        self._uses += 1
        found.used[client] = self._uses
        self.trim()
        return found.cache

    def trim(self) -> None:
        """Drop what the budget has no room for, and caches that hold nothing; never the one used last."""
        self._measure()
        for key in list(self._documents)[:-1]:
            if not self._documents[key].size:
                del self._documents[key]
        while self._budget is not None and len(self._documents) > 1 and self.held > self._budget:
            del self._documents[self._dearest()]

    def drop(self, document: str) -> None:
        """Drop the cache of a document."""
        self._documents.pop((document, ""), None)

    def clear(self) -> None:
        """Drop all, because memory ran out; keep half as much from now on."""
        self._documents.clear()
        if self._budget is not None:
            self._budget //= 2

    @property
    def held(self) -> int:
        """Bytes of all caches, each after its last use."""
        return sum(each.size for each in self._documents.values())

    def _measure(self) -> None:
        if not self._documents:
            return
        last = self._documents[next(reversed(self._documents))]
        last.size = last.cache.cache.allocated
        if self._budget is None and last.size:
            self._budget = self._find_budget(last.cache)

    def _dearest(self) -> tuple[str, str]:
        """Return the document to drop: of all but the last, the oldest of those whose poorest client has the most."""
        clients = {
            key: [client for client, use in each.used.items() if use > self._uses - RESTING]
            for key, each in self._documents.items()
        }
        count = Counter(client for present in clients.values() for client in present)
        *others, _ = clients
        return max(others, key=lambda key: min((count[client] for client in clients[key]), default=len(clients) + 1))


def budget_for(cache: PrefixCache, context: int) -> int:
    """Return the bytes for the caches of a model, told by one that holds something. context: tokens that it reads at most."""
    model: Any = cache.model
    whole = cache.cache.bytes_for(context)
    free = room_on(str(model.device))[1]
    return max(FEWEST * whole, min(MOST * whole, int(free / SHARE)))
