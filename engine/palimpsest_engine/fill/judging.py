"""Choose among ranked candidates by the syntax gate: as it is, drawn anew, cut, or nothing. Knows no model, no tokens.

`choose` works on texts, `judged` on canvases that are read as text first.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from palimpsest_engine.fill.detokenize import Candidate, Detokenizer
from palimpsest_engine.request import Draft, Fill, FillRequest, Verdict

REDRAWS = 3


@dataclass(frozen=True, slots=True)
class Written:
    """A candidate as text, one string a hole, fitted into its place. settled: the model ended it, not a limit."""

    texts: tuple[str, ...]
    settled: bool


class Gate(Protocol):
    """Judges the texts of the holes, and cuts them, as `SyntaxGate` does."""

    def judge(self, texts: tuple[str, ...]) -> Verdict:
        """Return the verdict."""
        ...

    def cut(self, texts: tuple[str, ...]) -> tuple[str, ...] | None:
        """Return the texts cut until the document is no worse, or None."""
        ...


Redraw = Callable[[], Generator[Draft, None, list[Candidate]]]
Rewrite = Callable[[], Generator[Draft, None, Sequence[Written]]]


def judged(
    request: FillRequest, ranked: list[Candidate], read: Detokenizer, gate: Gate, redraw: Redraw | None
) -> Generator[Draft, None, Fill]:
    """Choose among canvases as `choose` does among texts."""

    def written(candidates: list[Candidate]) -> list[Written]:
        return [Written(read.texts(each), each.settled) for each in candidates]

    def rewrite(redraw: Redraw) -> Rewrite:
        def again() -> Generator[Draft, None, Sequence[Written]]:
            return written((yield from redraw()))

        return again

    return (yield from choose(request, written(ranked), gate, rewrite(redraw) if redraw is not None else None))


def choose(
    request: FillRequest, ranked: Sequence[Written], gate: Gate, rewrite: Rewrite | None
) -> Generator[Draft, None, Fill]:
    """Return the best candidate that leaves the document's syntax no worse: as it is, repaired, cut, or none at all.

    ranked: at least one candidate, the best first. rewrite: returns other candidates, the best first; None: there are no
    others.
    """
    nothing = ("",) * len(request.holes)
    if not any(map(str.strip, ranked[0].texts)):
        return Fill(nothing, Verdict("no worse", "nothing was written"), "The model has nothing to add here.")
    candidates = [(each, each.texts, gate.judge(each.texts)) for each in ranked if any(map(str.strip, each.texts))]
    passed = [candidate for candidate in candidates if candidate[2].status != "worse"]
    # "No worse" lets some broken fills through in broken documents; a valid one, if there is any, is sure.
    passed.sort(key=lambda candidate: (candidate[2].status == "no worse", bool(candidate[2].bad)))
    # Even what passes could be better: a header without its body, say.
    if rewrite is not None and (not passed or passed[0][2].bad) and (fill := (yield from _mended(gate, rewrite))):
        return replace(fill, alternatives=tuple(dict.fromkeys(texts for _, texts, _ in passed)))
    if passed:
        best, texts, verdict = passed[0]
        others = tuple(dict.fromkeys(other for _, other, _ in passed[1:] if other != texts))
        return Fill(texts, verdict, settled=best.settled, alternatives=others)
    own = request.strength < 1.0 or request.start  # a cut would remove what the user wrote
    for _, texts, _ in () if own else candidates:
        kept = gate.cut(texts)
        if kept is not None and any(kept):
            return Fill(kept, gate.judge(kept), treatment="cut")
    return Fill(nothing, candidates[0][2], "Every candidate would have broken the syntax.", treatment="rejected")


def _mended(gate: Gate, rewrite: Rewrite) -> Generator[Draft, None, Fill | None]:
    """Return the first of a few more draws that the gate finds nothing bad in; None if there is none."""
    for _ in range(REDRAWS):
        for candidate in (yield from rewrite()):
            verdict = gate.judge(candidate.texts)
            if any(candidate.texts) and not verdict.bad:
                return Fill(candidate.texts, verdict, treatment="repaired", settled=candidate.settled)
    return None
