"""Collect what a traced fill shows: candidates at work, their judgement, and where the time goes; for other fills do nothing.

Knows steps and tokens; no model, no policy.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any, TypeVar

from palimpsest_engine.decoding.autoregressive import Chosen, Likely
from palimpsest_engine.decoding.denoise import Step
from palimpsest_engine.fill.detokenize import Candidate, Detokenizer
from palimpsest_engine.fill.judging import Gate
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import Draft, Fill, FillRequest, Verdict
from palimpsest_engine.trace import Choice, Frame, Judged, Lane, Slot, SlotState, Stage, Traced

LEAST = 0.001  # probability of a choice that is shown; the first one always is
_PIECES = 4  # tokens that a character can be cut into
_NOT_JUDGED = Verdict("not checked", "another candidate had been chosen before")
_EMPTY = Verdict("not checked", "nothing was written")
T = TypeVar("T")


class Trace:
    """The trace of one request. choices: so many a slot; 0 for no trace."""

    def __init__(self, request: FillRequest, tokens: Tokens) -> None:
        self.choices, self._tokens = request.trace, tokens
        self._begun, self._lanes, self._count = perf_counter(), dict[int, Lane](), 0
        self._stages, self._ranked = dict[str, float](), list[Candidate]()
        self._gate: _Remembering | None = None
        self._shown: Draft | None = None

    # Time

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time that is spent inside to a stage."""
        begun = perf_counter()
        try:
            yield
        finally:
            self._stages[name] = self._stages.get(name, 0.0) + (perf_counter() - begun) * 1000

    def timed(self, name: str, steps: Iterator[T]) -> Generator[T, Any, None]:
        """Yield what `steps` yields, and send it what is sent. Its time counts to a stage, the time in between does not."""
        sent: Any = None
        while True:
            with self.stage(name):
                try:
                    step = next(steps) if sent is None else steps.send(sent)  # type: ignore[attr-defined]
                except StopIteration:
                    return
            sent = yield step

    # Candidates at work

    def begin(self) -> None:
        """Leave out the candidates so far: others are written in their place."""
        self._lanes.clear()

    def numbers(self, count: int) -> list[int]:
        """Return the numbers of so many new lanes."""
        self._count += count
        return list(range(self._count - count, self._count))

    def drop(self, *numbers: int) -> None:
        """Leave candidates out from now on."""
        for number in numbers:
            self._lanes.pop(number, None)

    def denoised(
        self, step: Step, numbers: Sequence[int], places: Sequence[Sequence[range]], read: Detokenizer, *, last: bool
    ) -> Frame | None:
        """Return the frame after a denoising step. numbers, places: of each row of it, the lane and the holes. last: no other
        step follows."""
        if step.likely is None or step.is_hole is None:
            return None
        rows = zip(
            numbers,
            places,
            *(each.tolist() for each in (step.tokens, step.accepted, step.entropy, step.is_hole, step.likely)),
            step.finished.tolist(),
            strict=True,
        )
        for number, spans, tokens, accepted, entropy, is_hole, likely, finished in rows:
            holes = list[tuple[Slot, ...]]()
            for index, span in enumerate(spans):
                at, before = slice(span.start, span.stop), read.opening if index == 0 else []
                states: list[SlotState] = ["settled" for _ in before]
                for settled, free in zip(accepted[at], is_hole[at], strict=True):
                    states.append("pinned" if not free else "settled" if settled else "open")
                entropies, choices = [0.0] * len(before) + entropy[at], [()] * len(before) + likely[at]
                healed = read.healed if index == 0 else ""
                holes.append(self._slots(before + tokens[at], entropies, states, choices, healed))
            self._lanes[number] = Lane(number, "denoised", tuple(holes), finished or last)
        return self._frame()

    def written(
        self,
        numbers: Sequence[int],
        rows: Sequence[list[int]],
        middle: Callable[[list[int]], list[int]],
        chosen: Sequence[Sequence[Chosen]],
        read: Detokenizer,
        *,
        last: bool = False,
    ) -> Frame | None:
        """Return the frame after a pass that wrote left to right. rows: the tokens so far. middle: returns those of the
        middle alone. chosen: what is known of each token. last: no other pass follows."""
        if not self.choices:
            return None
        for number, row, known in zip(numbers, map(middle, rows), chosen, strict=True):
            # A middle that was cut inside a token does not end in the tokens that were written.
            same = next((n for n, (i, each) in enumerate(zip(row, known, strict=False)) if i != each.token), len(known))
            told = [*known[: min(same, len(row))], *(Chosen(i) for i in row[same:])]
            entropies, likely = [each.entropy for each in told], [each.likely for each in told]
            slots = self._slots(row, entropies, ["settled"] * len(row), likely, read.healed)
            self._lanes[number] = Lane(number, "written", (slots,), last)
        return self._frame()

    def shown(self, draft: Draft, frame: Frame | None) -> Draft:
        """Return a draft with the frame of the same step."""
        if frame is None:
            return draft
        self._shown = replace(draft, frame=frame)
        return self._shown

    def again(self, step: int, frame: Frame) -> Draft:
        """Return the last draft with a later frame: text that is written beside denoised candidates is in frames alone."""
        last = self._shown or Draft(step, ((),) * len(frame.lanes[0].holes), 0.0)
        return replace(last, step=step, frame=frame)

    def _frame(self) -> Frame:
        ms = (perf_counter() - self._begun) * 1000
        return Frame(ms, tuple(self._lanes[number] for number in sorted(self._lanes)))

    def _slots(
        self,
        ids: Sequence[int],
        entropies: Sequence[float],
        states: Sequence[SlotState],
        likely: Sequence[Likely],
        healed: str,
    ) -> tuple[Slot, ...]:
        """Return the positions of a hole, without the text that its first tokens write again."""
        out, skip = list[Slot](), len(healed)
        for token, text, entropy, state, choices in zip(ids, self._texts(ids), entropies, states, likely, strict=True):
            cut, skip = skip, max(0, skip - len(text))
            if state == "pinned":
                out.append(Slot(text[cut:], 0.0, state, token))
            else:
                out.append(Slot(text[cut:], round(entropy, 4), state, token, self._choices(choices, cut)))
        return tuple(out)

    def _texts(self, ids: Sequence[int]) -> Iterator[str]:
        """Yield the text of each token. Of a character in several pieces, the last one has it and the others U+FFFD."""
        held = list[int]()
        for i in ids:
            text = self._tokens.shown(i)
            held = [*held[1 - _PIECES :], i] if text == "\ufffd" else []
            if len(held) > 1:
                whole = self._tokens.tokenizer.decode(held, skip_special_tokens=True)
                if not whole.endswith("\ufffd"):
                    text, held = whole.replace("\ufffd", ""), []
            yield text

    def _choices(self, likely: Likely, cut: int) -> tuple[Choice, ...]:
        # A place that was never decided on, because its text was kept, has no choices: probabilities of 0.
        kept = [each for number, each in enumerate(likely) if each[1] and (not number or each[1] >= LEAST)]
        total = max(1.0, sum(probability for _, probability in kept))  # more than 1 only by rounding
        return tuple(
            Choice(self._tokens.shown(int(i))[cut:], round(probability / total, 6), int(i)) for i, probability in kept
        )

    # Their judgement

    def watched(self, gate: Gate) -> Gate:
        """Return the gate; of a traced fill, one that remembers its verdicts."""
        if not self.choices:
            return gate
        self._gate = _Remembering(gate, self)
        return self._gate

    def ranked(self, candidates: list[Candidate]) -> list[Candidate]:
        """Return the candidates, which `ended` tells of."""
        if self.choices:
            self._ranked += candidates
        return candidates

    def ended(self, fill: Fill, read: Detokenizer) -> Fill:
        """Return the fill of one canvas with its trace; another canvas can follow."""
        if not self.choices:
            return fill
        verdicts = {} if self._gate is None else self._gate.verdicts
        ordered = sorted(self._ranked, key=lambda each: -(each.score or 0.0))
        texts = [read.texts(each) for each in ordered]
        chosen = None if fill.empty else _origin(texts, fill)
        judged = list[Judged]()
        for rank, (each, written) in enumerate(zip(ordered, texts, strict=True)):
            verdict = verdicts.get(written, _NOT_JUDGED if any(map(str.strip, written)) else _EMPTY)
            score = each.score if len(ordered) > 1 else None
            judged.append(
                Judged(each.lane, written, rank, score, verdict.status, verdict.reason, chosen=rank == chosen)
            )
        stages = tuple(Stage(name, ms) for name, ms in self._stages.items())
        self._stages, self._ranked, self._shown = {}, [], None
        self.begin()
        return replace(fill, traced=Traced(tuple(judged), stages))


class _Remembering:
    """A gate that remembers its verdicts."""

    def __init__(self, gate: Gate, trace: Trace) -> None:
        self._gate, self._trace = gate, trace
        self.verdicts = dict[tuple[str, ...], Verdict]()

    def judge(self, texts: tuple[str, ...]) -> Verdict:
        """Judge as the gate does."""
        with self._trace.stage("judge"):
            self.verdicts[texts] = self._gate.judge(texts)
        return self.verdicts[texts]

    def cut(self, texts: tuple[str, ...]) -> tuple[str, ...] | None:
        """Cut as the gate does."""
        with self._trace.stage("judge"):
            return self._gate.cut(texts)


def _origin(texts: Sequence[tuple[str, ...]], fill: Fill) -> int | None:
    """Return the number of the candidate that a fill is, or that it was cut from."""
    if fill.texts in texts:
        return texts.index(fill.texts)
    cut = (
        number
        for number, each in enumerate(texts)
        if all(whole.startswith(kept) for whole, kept in zip(each, fill.texts, strict=True))
    )
    return next(cut, None)
