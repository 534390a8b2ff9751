"""The frozen values that cross between the engine's thread and everyone else. Text only: no tensors, no LSP.

Offsets are code points into `FillRequest.text`; nothing here knows tokens or position encodings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from palimpsest_engine.trace import Frame, StartPiece, Traced


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open range of code points `[start, end)`; empty for an insertion."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"not a span: {self.start}..{self.end}")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Text from elsewhere that the model may read and never writes: another file, an edit, a diagnostic.

    title: its origin, as the model reads it: mostly a path.
    """

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Diff:
    """Whole lines of a file that have become others. path: as the model reads it."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier turn of a conversation: what was asked, and what was answered. before: the text it was about, if known."""

    instruction: str
    answer: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class FillRequest:
    """A request: a document's text and the holes in it.

    text: the whole document. holes: sorted, disjoint. document: identity for latest-wins (a URI or a path; two
    requests of one client with the same non-empty identity never run at once, the newer cancels the older).
    client: the asking process or user, where several share an engine; they take turns.
    language: an LSP language id such as `"python"`, or None to judge by `path`.
    sizes: hole sizes in tokens to try as one batch; None for the checkpoint's own choice.
    strength: 1.0 rewrites from noise; below it, about 1 - strength of the present tokens are kept.
    context: excerpts from elsewhere, the most useful last; as many as fit are read, from the end.
    candidates: the number of different texts wanted; `Fill.alternatives` has those after the first.
    speculative: no user waits for it yet; it yields to every request that a user waits for.
    tidy: trim the fill to the part that people accept at a cursor (`palimpsest_engine.fill.tidy`).
    max_lines: cut the fill to so many lines (None: no limit).
    max_steps: at most so many denoising steps a canvas; None for the checkpoint's own choice.
    edit: the user asked for a change by name, and did not just type; another model may answer that (`EngineSettings.edit`).
    changes: what the text in the one hole may have to follow, the newest last. It is then written anew only where the changes
    make that likelier than leaving it alone (`fill.rewrite`). cursor: an offset in `text`, or None.
    instruction: a sentence about what to do with the text in the one hole, which is then written anew (`fill.instructed`).
    task: with an instruction, "rewrite" the hole, "write" something new in it about the context, or "explain" its text.
    turns: what was asked and answered before about the same hole, the newest last; the instruction is about its answer.
    diagnostics: sentences of other tools about the text in the hole.
    temperature: of the sampler, for denoising and for writing; None for the checkpoint's own.
    left_to_right: write the one hole left to right, and denoise nothing, if the checkpoint can.
    start: how the canvas of the one hole begins, piece by piece; nothing for noise. trace: show all candidates at work, with
    so many choices a slot; 0 for no trace.
    any_language: fill it even if the checkpoint was not trained on its language; otherwise that is a `LanguageUnknown`.
    """

    text: str
    holes: tuple[Span, ...]
    document: str = ""
    client: str = ""
    language: str | None = None
    path: str | None = None
    seed: int = 0
    strength: float = 1.0
    sizes: tuple[int, ...] | None = None
    max_lines: int | None = None
    max_steps: int | None = None
    context: tuple[Excerpt, ...] = ()
    candidates: int = 1
    speculative: bool = False
    tidy: bool = False
    edit: bool = False
    any_language: bool = False
    changes: tuple[Diff, ...] = ()
    cursor: int | None = None
    instruction: str = ""
    task: Literal["rewrite", "write", "explain"] = "rewrite"
    turns: tuple[Turn, ...] = ()
    diagnostics: tuple[str, ...] = ()
    temperature: float | None = None
    left_to_right: bool = False
    start: tuple[StartPiece, ...] = ()
    trace: int = 0

    def __post_init__(self) -> None:
        if not self.holes:
            raise ValueError("a fill needs at least one hole")
        end = 0
        for hole in self.holes:
            if hole.start < end or hole.end > len(self.text):
                raise ValueError(f"hole {hole} overlaps another or lies outside the text of {len(self.text)}")
            end = hole.end
        if not 0.0 < self.strength <= 1.0:
            raise ValueError(f"strength is in (0, 1], not {self.strength}")
        if self.changes and len(self.holes) != 1:
            raise ValueError(f"what follows from changes is written in one hole, not in {len(self.holes)}")
        if self.instruction and (len(self.holes) != 1 or self.changes):
            raise ValueError("an instruction is about one hole, and not about what follows from changes")
        if not self.instruction and (self.turns or self.task != "rewrite"):
            raise ValueError("a task and earlier turns belong to an instruction")
        if self.start and len(self.holes) != 1:
            raise ValueError(f"a canvas can begin with a start for one hole, not for {len(self.holes)}")
        if self.temperature is not None and not 0.0 <= self.temperature <= 10.0:
            raise ValueError(f"temperature is in [0, 10], not {self.temperature}")
        if not 0 <= self.trace <= 20:
            raise ValueError(f"a slot can show 0 to 20 choices, not {self.trace}")
        if self.candidates < 1:
            raise ValueError(f"at least one candidate is wanted, not {self.candidates}")

    @property
    def identity(self) -> tuple[str, str]:
        """Return whose document it is: the newest request of it wins."""
        return self.client, self.document

    def splice(self, texts: tuple[str, ...]) -> str:
        """Return the document with each hole replaced; every code point outside the holes is the user's own."""
        out: list[str] = []
        at = 0
        for hole, fill in zip(self.holes, texts, strict=True):
            out += (self.text[at : hole.start], fill)
            at = hole.end
        out.append(self.text[at:])
        return "".join(out)


