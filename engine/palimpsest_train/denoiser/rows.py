"""Draws training rows from texts: one clean context and several canvases with holes as an editor leaves them. Numpy only.

A row is a place `j` in a document. Its context is `<prefix> <suffix> S <middle> T M`: S begins at j, M ends there, T is
what comes before M. Canvas i holds `[last token before its hole] [hole, filler to its size] [the first tokens of S]` and
sees the context up to its hole only. Slots are read one position to their left, as a left-to-right model reads them,
which is why a canvas begins with the token before its hole. T, M and S are tokenised apart, as they are in an editor,
where a hole begins and ends at characters, not at tokens. Half of the holes that begin within a token are healed as an
editor heals them: the hole takes that token whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import numpy as np

from palimpsest_train.denoiser.recipe import SIZES, Recipe
from palimpsest_train.denoiser.texts import Texts
from palimpsest_train.denoiser.tokens import Vocabulary

BYTES_A_TOKEN = 6  # more than a token of code has, so that a window always fills its room
NEAR = 40  # characters around an edge by which its tokens are known
NEXT_WORD = re.compile(r"\b")


@dataclass(slots=True)
class Batch:
    """Arrays of B rows. context `[B, C]`; canvas, positions, seen (context positions) and segments `[B, Q]`. Of each of the
    N slots with a loss: at (where it is read, in B * Q), target, weight, noise (t of its canvas), taught (where the base
    predicts the same token, in B * C, or -1)."""

    context: np.ndarray
    canvas: np.ndarray
    positions: np.ndarray
    seen: np.ndarray
    segments: np.ndarray
    at: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    noise: np.ndarray
    taught: np.ndarray


LOSSES = ("at", "target", "weight", "noise", "taught")


@dataclass(slots=True)
class Cut:
    """A row before its canvases: context tokens, where the middle begins in it, tokens of middle and suffix, and which of
    the middle's the base can be asked for: not those at an edge that it would never have tokenised so."""

    context: list[int]
    first: int
    middle: list[int]
    suffix: list[int]
    fair: np.ndarray
    open_ended: bool


