"""What canvases say as text: the draft of a step, and what a candidate writes into each hole. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from palimpsest_engine.decoding.denoise import Step
from palimpsest_engine.fill.tidy import tidy
from palimpsest_engine.prompt.pieces import newline_of
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import Draft, DraftPiece, FillRequest, Span

PINNING = 0.5  # up to this strength, what stands in a hole is pinned, but for that share of it


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate's canvas: token ids `[T]` with holes at `spans` (canvas positions), whether it settled, and the
    entropy of each position in nats `[T]` (None: it was not denoised)."""

    tokens: Tensor
    spans: tuple[range, ...]
    settled: bool
    entropy: Tensor | None = None


@dataclass(slots=True)
class ReadOut:
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
        """The document's line end."""
        return newline_of(self.request.text)

    def draft(self, number: int, step: Step, row: int, spans: tuple[range, ...]) -> Draft:
        """A row of a step as text, with the settled and the unsettled told apart."""
        shown, settled = [], list[bool]()
        for index, span in enumerate(spans):
            ids, accepted = step.tokens[row, list(span)].tolist(), step.accepted[row, list(span)].tolist()
            settled += accepted
            if index == 0:
                ids, accepted = self.opening + ids, [True] * len(self.opening) + accepted
            shown.append(self._pieces(ids, accepted, self.healed if index == 0 else ""))
        return Draft(number, tuple(shown), sum(settled) / len(settled))

    def _pieces(self, ids: list[int], accepted: list[bool], healed: str) -> tuple[DraftPiece, ...]:
        """Runs of equally settled tokens as text, without filler and without the healed beginning."""
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

    def until_filler(self, ids: list[int]) -> list[int]:
        """The tokens before the first filler; between tokens that are pinned, filler is just left out."""
        if self.request.strength <= PINNING:
            return [token for token in ids if token != self.filler]
        return ids[: ids.index(self.filler)] if self.filler in ids else ids

    def ids(self, row: Row) -> list[list[int]]:
        """The tokens in each hole, without filler."""
        return [self.until_filler(row.tokens[list(span)].tolist()) for span in row.spans]

    def written(self, row: Row) -> list[int]:
        """Hole positions up to each hole's first filler, that included."""
        ids = row.tokens.tolist()
        spans = [list(span) for span in row.spans]
        return [i for span in spans for i in span[: len(self.until_filler([ids[j] for j in span])) + 1]]

    def texts(self, row: Row) -> tuple[str, ...]:
        """What a row writes into each hole: up to the filler, without the healed beginning, in the document's newlines,
        within the request's limit of lines."""
        out = []
        for index, ids in enumerate(self.ids(row)):
            healed = self.healed if index == 0 else ""
            ids = self.opening + ids if index == 0 else ids
            text = self.tokens.decode_all(ids) if self.request.strength <= PINNING else self.tokens.decode(ids)
            text = text[len(healed) :].replace("\n", self.newline) if text.startswith(healed) else ""
            if self.request.max_lines is not None:
                text = "".join(text.splitlines(keepends=True)[: self.request.max_lines]).rstrip("\r\n")
            hole = self.request.holes[index]
            if self.request.tidy:
                multiline = self.request.max_lines != 1
                tidied = tidy(self.request.text, hole.start, hole.end, text.replace("\r\n", "\n"), multiline=multiline)
                text = tidied.replace("\n", self.newline)
            blank_after = self.request.text.startswith(("\n", "\r\n"), hole.end)
            out.append(text.rstrip(" \t") if blank_after else text)
        return tuple(out)

    def positions(self, row: Row, bad: Sequence[Span]) -> list[int]:
        """Canvas positions whose text overlaps or touches a bad span of the spliced document; all of them if none does."""
        found, shift = list[int](), 0
        opened = len(self.tokens.decode(self.opening).replace("\n", self.newline)) - len(self.healed)
        for index, (span, hole) in enumerate(zip(row.spans, self.request.holes, strict=True)):
            at = hole.start + shift + (opened if index == 0 else 0)
            for position in span:
                text = self.tokens.texts[int(row.tokens[position])].replace("\n", self.newline)
                if any(at <= b.end and b.start <= at + len(text) for b in bad):
                    found.append(position)
                at += len(text)
            shift += len(self.texts(row)[index]) - (hole.end - hole.start)
        return found or [position for span in row.spans for position in span]
