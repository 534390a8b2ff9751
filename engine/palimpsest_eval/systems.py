"""The systems under test, behind one protocol: variants of the engine, left to right, floors and a ceiling.

All systems with a model use the engine's layout, tidying and syntax gate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.engine import Engine
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.detokenize import Candidate
from palimpsest_engine.fill.evidence import features
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.fill.judging import Redraw
from palimpsest_engine.fill.plan import Plan
from palimpsest_engine.prompt.layout import Layout
from palimpsest_engine.request import Draft, Fill, FillRequest
from palimpsest_eval.problems import Problem


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a system. ms: wall clock; repair_ms: the part of it spent on drawing anew. nfe: passes of the model.

    candidates: the texts before the syntax gate, the preferred one first. treatment: what the gate did. evidence: the numbers
    that speak for the text, by name, where the system has some.
    """

    text: str
    ms: float = 0.0
    nfe: int = 0
    candidates: tuple[str, ...] = ()
    treatment: str = "none"
    repair_ms: float = 0.0
    evidence: dict[str, float] | None = None


class System(Protocol):
    """Fills one problem at a time. The same problem with the same seed gives the same answer."""

    @property
    def name(self) -> str:
        """Return the name that the tables use."""
        ...

    def fill(self, problem: Problem, seed: int) -> Answer:
        """Fill the problem, with no cached prefix."""
        ...


class Recorded(CanvasFill):
    """A canvas that remembers its candidates before the gate and the time spent on drawing anew."""

    raw: tuple[str, ...] = ()
    repair_ms = 0.0

    def judged(self, ranked: list[Candidate], redraw: Redraw) -> Generator[Draft, None, Fill]:
        """Judge as the engine does."""
        self.raw = self.raw or tuple(self.read.texts(candidate)[0] for candidate in ranked)
        return (yield from super().judged(ranked, redraw))

    def redrawn(self, layout: Layout, plan: Plan) -> Generator[Draft, None, list[Candidate]]:
        """Draw anew as the engine does."""
        begun = time.perf_counter()
        found = yield from super().redrawn(layout, plan)
        self.repair_ms += 1000 * (time.perf_counter() - begun)
        return found


@dataclass(frozen=True, slots=True)
class Filled:
    """The engine. sizes: hole sizes in tokens, None for the checkpoint's choice. candidates: as in a request.

    as_users: tidy the fill, and keep it to one line if the middle is one line. gated: answer with the text that passed
    the gate; otherwise with the preferred candidate as it was written.
    """

    name: str
    filler: Filler
    sizes: tuple[int, ...] | None = None
    candidates: int = 1
    as_users: bool = True
    gated: bool = True

    def fill(self, problem: Problem, seed: int) -> Answer:
        """Fill the problem with one request."""
        request = problem.request(seed, as_users=self.as_users, sizes=self.sizes)
        return self._filled(replace(request, document=f"{problem.task_id} {seed}", candidates=self.candidates))

    def _filled(self, request: FillRequest) -> Answer:
        begun = time.perf_counter()
        canvas = Recorded(self.filler.resources, request, self.filler.prefix_cache(request.document))
        *_, fill = canvas.run()
        ms = 1000 * (time.perf_counter() - begun)
        assert isinstance(fill, Fill)
        raw = canvas.raw or ("",)
        text, treatment = (fill.texts[0], fill.treatment) if self.gated else (raw[0], "none")
        known = bool(text and self.gated and canvas.candidates.ranking.evidence)
        evidence = features(canvas.evidence(fill.texts), fill) if known else None
        return Answer(text, ms, fill.nfe, raw, treatment, canvas.repair_ms, evidence)


@dataclass(frozen=True, slots=True)
class TouchedUp:
    """The engine, which keeps about 1 - `strength` of the tokens in the hole. Where it offers nothing, the text stays."""

    name: str
    filler: Filler
    strength: float

    def fill(self, problem: Problem, seed: int) -> Answer:
        """Touch the text up with one request, as the editor's action does."""
        request = problem.request(seed, as_users=False, strength=self.strength)
        begun = time.perf_counter()
        *_, fill = self.filler.fill(replace(request, document=f"{problem.task_id} {seed}"))
        ms = 1000 * (time.perf_counter() - begun)
        assert isinstance(fill, Fill)
        texts = tuple(each[0] for each in (fill.texts, *fill.alternatives))
        text = problem.present if fill.empty else texts[0]
        return Answer(text, ms, fill.nfe, (text,) if fill.empty else texts, fill.treatment)


