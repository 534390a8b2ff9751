"""Choose among ranked candidates by the syntax gate: as it is, drawn anew, cut, or nothing. Knows no model, no tokens."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

from palimpsest_engine.fill.detokenize import Candidate, Detokenizer
from palimpsest_engine.request import Draft, Fill, FillRequest, Verdict
from palimpsest_engine.syntax.gate import SyntaxGate

REDRAWS = 3
Redraw = Callable[[], Generator[Draft, None, list[Candidate]]]


def judged(
    request: FillRequest, ranked: list[Candidate], read: Detokenizer, gate: SyntaxGate, redraw: Redraw | None
) -> Generator[Draft, None, Fill]:
    """Return the best candidate that leaves the document's syntax no worse: as it is, repaired, cut, or none at all.

    redraw: returns other candidates, the best first; None: there are no others.
    """
    nothing = ("",) * len(request.holes)
    if not any(read.texts(ranked[0])):
        return Fill(nothing, Verdict("no worse", "nothing was written"), "The model has nothing to add here.")
    candidates = [(each, texts, gate.judge(texts)) for each in ranked if any(texts := read.texts(each))]
    passed = [candidate for candidate in candidates if candidate[2].status != "worse"]
    # "No worse" lets some broken fills through in broken documents; a valid one, if there is any, is sure.
    passed.sort(key=lambda candidate: (candidate[2].status == "no worse", bool(candidate[2].bad)))
    # Even what passes could be better: a header without its body, say.
    if redraw is not None and (not passed or passed[0][2].bad) and (fill := (yield from _mended(read, gate, redraw))):
        return replace(fill, alternatives=tuple(dict.fromkeys(texts for _, texts, _ in passed)))
    if passed:
        best, texts, verdict = passed[0]
        others = tuple(dict.fromkeys(other for _, other, _ in passed[1:] if other != texts))
        return Fill(texts, verdict, settled=best.settled, alternatives=others)
    for _, texts, _ in candidates if request.strength == 1.0 else ():  # else the cut would remove the user's own text
        kept = gate.cut(texts)
        if kept is not None and any(kept):
            return Fill(kept, gate.judge(kept), treatment="cut")
    return Fill(nothing, candidates[0][2], "Every candidate would have broken the syntax.", treatment="rejected")


def _mended(read: Detokenizer, gate: SyntaxGate, redraw: Redraw) -> Generator[Draft, None, Fill | None]:
    """Return the first of a few more draws that the gate finds nothing bad in; None if there is none."""
    for _ in range(REDRAWS):
        for candidate in (yield from redraw()):
            texts = read.texts(candidate)
            verdict = gate.judge(texts)
            if any(texts) and not verdict.bad:
                return Fill(texts, verdict, treatment="repaired", settled=candidate.settled)
    return None
