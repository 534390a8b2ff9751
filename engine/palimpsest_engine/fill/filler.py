"""Fill a request from text to text: its holes, a canvas' worth at a time, and one answer for all of them.

Belongs to the thread that owns the model. `canvas_fill.py` fills each canvas.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.fill.cached_documents import CachedDocuments, budget_for
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.in_turn import in_turn, joined
from palimpsest_engine.fill.instructed import CACHED, Instructed
from palimpsest_engine.fill.plan import groups, parts
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.fill.rewrite import Rewrite
from palimpsest_engine.fill.tracing import Trace
from palimpsest_engine.model.device_errors import give_back_memory
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.request import Draft, Fill, FillRequest

__all__ = ["Filler", "joined"]


class Filler:
    """Fills requests with one checkpoint. Not thread-safe: it belongs to the engine's thread.

    left_to_right, redraw: as in `Resources`; for the evaluation and the benchmark. cache_bytes: for the caches of documents;
    None for a choice by the model and the memory. Raises what `Resources.of` raises.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        left_to_right: bool = False,
        redraw: bool = True,
        cache_bytes: int | None = None,
    ) -> None:
        self.resources = Resources.of(checkpoint, left_to_right=left_to_right, redraw=redraw)
        self.spec, self.model, self.tokens = self.resources.spec, self.resources.model, self.resources.tokens
        self.cached = CachedDocuments(
            lambda: PrefixCache(self.model, self.spec.denoising.block),
            lambda cache: budget_for(cache, self.spec.context) if cache_bytes is None else cache_bytes,
        )

    def prefix_cache(self, document: str, client: str = "") -> PrefixCache:
        """Return the cache of a document."""
        return self.cached.of(document, client)

    def forget(self, document: str | None = None) -> None:
        """Drop the cache of a document; without one, drop everything that can be made again, and free its memory."""
        if document is not None:
            self.cached.drop(document)
            self.cached.drop(document + CACHED)
            return
        self.cached.clear()
        self.resources.backend.forget()
        give_back_memory()

    def fill(self, request: FillRequest, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Draft | Fill]:
        """Yield drafts, then the `Fill`. Raises `FillCancelled` before the next decoder pass once `cancelled()` is true."""
        if request.changes:
            yield from _timed(
                Rewrite(self.resources, request, lambda each: self.fill(each, cancelled), cancelled).run()
            )
            return
        if request.instruction:
            cache = self.prefix_cache(request.document + CACHED, request.client)
            yield from _timed(Instructed(self.resources, request, cache, cancelled).run())
            self.cached.trim()
            return
        if request.start:
            request = replace(request, strength=1.0)  # the start says what is kept
        trace = Trace(request, self.tokens)
        spans = parts(request, self.spec, self.tokens)
        alone = request.strength < 1.0 or self.resources.writes(request)
        chosen = ((span,) for span in spans) if alone else groups(request.text, spans, self.spec, self.tokens)

        def canvas(part: FillRequest) -> Iterator[Draft | Fill]:
            cache = self.prefix_cache(part.document, part.client)
            yield from CanvasFill(self.resources, part, cache, cancelled, trace).run()
            self.cached.trim()

        yield from in_turn(request, spans, chosen, canvas)


def _timed(events: Iterator[Draft | Fill]) -> Iterator[Draft | Fill]:
    begun = time.perf_counter()
    for event in events:
        yield replace(event, ms=(time.perf_counter() - begun) * 1000) if isinstance(event, Fill) else event