@dataclass(frozen=True, slots=True)
class DraftPiece:
    """A run of draft text; `settled` if the sampler accepted its tokens in this step."""

    text: str
    settled: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """The text of each hole so far: the argmax canvas after a denoising step, or what is written left to right.

    settled_share in 0..1. written: it is left to right, and more may come. frame: all candidates, in a traced fill.
    """

    step: int
    holes: tuple[tuple[DraftPiece, ...], ...]
    settled_share: float
    written: bool = False
    frame: Frame | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the draft text of each hole."""
        return tuple("".join(piece.text for piece in hole) for hole in self.holes)


VerdictStatus = Literal["valid", "no worse", "worse", "not checked"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The syntax gate's judgement of a spliced document against the snapshot it came from.

    valid: no ERROR or MISSING node in the whole spliced document. no worse: it had defects before and has no more
    now, or it waits for the body of a header. worse: new defects. not checked: no grammar, or over the time budget;
    `reason` says which.
    bad: broken spans (code points of the *spliced* document); in every "worse" one, and if a better fill could make a "no
    worse" one valid.
    """

    status: VerdictStatus
    reason: str = ""
    bad: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Confidence:
    """Certainty of a fill, measured on code that the model was not trained on.

    probability: that it is right, or right up to the end of its first line. precision: the share of right ones among all
    fills there that were at least as sure. Both in 0..1.
    """

    probability: float
    precision: float


@dataclass(frozen=True, slots=True)
class Fill:
    """The answer to a request.

    texts: one string a hole; all empty when nothing is offered, and then `reason` says why. If something is offered for
    other holes only, a hole keeps its text.
    treatment: the gate's work (`"none"`, `"repaired"`, `"cut"`, `"rejected"`).
    alternatives: further candidates that passed the gate, best first.
    nfe: decoder passes. ms: wall clock inside the engine. settled: False if the step limit came first.
    encoded: context tokens that had to be encoded. context: context tokens seen by the model.
    confidences: of `texts` and of each alternative; empty if nobody measured this model, or in a fill of several holes.
    traced: candidates and stages, in a traced fill.
    """

    texts: tuple[str, ...]
    verdict: Verdict
    reason: str = ""
    treatment: Literal["none", "repaired", "cut", "rejected"] = "none"
    alternatives: tuple[tuple[str, ...], ...] = ()
    nfe: int = 0
    ms: float = 0.0
    settled: bool = True
    encoded: int = 0
    context: int = 0
    confidences: tuple[Confidence, ...] = ()
    traced: Traced | None = None

    @property
    def empty(self) -> bool:
        """Return whether nothing is offered."""
        return not any(self.texts)
