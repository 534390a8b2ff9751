"""Make up the frames of a scripted fill, as a model would show them: words of the script stand in for tokens. Text only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from palimpsest_engine.request import FillRequest, Verdict
from palimpsest_engine.trace import Choice, Frame, Judged, Lane, Slot, SlotState, Stage, StartPiece, Traced

_WORD = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")
_LEAST = 0.001


class ScriptedFrames:
    """The frames of one request. script: all texts that can be answered; text: the one that is.

    A second, shorter candidate is there for the first half of the steps; none, if the request has a start or is written left
    to right. text: as the start leaves it, if there is one.
    """

    def __init__(self, request: FillRequest, script: Sequence[str], text: str) -> None:
        self.request = request
        self.words = list(dict.fromkeys(["", *(word for each in (*script, text) for word in _WORD.findall(each))]))
        if request.start:
            self.slots = list(self._begun(request.start))
        else:
            self.slots = [
                ("open", word) for word in [*_WORD.findall(text), *([""] if not request.left_to_right else [])]
            ]
        self.text = "".join(word for _, word in self.slots)

    def frame(self, step: int, steps: int, ms: float) -> Frame:
        """Return the frame after a step of so many."""
        share, finished = step / steps, step == steps
        lanes = [self._lane(0, self.slots, share, finished=finished)]
        if not self.request.start and not self.request.left_to_right and 2 * step <= steps:
            lanes.append(self._lane(1, self.slots[: (len(self.slots) + 1) // 2], share, finished=False))
        return Frame(ms, tuple(lanes))

    def traced(self, verdict: Verdict, ms: float) -> Traced:
        """Return the end of it. ms: of all stages together."""
        texts = (self.text,) * len(self.request.holes)
        only = Judged(0, texts, 0, None, verdict.status, verdict.reason, chosen=bool(self.text))
        wrote = "write" if self.request.left_to_right else "denoise"
        shares = {"encode": 0.2, wrote: 0.6, "rank": 0.1, "judge": 0.1}
        return Traced((only,), tuple(Stage(name, ms * share) for name, share in shares.items()))

    def _begun(self, start: Sequence[StartPiece]) -> list[tuple[SlotState, str]]:
        """Return the slots of a canvas with a start; words of the script take the place of noise."""
        out, fresh = list[tuple[SlotState, str]](), 0
        for piece in start:
            if piece.state == "noise":
                out += [("open", self.words[(fresh + n) % (len(self.words) - 1) + 1]) for n in range(piece.slots)]
                fresh += piece.slots
                continue
            if piece.key is None:
                words = _WORD.findall(piece.text)
            else:
                words = [self.words[piece.key] if 0 <= piece.key < len(self.words) else piece.text]
            out += [("pinned" if piece.state == "pinned" else "settled", word) for word in words]
        self.words += [word for _, word in out if word not in self.words]
        return out

    def _lane(self, number: int, slots: Sequence[tuple[SlotState, str]], share: float, *, finished: bool) -> Lane:
        done, written = round(share * len(slots)), self.request.left_to_right
        shown = slots[:done] if written else slots
        hole = tuple(self._slot(at, state, word, share, settled=at < done) for at, (state, word) in enumerate(shown))
        return Lane(number, "written" if written else "denoised", (hole,) * len(self.request.holes), finished)

    def _slot(self, at: int, state: SlotState, word: str, share: float, *, settled: bool) -> Slot:
        key = self.words.index(word)
        if state == "pinned":
            return Slot(word, 0.0, "pinned", key)
        sure = settled or state == "settled"
        # What is not sure yet flickers: another word of the script is the likeliest.
        first = key if sure else (key + at + 1) % len(self.words)
        probability = 0.9 if sure else 0.3 + 0.5 * share
        others = (n % len(self.words) for n in range(first + 1, first + len(self.words)))
        choices, left = [Choice(self.words[first], probability, first)], 1 - probability
        for other in islice(others, self.request.trace - 1):
            left /= 2
            if left < _LEAST:
                break
            choices.append(Choice(self.words[other], left, other))
        entropy: float = 0.1 if sure else 3.0 - 2.5 * share
        return Slot(self.words[first], entropy, "settled" if sure else "open", first, tuple(choices))
