"""Begin the canvas of a hole as a request says: slots that are pinned, slots with a token to begin with, and noise.

Knows tokens and canvases; no model, no policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from palimpsest_engine.decoding.canvas_state import Canvas
from palimpsest_engine.fill.detokenize import PINNING
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.prompt.pieces import plain
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import FillRequest
from palimpsest_engine.trace import StartPiece

NO_START = (
    "The model writes from left to right, so its canvas cannot begin with a text; a diffusion model's can: --model embedded, "
    "say."
)
NO_LEFT_TO_RIGHT = "The model reads both sides of a hole at once, so it cannot write from left to right."
NOT_BOTH = "A text that is written from left to right cannot begin with a canvas."
NO_PART = "A text that is written from left to right cannot keep a part of the old one."


def refusal(resources: Resources, request: FillRequest) -> str:
    """Return why a checkpoint cannot fill a request with a start, or from left to right; or ""."""
    if request.start and request.left_to_right:
        return NOT_BOTH
    if request.start and (resources.left_to_right or not resources.spec.denoises):
        return NO_START
    if request.left_to_right and resources.sides:
        return NO_LEFT_TO_RIGHT
    return NO_PART if request.left_to_right and request.strength < 1.0 else ""


@dataclass(frozen=True, slots=True)
class Start:
    """The beginning of one hole's canvas. ids: the token of each slot, None for noise. pinned: whether it stays."""

    ids: tuple[int | None, ...] = ()
    pinned: tuple[bool, ...] = ()

    @classmethod
    def of(cls, pieces: Sequence[StartPiece], tokens: Tokens, filler: int | None, healed: str, most: int) -> Start:
        """Lay out pieces. healed: text that the first slot writes again: that of a first piece is encoded behind it, and
        noise is held to it as in any fill. most: slots that matter; of longer noise only so many and one more are kept.

        A key counts if it names a token with the text of its piece, or a piece of a character; the key of another model does
        not, and the text is encoded.
        """
        slots = list[tuple[int | None, bool]]()
        for piece in pieces:
            if piece.state == "noise":
                slots += [(None, False)] * min(piece.slots, most + 1)
            else:
                again = healed if not slots else ""
                slots += [(i, piece.state == "pinned") for i in _ids(piece, tokens, filler, again)]
        return cls(tuple(i for i, _ in slots), tuple(pinned for _, pinned in slots))

    def on(self, canvas: Canvas, hole: range) -> Canvas:
        """Return the canvas, of one row, with this in its hole.

        Where a model decides on all slots in each step, it may replace any token that is not pinned. Where it keeps what it
        has accepted, a token to begin with counts as accepted: only noise is decided on.
        """
        tokens, is_hole = canvas.tokens.clone(), canvas.is_hole.clone()
        start, known = canvas.tokens.clone(), is_hole.new_zeros(is_hole.shape)
        for place, i, pinned in zip(hole, self.ids, self.pinned, strict=True):
            if i is not None:
                start[0, place], known[0, place] = i, not pinned
            if i is not None and pinned:
                tokens[0, place], is_hole[0, place] = i, False
        return replace(canvas, tokens=tokens, is_hole=is_hole, start=start, start_known=known)


def _ids(piece: StartPiece, tokens: Tokens, filler: int | None, healed: str) -> Iterator[int]:
    """Yield the tokens of a piece with a text."""
    text, key = plain(piece.text), piece.key
    if key is not None and 0 <= key < tokens.vocabulary:
        shown = tokens.shown(key)
        if (
            (shown == "\ufffd" and not healed)
            or (shown and shown == healed + text)
            or (not text and not healed and key == filler)
        ):
            yield key
            return
    if not text and (key is None or not healed):
        return
    ids = tokens.encode(healed + text)
    if healed and not tokens.text(ids[0]).startswith(healed):
        ids = tokens.encode(healed) + tokens.encode(text)
    yield from ids


def seeded(
    canvas: Canvas,
    spans: Sequence[tuple[range, ...]],
    present: Sequence[int],
    doubts: Sequence[float],
    strength: float,
    generator: torch.Generator,
    by_chance: bool,
) -> Canvas:
    """Return the canvas of one hole, beginning with about 1 - `strength` of the present tokens; the rest is noise.

    The tokens with the largest doubts become noise: in the first row exactly these, in the others, and in all if
    `by_chance`, as drawn in proportion to e^doubt (Gumbel top-k, arXiv 1903.06059).
    At most at `PINNING` the kept tokens are pinned: a sampler left free would rewrite everything.
    """
    start, known = canvas.tokens.clone(), torch.zeros_like(canvas.is_hole)
    ids = torch.tensor(list(present), dtype=torch.long, device=start.device)
    uniform = torch.rand((len(spans), len(ids)), generator=generator, device=start.device)
    noise = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-7)))
    if not by_chance:
        noise[0] = 0.0
    order = (torch.tensor(list(doubts), device=start.device) + noise).argsort(dim=-1, descending=True, stable=True)
    anew = torch.zeros_like(uniform, dtype=torch.bool)
    anew.scatter_(1, order[:, : max(1, round(strength * len(ids)))], True)
    for row, (span,) in enumerate(spans):
        width = min(len(span), len(ids))
        start[row, span.start : span.start + width] = ids[:width]
        known[row, span.start : span.start + width] = ~anew[row, :width]
    if strength > PINNING:
        return replace(canvas, start=start, start_known=known)
    return replace(canvas, tokens=torch.where(known, start, canvas.tokens), is_hole=canvas.is_hole & ~known)