class Rows:
    """Seeded source of rows. longest: tokens of the longest hole, which a run lets grow."""

    def __init__(self, texts: Texts, vocabulary: Vocabulary, recipe: Recipe, seed: int) -> None:
        self.texts, self.vocabulary, self.recipe = texts, vocabulary, recipe
        self.rng = np.random.default_rng(seed)
        self.longest = SIZES[-1]

    def batch(self, rows: int) -> Batch:
        """Draw the next rows."""
        r = self.recipe
        parts = [self.row() for _ in range(rows)]
        for number, part in enumerate(parts):
            part.at += number * r.canvas
            part.taught[part.taught >= 0] += number * r.context
        return Batch(
            **{
                field.name: (np.concatenate if field.name in LOSSES else np.stack)(
                    [getattr(part, field.name) for part in parts]
                )
                for field in fields(Batch)
            }
        )

    def row(self) -> Batch:
        """Draw one row, as a batch without its first dimension."""
        while True:
            cut = self.cut()
            if cut is not None:
                return self.filled(cut)

    def cut(self) -> Cut | None:
        """Cut a document at a place, as tokens; return None where the place drawn will not do."""
        rng, r, special = self.rng, self.recipe, self.vocabulary.special
        text, near = self.texts.window(rng, (r.context + SIZES[-1]) * BYTES_A_TOKEN)
        end = self._end(text, near)
        start = self._start(text, end)
        if start >= end and rng.random() > 0.05:  # few holes are empty
            return None
        start, fair_start, fair_end = self._edges(text, start, end)
        room = 0 if rng.random() < 0.1 else int(rng.integers(16, r.suffix + 1))
        after = text[end : end + r.suffix * BYTES_A_TOKEN]
        suffix = self.vocabulary.encode(after)[: max(room, r.pins[1])]
        middle = self.vocabulary.encode(text[start:end])
        longest = min(self.longest, SIZES[-1])
        open_ended = len(middle) > longest
        middle = middle[:longest]
        fair = np.ones(len(middle), dtype=bool)
        if middle:
            fair[0] &= fair_start
            fair[-1] &= fair_end or open_ended
        head = [special.prefix, special.suffix, *suffix[:room], special.middle]
        most = r.context - len(head) - len(middle)
        if rng.random() < 0.3:
            most = int(rng.integers(1, most))
        before = text[max(0, start - most * BYTES_A_TOKEN) : start]
        prefix = self.vocabulary.encode(before)[-most:]
        context = [*head, *prefix, *middle]
        if not room:
            suffix = []
        return Cut(context, len(head) + len(prefix), middle, suffix, fair, open_ended)

    def _end(self, text: str, near: int) -> int:
        """Draw the end of the hole: at the end of a line, at its start, at a word's edge, or anywhere."""
        kind = self.rng.random()
        if kind < 0.65:
            end = text.find("\n", near)
            return len(text) if end < 0 else end + (kind < 0.08)
        if kind < 0.85:
            edge = NEXT_WORD.search(text, near)
            return edge.start() if edge else near
        return near

    def _start(self, text: str, end: int) -> int:
        """Draw the beginning of the longest hole: in the line of its end, or some lines above."""
        rng, kind = self.rng, self.rng.random()
        line = text.rfind("\n", 0, max(0, end - 1)) + 1
        if kind > 0.75:
            for _ in range(int(rng.integers(1, 6))):
                line = text.rfind("\n", 0, max(0, line - 1)) + 1
        indented = line + len(text[line:end]) - len(text[line:end].lstrip(" \t"))
        indented = min(indented, end)
        if kind < 0.4 or 0.8 < kind < 0.95:
            return indented
        if kind < 0.7:
            return int(rng.integers(indented, end)) if indented < end else end
        if kind < 0.72:
            return max(0, line - 1)  # the end of the line above: the hole begins with a line end
        if kind < 0.75 or kind >= 0.95:
            return line
        return int(rng.integers(line, end)) if line < end else end

    def _edges(self, text: str, start: int, end: int) -> tuple[int, bool, bool]:
        """Return (start, healed or not, whether tokens of the undivided text begin there, and at the end)."""
        first = text.rfind("\n", 0, max(0, start - NEAR)) + 1
        last = text.find("\n", end + NEAR)
        found = self.vocabulary.tokenizer.encode(
            text[first:last] if last >= 0 else text[first:], add_special_tokens=False
        )
        edges = {first + offset for offset, _ in found.offsets} | {0, len(text)}
        if start not in edges and self.rng.random() < 0.5:
            start = max((edge for edge in edges if edge < start), default=start)
        return start, start in edges, end in edges

    def filled(self, cut: Cut) -> Batch:
        """Fill the row of a cut with canvases until there is no room for another."""
        r, special = self.recipe, self.vocabulary.special
        context = np.full(r.context, special.filler, dtype=np.int32)
        context[: len(cut.context)] = cut.context
        canvas = np.full(r.canvas, special.filler, dtype=np.int32)
        positions = np.zeros(r.canvas, dtype=np.int32)
        seen = np.ones(r.canvas, dtype=np.int32)
        segments = np.arange(r.canvas, dtype=np.int32) + r.canvas  # what no canvas takes is alone
        losses: dict[str, list[np.ndarray]] = {name: [] for name in LOSSES}
        used = number = 0
        while True:
            skipped = self._skipped(cut, number)
            hole, pins = self._hole(cut, skipped)
            length = 1 + len(hole) + len(pins)
            if used + length > r.canvas:
                break
            first = cut.first + skipped
            span = slice(used, used + length)
            clean = np.array([cut.context[first - 1], *hole, *pins], dtype=np.int32)
            noised, slots, t = self._noised(clean, len(hole))
            canvas[span], positions[span] = noised, np.arange(first - 1, first - 1 + length)
            seen[span], segments[span] = first, number
            known = len(cut.middle) - skipped  # slots beyond hold filler, which the base never predicts
            losses["at"].append(slots - 1 + used)
            losses["target"].append(clean[slots])
            losses["weight"].append(self._weights(clean[1 : 1 + len(hole)], slots))
            losses["noise"].append(np.full(len(slots), t))
            asked = cut.fair[(skipped + slots - 1).clip(max=max(0, len(cut.fair) - 1))] if known else slots < 0
            losses["taught"].append(np.where((slots <= known) & asked, first + slots - 2, -1))
            used, number = used + length, number + 1
        kinds = {"weight": np.float32, "noise": np.float32}
        joined = {n: np.concatenate(parts).astype(kinds.get(n, np.int64)) for n, parts in losses.items()}
        return Batch(context, canvas, positions, seen, segments, **joined)

    def _skipped(self, cut: Cut, number: int) -> int:
        """Count the tokens of the middle before this canvas: none for every other one, as a hole begins at a character."""
        if number % 2 == 0 or len(cut.middle) < 2:
            return 0
        return int(self.rng.integers(0, len(cut.middle)))

    def _hole(self, cut: Cut, skipped: int) -> tuple[list[int], list[int]]:
        """Return (tokens of the hole with its filler, pins)."""
        rng, middle = self.rng, cut.middle[skipped:]
        if cut.open_ended:  # a block of a longer hole: nothing is pinned
            fits = [size for size in SIZES if size <= len(middle)]
            return middle[: fits[-1] if fits else len(middle)], []
        fits = [size for size in SIZES if size >= len(middle)]
        draw = rng.random()
        size = len(middle) if draw < 0.25 else fits[0] if draw < 0.65 else fits[int(rng.integers(len(fits)))]
        size = max(size, 1)
        pins = cut.suffix[: int(rng.integers(self.recipe.pins[0], self.recipe.pins[1] + 1))]
        return middle + [self.vocabulary.special.filler] * (size - len(middle)), pins

    def _noised(self, clean: np.ndarray, hole: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Return (canvas, places with a loss, t): each slot noised with probability t; sometimes some of them are pinned."""
        rng = self.rng
        t = 1.0 if rng.random() < 0.15 else float(rng.uniform(0.001, 1.0))
        slots = np.arange(1, 1 + hole)
        if hole >= 6 and rng.random() < 0.12:  # two holes with text between them
            first = int(rng.integers(1, hole - 2))
            width = int(rng.integers(1, min(8, hole - first)))
            slots = np.delete(slots, slice(first, first + width))
        hit = rng.random(len(slots)) < t
        if not hit.any():
            hit[int(rng.integers(len(slots)))] = True
        noised = clean.copy()
        if self.recipe.noise == "mask":
            slots = slots[hit]
            noised[slots] = self.vocabulary.special.mask
            return noised, slots, t
        noised[slots[hit]] = rng.integers(0, len(self.vocabulary), int(hit.sum()))
        return noised, slots, t  # a uniform token does not say that it is noise, so every slot has a loss

    def _weights(self, hole: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """Weigh each slot with a loss: one, but all filler together weighs `filler_weight`, half of it on the first."""
        weights = np.ones(len(slots), dtype=np.float32)
        is_filler = hole[slots - 1] == self.vocabulary.special.filler
        count = int(is_filler.sum())
        if count:
            weights[is_filler] = self.recipe.filler_weight / 2 / max(1, count - 1)
            weights[np.flatnonzero(is_filler)[0]] = self.recipe.filler_weight / (2 if count > 1 else 1)
        return weights
