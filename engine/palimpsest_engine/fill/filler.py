"""One request from text to text: its holes, a canvas' worth at a time, and one answer for all of them.

Belongs to the thread that owns the model. What happens to one canvas is in `one_canvas.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.cuda.fused_layers import make_fused
from palimpsest_engine.cuda.graphs import Prefixes
from palimpsest_engine.cuda.shared_prefix import Rows, SharedPrefix, make_shared
from palimpsest_engine.errors import UnsupportedCheckpoint
from palimpsest_engine.fill.canvas_fill import OneCanvas
from palimpsest_engine.fill.renoise import Repair
from palimpsest_engine.model.device_errors import give_back_memory
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.layout import WINDOW
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest, Span

CACHED_DOCUMENTS = 4


class Filler:
    """Fills requests with one checkpoint. Not thread-safe: it belongs to the engine's thread.

    repair: what is done when every candidate breaks the syntax: drawing anew, or one of the ways of `renoise.py`.
    repair_ms: how long to go on with that, and without a second attempt after it; None for three rounds. Both are the
    evaluation's to change.
    left_to_right: holes are written by the causal encoder, one at a time, and nothing is denoised.

    Raises `UnsupportedCheckpoint` for a left-to-right control, unless that is asked for: it cannot denoise.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        repair: Repair = "resample",
        repair_ms: float | None = None,
        *,
        left_to_right: bool = False,
    ) -> None:
        self.repair: Repair = "none" if left_to_right else repair
        self.repair_ms, self.left_to_right = repair_ms, left_to_right
        if checkpoint.spec.left_to_right and not left_to_right:
            raise UnsupportedCheckpoint(
                f"{checkpoint.spec.name} is a left-to-right control for `palimpsest eval`; it cannot fill holes by diffusion."
            )
        self.spec, self.model = checkpoint.spec, checkpoint.model
        self.tokens = Tokens(checkpoint.tokenizer, self.model.config.get_text_config().vocab_size)
        banned = torch.zeros(self.tokens.vocabulary, dtype=torch.bool)
        banned[list(self.tokens.special)] = True
        banned[checkpoint.tokenizer.get_vocab_size() :] = True
        self.all_banned = banned.to(self.model.device)
        if self.spec.filler is not None:
            banned = banned.clone()
            banned[self.spec.filler] = False
        self.banned = banned.to(self.model.device)
        self._caches: dict[str, PrefixCache] = {}
        self.prefixes: Prefixes | None = None
        if self.model.device.type == "cuda":
            self.prefixes = Prefixes()
            make_shared(self.model)
            make_fused(self.model)

    def prefix_cache(self, document: str) -> PrefixCache:
        """The cache of a document; those of the few used last are kept."""
        cache = self._caches.pop(document, None) or PrefixCache(self.model)
        self._caches[document] = cache
        while len(self._caches) > CACHED_DOCUMENTS:
            self._caches.pop(next(iter(self._caches)))
        return cache

    def forget(self, document: str | None = None) -> None:
        """Let go of what is kept of a document; without one, of all that can be made again, and of the memory it took."""
        if document is not None:
            self._caches.pop(document, None)
            return
        self._caches.clear()
        if self.prefixes is not None:
            self.prefixes.forget()
        give_back_memory()

    def prefix(self, cache: PrefixCache, rows: int) -> RollbackCache | SharedPrefix:
        """A document's encoded context, for the decoder to read with so many rows."""
        return cache.cache.branch(rows) if self.prefixes is None else self.prefixes.shared(cache.cache)

    def rows(self, cache: PrefixCache, rows: int, length: int) -> RollbackCache | Rows:
        """A document's first so many tokens, encoded, for the encoder to go on from with so many rows."""
        return cache.cache.branch(rows, length) if self.prefixes is None else Rows(cache.cache, length)

    def fill(self, request: FillRequest, cancelled: Callable[[], bool] = lambda: False) -> Iterator[Draft | Fill]:
        """Drafts, then the `Fill`. Raises `FillCancelled` before the next decoder pass once `cancelled()` is true."""
        begun = time.perf_counter()
        parts = self.parts(request)
        texts = {part: "" if request.strength == 1.0 else request.text[part.start : part.end] for part in parts}
        text, shift, fills, done = request.text, 0, list[Fill](), set[Span]()
        for group in self.groups(request.text, parts, alone=request.strength < 1.0 or self.left_to_right):
            holes = tuple(Span(part.start + shift, part.end + shift) for part in group)
            canvas = replace(request, text=text, holes=holes)
            for event in OneCanvas(self, canvas, cancelled).run():
                if isinstance(event, Draft):
                    now = dict(zip(group, event.holes, strict=True))
                    shown = {part: now.get(part, (DraftPiece(texts[part], part in done),)) for part in parts}
                    yield replace(event, holes=tuple(joined_pieces(shown, hole) for hole in request.holes))
                    continue
                fills.append(event)
                # Where nothing is offered, what stands there stays.
                new = tuple(text[hole.start : hole.end] for hole in holes) if event.empty else event.texts
                texts |= dict(zip(group, new, strict=True))
                done |= set(group)
                text = canvas.splice(new)
            shift = len(text) - len(request.text)
        whole = tuple("".join(texts[part] for part in parts if within(part, hole)) for hole in request.holes)
        yield joined(fills, whole, (time.perf_counter() - begun) * 1000)

    def parts(self, request: FillRequest) -> tuple[Span, ...]:
        """The holes; those that begin from what stands there, in parts that a canvas can hold, cut between lines where
        there are any."""
        if request.strength == 1.0:
            return request.holes
        most = max(1, self.spec.canvas - self.spec.pins - min(self.spec.hole_sizes))
        parts = list[Span]()
        for hole in request.holes:
            start = hole.start
            while start < hole.end or start == hole.start:
                rest = request.text[start : min(hole.end, start + WINDOW)]
                ends = self.tokens.ends(rest)
                end = len(rest) if len(ends) <= most else ends[most - 1]
                if end < len(rest) and (line := rest.rfind("\n", 0, end) + 1):
                    end = line
                parts.append(Span(start, start + max(end, min(1, len(rest)))))
                if parts[-1].end >= hole.end:
                    break
                start = parts[-1].end
        return tuple(parts)

    def groups(self, text: str, holes: Sequence[Span], *, alone: bool = False) -> Iterator[tuple[Span, ...]]:
        """Runs of holes that fit in one canvas together, by the tokens between them; denoised together.

        alone: each hole by itself.
        """
        least = 2 * min(self.spec.hole_sizes)
        group: list[Span] = []
        used = 0
        for hole in holes:
            between = len(self.tokens.encode(text[group[-1].end : hole.start])) if group else 0
            if group and (alone or used + between + 2 * least > self.spec.canvas):
                yield tuple(group)
                group, used, between = [], 0, 0
            group.append(hole)
            used += between + least
        yield tuple(group)


