"""Write one hole left to right, and decide where its middle ends. Knows tokens and the text around the hole, no canvas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from palimpsest_engine.decoding.autoregressive import Chosen, writing
from palimpsest_engine.decoding.blockwise import writing_in_blocks
from palimpsest_engine.decoding.middle import before_repetition, middle_of
from palimpsest_engine.decoding.prompt_lookup import Lookup
from palimpsest_engine.decoding.sampler import drawn
from palimpsest_engine.fill.fit import loses_a_line
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.prompt.layout import Layout
from palimpsest_engine.prompt.pieces import plain
from palimpsest_engine.request import FillRequest

FAR = 64  # code points of the suffix that are looked for in what is written
BELOW = 600  # code points of it whose lines are looked for
FENCE = "\n```"  # with which a model that was made to chat closes what it thinks is a block


class Writer:
    """Writes the hole of one request. others: other continuations, which make guesses as the context does.

    A middle ends at a control token that the model was taught for it, or before the suffix begins again, or at a limit of
    lines; if the request has one size, after as many tokens. Who was taught to fill in the middle knows where to end, and
    only what is plain to see is cut off. A model that chats writes the whole file and comes to the suffix in any case.
    """

    def __init__(
        self,
        resources: Resources,
        request: FillRequest,
        layout: Layout,
        generator: torch.Generator,
        others: Sequence[Sequence[int]] = (),
    ) -> None:
        self.resources, self.request, self.layout, self.generator = resources, request, layout, generator
        self.tokens = resources.tokens
        self.fixed = len(set(request.sizes or ())) == 1
        self.ends = frozenset[int]() if self.fixed else resources.ends
        self.below = plain(request.text[request.holes[-1].end :][:BELOW])
        self.after = self.below[:FAR]
        hole, text = request.holes[0], request.text
        beside = text[: hole.start].rpartition("\n")[2] + text[hole.end :].partition("\n")[0]
        self.blank = resources.ends_itself and not beside.strip()
        self.one_line = False
        self.chats = resources.ends_itself and not resources.taught
        self.line_end = "\n" if self.chats and not text[: hole.start].rpartition("\n")[2] else ""  # before the hole
        self.indented = bool(beside)  # blanks are there already, and would stay above whatever began with a line end
        self.guess = Lookup(layout.context, others)

    def steps(
        self,
        cache: RollbackCache,
        count: int,
        lines: int | None = None,
        logs: Sequence[list[float]] = (),
        chosen: Sequence[list[Chosen]] = (),
    ) -> Iterator[list[list[int]]]:
        """Yield the tokens of all `count` rows after each pass; each row but the first is drawn by chance, or all as the
        model's sampling says where it writes in blocks.

        cache: of that many rows, with all of the context but its last token, or with its whole blocks. lines: limit, None
        for the request's. logs: as in `writing`; nothing is added where the model writes in blocks. chosen: as there, in a
        traced fill.
        """
        spec, sizes = self.resources.spec, self.request.sizes
        limit = lines or self.request.max_lines
        self.one_line = limit == 1
        usual = spec.written_in_line if limit == 1 else spec.written
        most = max(sizes or (usual or max(spec.hole_sizes),)) + (0 if self.fixed or self.ends else spec.pins)
        banned = self.resources.all_banned if not self.ends else self.resources.banned_but_ends
        opening = self.resources.opening(self.layout.healed, a_line=self.blank and (limit == 1 or self.indented))
        ended = (lambda ids: False) if self.fixed else (lambda ids: self.over(ids, limit))
        if spec.denoising.block is not None:
            sampling = replace(spec.sampling, max_steps=self.request.max_steps or spec.sampling.max_steps)
            return writing_in_blocks(
                self.resources.model,
                cache,
                self.layout.context,
                most,
                banned,
                opening,
                ended,
                count,
                self.generator,
                sampling,
                drawn,
                spec.denoising,
                chosen,
                self.request.trace,
            )
        return writing(
            self.resources.model,
            cache,
            self.layout.context[-1],
            most,
            banned,
            opening,
            ended,
            count,
            self.generator,
            self.guess,
            logs,
            chosen,
            self.request.trace,
            self.request.temperature,
        )

    def over(self, ids: list[int], limit: int | None) -> bool:
        """Return whether the last of these tokens ended the middle."""
        if ids[-1] in self.ends:
            return True
        text = self.text(ids)
        if limit is not None and text.count("\n") >= limit:
            return True
        if middle_of(text, self.after)[1] and (self.after or not self.chats):  # the file's last line may be one of many
            return True
        if not self.resources.ends_itself:
            return False
        if FENCE in self.line_end + text or before_repetition(text, self.below) != text:
            return True
        return "\n" in self.tokens.text(ids[-1]) and loses_a_line(self.request, 0, text)

    def before_fence(self, text: str) -> str:
        """Return the text before the end of a code block."""
        return (self.line_end + text).partition(FENCE)[0][len(self.line_end) :]

    def text(self, ids: Sequence[int]) -> str:
        """Return what was written after the text that the hole writes again."""
        return self.tokens.decode(list(ids))[len(self.layout.healed) :]

    def middle(self, ids: Sequence[int]) -> list[int]:
        """Return the tokens of the middle alone."""
        if self.fixed:
            return list(ids)
        if ids and ids[-1] in self.ends:
            ids = ids[:-1]
            if not self.resources.ends_itself:
                return list(ids)
        text = self.text(ids)
        cut, sure = middle_of(text, self.after)
        if self.resources.ends_itself:
            # Of many lines, one that begins as the suffix does may be one of the middle.
            at_best = self.one_line or (sure and bool(self.after)) if self.chats else sure
            cut = before_repetition(self.before_fence(cut if at_best else text), self.below)
        return list(ids) if cut == text else self.tokens.encode(self.layout.healed + cut)
