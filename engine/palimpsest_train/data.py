"""Draw training rows: one context and several canvases with holes of every kind the engine will ask for; or, for a
left-to-right run, a context that ends with its middle. Numpy only.

A row is `<bos> <suf> SUFFIX <pre> PREFIX`; the prefix runs on a few tokens into the suffix, so that the causal pass
learns where a middle ends. Canvas i sees the clean tokens before its start and itself:
`[left pins] [hole, <fill> to its size] [right pins]`. A left-to-right row is `<bos> <suf> SUFFIX <pre> PREFIX MIDDLE
<fill>` over the same windows, the suffix beginning exactly where the middle ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from palimpsest_train.tokenizer import BOS, EOS, FILLER, PAD, PREFIX, SUFFIX

SIZES = (4, 8, 16, 32)
OVERLAP = 8


@dataclass(frozen=True, slots=True)
class RowShape:
    """Context tokens, canvases a row, tokens a canvas, positions with a loss in each canvas, and sizes of holes."""

    context: int = 512
    canvases: int = 8
    canvas: int = 48
    losses: int = 16
    sizes: tuple[int, ...] = SIZES


@dataclass(slots=True)
class Batch:
    """Numpy arrays: context `[B, C]`, its causal targets `[B, C]` (-100: none), clean and noised canvases `[B, K*c]`,
    is_hole `[B, K*c]`, positions `[B, C + K*c]`, starts `[B, K]` (context tokens each canvas may see), and where and how
    much the loss counts: at `[B, K*m]` (indices into K*c), weight `[B, K*m]`."""

    context: np.ndarray
    targets: np.ndarray
    clean: np.ndarray
    noised: np.ndarray
    is_hole: np.ndarray
    positions: np.ndarray
    starts: np.ndarray
    at: np.ndarray
    weight: np.ndarray


@dataclass(slots=True)
class ContextBatch:
    """The arrays of a left-to-right batch: context `[B, C]` and its causal targets `[B, C]` (-100: none)."""

    context: np.ndarray
    targets: np.ndarray


class Rows:
    """Seeded source of batches over a token array `[N]` with document starts `[D + 1]`."""

    kind: type[Batch | ContextBatch] = Batch

    def __init__(
        self, tokens: np.ndarray, starts: np.ndarray, tokenizer: Tokenizer, shape: RowShape, seed: int
    ) -> None:
        self.tokens, self.starts, self.tokenizer, self.shape = tokens, starts, tokenizer, shape
        tokenizer.encode_special_tokens = True
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.vocabulary = tokenizer.get_vocab_size()
        self.texts = [tokenizer.decode([i]) for i in range(self.vocabulary)]
        self.is_newline = np.array([text.startswith(("\n", "\r\n")) for text in self.texts])

    def seek(self, step: int) -> None:
        """Draw from here on what belongs to this step of a run, whatever was drawn before."""
        self.rng = np.random.default_rng((self.seed, step))

    def batch(self, rows: int) -> Any:
        """Return the next batch of so many rows, of type `kind`."""
        return self.kind(*(np.stack(parts) for parts in zip(*(self.row() for _ in range(rows)), strict=True)))

    def row(self) -> tuple[np.ndarray, ...]:
        """Return one row, in the field order of `Batch`."""
        s = self.shape
        prefix, suffix, boundary, following = self.window(s.context - 3, OVERLAP)
        head = [BOS, SUFFIX, *suffix, PREFIX]
        context, targets = self.causal(head, prefix)
        canvases = [self.canvas(prefix, boundary, following, i) for i in range(s.canvases)]
        clean = np.concatenate([canvas[0] for canvas in canvases])
        is_hole = np.concatenate([canvas[1] for canvas in canvases])
        starts = np.array([len(head) + canvas[2] for canvas in canvases])
        noised = self.noise(clean, is_hole)
        positions = np.concatenate([np.arange(s.context), (starts[:, None] + np.arange(s.canvas)).ravel()])
        at, weight = self.losses(clean, is_hole)
        return context, targets, clean, noised, is_hole, positions, starts, at, weight

    def causal(self, head: list[int], text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (context, targets) `[C]` of `<bos> <suf> SUFFIX <pre>` and what follows it."""
        length = self.shape.context
        context = np.full(length, PAD, dtype=np.int64)
        body = np.concatenate([head, text]).astype(np.int64)
        context[: len(body)] = body
        targets = np.full(length, -100, dtype=np.int64)
        targets[: len(body) - 1] = body[1:]
        targets[len(head) - 2] = -100  # nobody needs to guess where the suffix was cut
        return context, targets

    def window(self, room: int, overlap: int) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
        """Return (prefix tokens, suffix tokens, boundary, all tokens after the prefix's start) of at most `room` tokens:
        prefix[:boundary] is before the suffix; the prefix goes on into it for `overlap` tokens."""
        rng, s = self.rng, self.shape
        where = int(rng.integers(len(self.tokens)))
        document = int(np.searchsorted(self.starts, where, side="right")) - 1
        first, last = int(self.starts[document]), int(self.starts[document + 1])
        wanted = 0 if rng.random() < 0.1 else int(rng.integers(16, s.context // 3))
        start = first if last - first <= room else int(rng.integers(first, last - room + 1))
        if rng.random() < 0.15:
            start = first
        document_rest = self.tokens[start:last]
        total = min(room, len(document_rest))
        length = min(wanted, total // 2)
        overlap = min(overlap, length)
        boundary = total - length - (overlap if total == room else 0)
        boundary = max(boundary, 1)
        if length and rng.random() < 0.7:  # most suffixes begin at the end of a line
            back = np.flatnonzero(self.is_newline[document_rest[max(0, boundary - 40) : boundary]])
            if len(back):
                boundary = max(1, max(0, boundary - 40) + int(back[-1]))
        suffix = document_rest[boundary : boundary + length]
        prefix = document_rest[: boundary + overlap] if length else document_rest[:boundary]
        return prefix[: room - len(suffix)], suffix, boundary, document_rest

    def span(self, prefix: np.ndarray, boundary: int, index: int) -> tuple[int, int]:
        """Return [start, end) of a hole in the prefix; the first canvases of a row end theirs exactly where the suffix
        begins."""
        rng = self.rng
        longest = self.shape.sizes[-1]
        newlines = np.flatnonzero(self.is_newline[prefix[:boundary]])
        kind = rng.random()
        if index < 3:
            end = boundary
            before = newlines[newlines < end - 1]
            if kind < 0.4 or not len(before):
                start = end - 1 - min(int(rng.geometric(0.22)) - 1, 11)
            elif kind < 0.85:
                start = int(before[-1]) + 1
                if kind < 0.6:
                    start = int(rng.integers(start, end))
            else:
                start = int(before[-min(len(before), int(rng.integers(2, 5)))]) + 1
            return max(0, start, end - longest), end
        start = int(rng.integers(0, boundary))
        if kind < 0.4 or not len(newlines):
            return start, min(boundary, start + min(int(rng.geometric(0.22)), 12))
        if kind >= 0.65:  # whole lines
            start = int(newlines[int(rng.integers(len(newlines)))]) + 1
        after = newlines[newlines > start]
        lines = int(rng.integers(2, 5)) if kind >= 0.88 else 1
        end = int(after[min(lines, len(after)) - 1]) if len(after) else boundary
        return start, max(min(end, start + longest, boundary), min(start + 1, boundary))

    def canvas(
        self, prefix: np.ndarray, boundary: int, following: np.ndarray, index: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Return (clean tokens, is_hole, start in the prefix) of one canvas."""
        rng, length, longest = self.rng, self.shape.canvas, self.shape.sizes[-1]
        if rng.random() < 0.07:  # a block of a long hole: nothing is pinned
            start = int(rng.integers(0, boundary))
            block = following[start : start + length]
            clean = np.full(length, EOS, dtype=np.int64)
            clean[: len(block)] = block
            return clean, np.arange(length) < max(1, len(block)), start
        start, end = self.span(prefix, boundary, index)
        middle, left, right = [int(t) for t in following[start:end]], list[int](), list[int]()
        if rng.random() < 0.2 and middle:  # the cursor stood inside this token
            left, opening = self.split(middle[0])
            middle = opening + middle[1:]
        elif rng.random() < 0.2:
            back = min(start, int(rng.integers(1, 4)))
            left = [int(t) for t in following[start - back : start]]
            start -= back
        after = end
        if rng.random() < 0.2 and len(following) > end:  # the hole ended inside the next token
            text = self.texts[int(following[end])]
            if len(text) > 1 and text.isascii():
                cut = int(rng.integers(1, len(text)))
                middle += self.tokenizer.encode(text[:cut], add_special_tokens=False).ids
                right = self.tokenizer.encode(text[cut:], add_special_tokens=False).ids
                after = end + 1
        middle, right = middle[:longest], middle[longest:] + right
        fitting = [size for size in self.shape.sizes if size >= len(middle)]
        draw = rng.random()
        size = (
            (len(middle) or self.shape.sizes[0])
            if draw < 0.15
            else fitting[0]
            if draw < 0.6
            else fitting[int(rng.integers(len(fitting)))]
        )
        middle += [FILLER] * (size - len(middle))
        pins = length - len(left) - len(middle)
        right += [int(t) for t in following[after : after + pins]]
        clean = np.full(length, EOS, dtype=np.int64)
        row = (left + middle + right)[:length]
        clean[: len(row)] = row
        is_hole = np.zeros(length, dtype=bool)
        is_hole[len(left) : len(left) + len(middle)] = True
        second = len(left) + len(middle) + int(rng.integers(2, 8))
        if rng.random() < 0.12 and second + 8 < len(row):
            is_hole[second : second + int(rng.integers(1, 8))] = True
        return clean, is_hole, start

    def split(self, token: int) -> tuple[list[int], list[int]]:
        """Cut a token where a cursor could stand, as healing lays it out: (pins, tokens that open the hole)."""
        text = self.texts[token]
        if len(text) < 2 or not text.isascii():
            return [], [token]
        typed = self.tokenizer.encode(text[: int(self.rng.integers(1, len(text)))], add_special_tokens=False).ids
        rest = text[sum(len(self.texts[t]) for t in typed[:-1]) :]
        return typed[:-1], self.tokenizer.encode(rest, add_special_tokens=False).ids

    def noise(self, clean: np.ndarray, is_hole: np.ndarray) -> np.ndarray:
        """Replace each hole token by a uniform one with a probability t ~ U(0.001, 1) of its canvas; often t = 1."""
        rng, s = self.rng, self.shape
        t = rng.uniform(0.001, 1.0, size=s.canvases)
        t[rng.random(s.canvases) < 0.15] = 1.0  # every fill begins there
        hit = is_hole & (rng.random(len(clean)) < np.repeat(t, s.canvas))
        return np.where(hit, rng.integers(0, self.vocabulary, size=len(clean)), clean)

    def losses(self, clean: np.ndarray, is_hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return at most `losses` hole positions a canvas and their weights: all filler of a canvas weighs like one token."""
        s = self.shape
        at = np.zeros((s.canvases, s.losses), dtype=np.int64)
        weight = np.zeros((s.canvases, s.losses), dtype=np.float32)
        for i in range(s.canvases):
            span = slice(i * s.canvas, (i + 1) * s.canvas)
            positions = np.flatnonzero(is_hole[span])
            filler = clean[span][positions] == FILLER
            text, spare = positions[~filler], positions[filler]
            self.rng.shuffle(text)
            # The first filler says where the middle ends; one of the others stands for the rest.
            spare = spare if len(spare) < 2 else np.array([spare[0], self.rng.choice(spare[1:])])
            chosen = np.concatenate([spare, text])[: s.losses]
            at[i, : len(chosen)] = chosen + i * s.canvas
            weight[i, : len(chosen)] = 1.0
            weight[i, : len(spare)] = 1.0 / max(1, len(spare))
        return at.ravel(), weight.ravel()


class LeftToRightRows(Rows):
    """The same windows without canvases, for the left-to-right control: `<fill>` ends a middle."""

    kind = ContextBatch

    def row(self) -> tuple[np.ndarray, ...]:
        """Return one row, in the field order of `ContextBatch`. Where there is no suffix nothing ends the middle but
        `<eos>`."""
        prefix, suffix, boundary, _ = self.window(self.shape.context - 4, 0)
        ended = [FILLER] if len(suffix) else []
        return self.causal([BOS, SUFFIX, *suffix, PREFIX], np.concatenate([prefix[:boundary], ended]))
