"""Fill a request from text to text: its holes, a canvas' worth at a time, and one answer for all of them.

Belongs to the thread that owns the model. `canvas_fill.py` fills each canvas.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.plan import groups, parts
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.model.device_errors import give_back_memory
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest, Span

CACHED_DOCUMENTS = 4


class Filler:
    """Fills requests with one checkpoint. Not thread-safe: it belongs to the engine's thread.

    left_to_right, redraw: as in `Resources`; for the evaluation and the benchmark. Raises what `Resources.of` raises.
    """

    def __init__(self, checkpoint: Checkpoint, *, left_to_right: bool = False, redraw: bool = True) -> None:
        self.resources = Resources.of(checkpoint, left_to_right=left_to_right, redraw=redraw)
        self.spec, self.model, self.tokens = self.resources.spec, self.resources.model, self.resources.tokens
        self._caches: dict[str, PrefixCache] = {}

    def prefix_cache(self, document: str) -> PrefixCache:
        """Return the cache of a document; keep those of the few used last."""
        cache = self._caches.pop(document, None) or PrefixCache(self.model)
        self._caches[document] = cache
        while len(self._caches) > CACHED_DOCUMENTS:
            self._caches.pop(next(iter(self._caches)))
        return cache

    def forget(self, document: str | None = None) -> None:
        """Drop the cache of a document; without one, drop everything that can be made again, and free its memory."""
        if document is not None:
            self._caches.pop(document, None)
            return
        self._caches.clear()
        self.resources.backend.forget()
        give_back_memory()

    def fill(self, request: FillRequest, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Draft | Fill]:
        """Yield drafts, then the `Fill`. Raises `FillCancelled` before the next decoder pass once `cancelled()` is true."""
        begun = time.perf_counter()
        spans = parts(request, self.spec, self.tokens)
        texts = {span: "" if request.strength == 1.0 else request.text[span.start : span.end] for span in spans}
        text, shift, fills, done = request.text, 0, list[Fill](), set[Span]()
        alone = request.strength < 1.0 or self.resources.left_to_right
        for group in ((span,) for span in spans) if alone else groups(request.text, spans, self.spec, self.tokens):
            holes = tuple(Span(span.start + shift, span.end + shift) for span in group)
            canvas = replace(request, text=text, holes=holes)
            cache = self.prefix_cache(request.document)
            for event in CanvasFill(self.resources, canvas, cache, cancelled).run():
                if isinstance(event, Draft):
                    now = dict(zip(group, event.holes, strict=True))
                    shown = {span: now.get(span, (DraftPiece(texts[span], span in done),)) for span in spans}
                    yield replace(event, holes=tuple(joined_pieces(shown, hole) for hole in request.holes))
                    continue
                fills.append(event)
                # A hole for which nothing is offered keeps its text.
                new = tuple(text[hole.start : hole.end] for hole in holes) if event.empty else event.texts
                texts |= dict(zip(group, new, strict=True))
                done |= set(group)
                text = canvas.splice(new)
            shift = len(text) - len(request.text)
        whole = tuple("".join(texts[span] for span in spans if within(span, hole)) for hole in request.holes)
        yield joined(fills, whole, (time.perf_counter() - begun) * 1000)


def within(part: Span, hole: Span) -> bool:
    """Return whether the part is this hole or a piece of it."""
    return hole.start <= part.start and part.end <= hole.end


def joined_pieces(shown: dict[Span, tuple[DraftPiece, ...]], hole: Span) -> tuple[DraftPiece, ...]:
    """Join the drafts of a hole's parts."""
    return tuple(piece for part, pieces in shown.items() if within(part, hole) for piece in pieces if piece.text)


def joined(fills: Sequence[Fill], texts: tuple[str, ...], ms: float) -> Fill:
    """Join the canvases' answers: the verdict on the whole document, the gravest treatment, sums of the work."""
    if len(fills) == 1:
        return replace(fills[0], ms=ms)
    treatments = ("none", "repaired", "cut", "rejected")
    return Fill(
        texts=("",) * len(texts) if all(fill.empty for fill in fills) else texts,
        # Each canvas is judged with those before it filled, so the last verdict on a text is that on the whole document.
        verdict=next((fill.verdict for fill in reversed(fills) if not fill.empty), fills[-1].verdict),
        reason="; ".join(dict.fromkeys(fill.reason for fill in fills if fill.reason)),
        treatment=max((fill.treatment for fill in fills), key=treatments.index),
        nfe=sum(fill.nfe for fill in fills),
        ms=ms,
        settled=all(fill.settled for fill in fills),
        encoded=sum(fill.encoded for fill in fills),
        context=max(fill.context for fill in fills),
    )
