"""Read canvases as text: the draft of a step, and the text that a candidate writes into each hole. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from palimpsest_engine.fill.fit import fit
from palimpsest_engine.prompt.pieces import newline_of
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import Draft, DraftPiece, FillRequest

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest_engine.decoding.denoise import Step

PINNING = 0.5  # up to this strength, the tokens that are kept of a hole are pinned


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished canvas: token ids `[T]` with holes at `spans` (canvas positions). settled: not ended by a step limit.

    entropy: the mean of its slots in nats, of each when it was decided on last. logs: log-likelihood of the tokens of its one
    hole, and of some that follow, if it was written left to right. lane: its number in a traced fill. score: what it was
    ranked by, larger for better.
    """

    tokens: Tensor
    spans: tuple[range, ...]
    settled: bool
    entropy: float = 0.0
    logs: tuple[float, ...] = ()
    lane: int = -1
    score: float | None = None


@dataclass(slots=True)
class Detokenizer:
    """Reads the canvases of one request. healed: text that the first hole writes again. filler: the checkpoint's.

    opening: tokens that whole canvases of a long hole have already written.
    """

    request: FillRequest
    tokens: Tokens
    filler: int | None
    healed: str
    opening: list[int] = field(default_factory=list)

    @property
    def newline(self) -> str:
        """Return the document's line end."""
        return newline_of(self.request.text)

    def draft(self, number: int, step: Step, row: int, spans: tuple[range, ...]) -> Draft:
        """Return a row of a step as text, the settled and the unsettled told apart."""
        shown, settled = [], list[bool]()
        for index, span in enumerate(spans):
            ids, accepted = step.tokens[row, list(span)].tolist(), step.accepted[row, list(span)].tolist()
            settled += accepted
            if index == 0:
                ids, accepted = self.opening + ids, [True] * len(self.opening) + accepted
            shown.append(self._pieces(ids, accepted, self.healed if index == 0 else ""))
        return Draft(number, tuple(shown), sum(settled) / max(1, len(settled)))

    def written(self, number: int, ids: list[int]) -> Draft:
        """Return what was written left to right so far as text; none of it will change, and more may come."""
        return Draft(number, (self._pieces(ids, [True] * len(ids), self.healed),), 0.0, written=True)

    def _pieces(self, ids: list[int], accepted: list[bool], healed: str) -> tuple[DraftPiece, ...]:
        """Return runs of equally settled tokens as text, without filler and without the healed beginning."""
        runs: list[tuple[list[int], bool]] = []
        for token, settled in zip(self.until_filler(ids), accepted, strict=False):
            if runs and runs[-1][1] == settled:
                runs[-1][0].append(token)
            else:
                runs.append(([token], settled))
        out, skip = list[DraftPiece](), len(healed)
        for run, settled in runs:
            text = self.tokens.decode(run)
            text, skip = text[skip:], max(0, skip - len(text))
            if text:
                out.append(DraftPiece(text.replace("\n", self.newline), settled))
        return tuple(out)

    @property
    def pins(self) -> bool:
        """Return whether tokens of a hole are pinned, so that text may follow filler."""
        return self.request.strength <= PINNING or any(piece.state == "pinned" for piece in self.request.start)

    def until_filler(self, ids: list[int]) -> list[int]:
        """Return the tokens before the first filler; between pinned tokens, leave filler out."""
        if self.pins:
            return [token for token in ids if token != self.filler]
        return ids[: ids.index(self.filler)] if self.filler in ids else ids

    def ids(self, candidate: Candidate) -> list[list[int]]:
        """Return the tokens in each hole, without filler."""
        return [self.until_filler(candidate.tokens[list(span)].tolist()) for span in candidate.spans]

    def texts(self, candidate: Candidate) -> tuple[str, ...]:
        """Return the text of each hole: up to the filler, without the healed beginning, fitted into its place."""
        out = []
        for index, ids in enumerate(self.ids(candidate)):
            healed = self.healed if index == 0 else ""
            ids = self.opening + ids if index == 0 else ids
            text = self.tokens.decode_all(ids) if self.pins else self.tokens.decode(ids)
            out.append(fit(self.request, index, text[len(healed) :] if text.startswith(healed) else ""))
        return tuple(out)