@dataclass(frozen=True, slots=True)
class Asked:
    """Any engine, through its seam: another program's model, for example, with everything of ours around it."""

    name: str
    engine: Engine
    as_users: bool = True

    def fill(self, problem: Problem, seed: int) -> Answer:
        """Fill the problem with one request."""
        begun = time.perf_counter()
        fill = self.engine.submit(problem.request(seed, as_users=self.as_users)).future.result()
        ms = 1000 * (time.perf_counter() - begun)
        return Answer(fill.texts[0], ms, fill.nfe, fill.texts, fill.treatment)


@dataclass(frozen=True, slots=True)
class OracleLength:
    """The engine, told the number of tokens of the middle; filler is banned. candidates: as in a request."""

    name: str
    checkpoint: Checkpoint
    candidates: int = 1
    as_users: bool = True

    def fill(self, problem: Problem, seed: int) -> Answer:
        """Fill as many tokens as the middle has, plus those that token healing writes again."""
        assert problem.truth is not None
        filler = Filler(denoising(self.checkpoint))
        filler.resources = replace(filler.resources, banned=filler.resources.all_banned)
        healed = CanvasFill(filler.resources, problem.request(seed), filler.prefix_cache("")).layout.healed
        size = max(1, len(filler.tokens.encode(healed + problem.truth)))
        return Filled(self.name, filler, (size,), self.candidates, self.as_users).fill(problem, seed)


@dataclass(frozen=True, slots=True)
class Rule:
    """A floor or the ceiling: text by a rule, without a model."""

    name: str
    rule: Callable[[Problem], str]

    def fill(self, problem: Problem, seed: int) -> Answer:
        """Answer with the text of the rule."""
        text = self.rule(problem)
        return Answer(text, candidates=(text,))


def indented(problem: Problem, text: str) -> str:
    """Give a line the indentation of the true one, if the hole begins at the start of a line."""
    if problem.truth is None or not (problem.prompt.endswith("\n") or not problem.prompt):
        return text
    return problem.truth[: len(problem.truth) - len(problem.truth.lstrip(" \t"))] + text


def line_above(problem: Problem) -> str:
    """Return the last line before the hole's own that is not blank."""
    above = problem.prompt.rpartition("\n")[0].rstrip()
    return indented(problem, above.rpartition("\n")[2].strip())


def truth(problem: Problem) -> str:
    """Return the true text."""
    assert problem.truth is not None
    return problem.truth


FLOORS = (
    Rule("empty", lambda problem: ""),
    Rule("pass", lambda problem: indented(problem, "pass")),
    Rule("line above", line_above),
)
CEILING = Rule("truth", truth)
AS_IT_STANDS = Rule("as it stands", lambda problem: problem.present)
CHOICES = ("chosen", "denoised", "both", "oracle", "fixed", "left-to-right", "left-to-right-ungated")


def denoising(checkpoint: Checkpoint, *, lines: int = 0) -> Checkpoint:
    """Return a checkpoint that denoises every hole, in all of its sizes, and writes so many candidates left to right."""
    spec = checkpoint.spec
    if not spec.denoises:
        return checkpoint
    own = spec if spec.fresh == "denoised" else replace(spec, fresh="denoised", line_sizes=())
    return replace(checkpoint, spec=replace(own, causal_candidates=lines, blank_line_candidates=None))


def systems(choices: Sequence[str], checkpoint: Checkpoint, *, as_users: bool = True) -> list[System]:
    """Make the systems of these `CHOICES`."""
    made: list[System] = []
    for choice in dict.fromkeys(choices):
        match choice:
            case "chosen":
                made.append(Filled("chosen length", Filler(checkpoint), as_users=as_users))
            case "denoised":
                made.append(Filled("denoised, chosen length", Filler(denoising(checkpoint)), as_users=as_users))
            case "both":
                both = denoising(checkpoint, lines=1)
                made.append(Filled("denoised and left to right, ranked", Filler(both), as_users=as_users))
            case "oracle":
                rows = len(checkpoint.spec.hole_sizes)  # as many as without the length
                made += [
                    OracleLength("oracle length", checkpoint, as_users=as_users),
                    OracleLength(f"oracle length, best of {rows}", checkpoint, max(1, rows - 1), as_users),
                ]
            case "fixed":
                made += [
                    Filled(f"fixed length {size}", Filler(denoising(checkpoint)), (size,), as_users=as_users)
                    for size in checkpoint.spec.hole_sizes
                ]
            case "left-to-right" | "left-to-right-ungated":
                gated = choice == "left-to-right"
                name = "left to right" if gated else "left to right, no gate"
                made.append(Filled(name, Filler(checkpoint, left_to_right=True), as_users=as_users, gated=gated))
            case _:
                raise ValueError(choice)
    return made


def bounds(*, known: bool) -> list[System]:
    """Return the floors, and the ceiling if the true text is known."""
    return [*FLOORS, CEILING] if known else list(FLOORS)