def within(part: Span, hole: Span) -> bool:
    """The part is (a piece of) this hole."""
    return hole.start <= part.start and part.end <= hole.end


def joined_pieces(shown: dict[Span, tuple[DraftPiece, ...]], hole: Span) -> tuple[DraftPiece, ...]:
    """The draft of a hole out of those of its parts."""
    return tuple(piece for part, pieces in shown.items() if within(part, hole) for piece in pieces if piece.text)


def joined(fills: Sequence[Fill], texts: tuple[str, ...], ms: float) -> Fill:
    """One answer out of those of the canvases: the verdict on the whole, the gravest treatment, sums of the work."""
    if len(fills) == 1:
        return replace(fills[0], ms=ms)
    treatments = ("none", "repaired", "cut", "rejected")
    return Fill(
        texts=("",) * len(texts) if all(fill.empty for fill in fills) else texts,
        # Each canvas is judged on the document with those before it filled: the last one with a text saw the whole.
        verdict=next((fill.verdict for fill in reversed(fills) if not fill.empty), fills[-1].verdict),
        reason="; ".join(dict.fromkeys(fill.reason for fill in fills if fill.reason)),
        treatment=max((fill.treatment for fill in fills), key=treatments.index),
        nfe=sum(fill.nfe for fill in fills),
        ms=ms,
        settled=all(fill.settled for fill in fills),
        encoded=sum(fill.encoded for fill in fills),
        context=max(fill.context for fill in fills),
    )
