"""Hold what a checkpoint says of itself beyond its Hugging Face config: dialect, hole sizes, sampling. Torch-free."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

SPEC_FILE = "palimpsest.json"
FILE_MARKS = ("<|file_sep|>", "<file_sep>", "<filename>", "<|file_separator|>")  # control tokens before other files
SECOND_OPINION = (8, 16)  # tokens of the holes in which a line is denoised that was not right left to right
SURE = 0.05  # mean entropy of a hole, in nats, below which others found the text of the 26B settled
TURN_MARKS = ("<|im_start|>", "<|im_end|>")  # control tokens around the turns of a chat
EditFormat: TypeAlias = Literal["", "chatml", "sweep", "zeta2", "canvas"]
Turns: TypeAlias = tuple[str, str]  # before and after a question
SOURCES = ("imports", "documents", "diagnostics", "edits")  # of context from elsewhere


@dataclass(frozen=True, slots=True)
class Sampling:
    """max_steps at most; temperature falls linearly from t_max to t_min over them, and 0 takes the likeliest token.

    A step accepts slots in the order of their certainty, `by` the entropy, the probability of the token, or the margin to the
    next likely one: as long as their joint entropy is at most `entropy_bound` nats (arXiv 2505.24857; None for no such rule),
    and all whose token is more probable than `threshold`. linear_to: and at least so many, rounded down, that the share of
    noise falls evenly from 1 to this and all are accepted when the steps end; None for no such rule. each: so many slots,
    whatever the steps; None for no such rule. top_p: tokens are drawn from the likeliest ones that have so much of the
    probability together. Certainty is that of the probabilities that tokens are drawn from.

    A model that revises stops when the argmax has stood still for `stability` steps and the mean hole entropy is below
    `confidence` nats, or, whatever the entropy, when it has stood still for `still` steps; None for no such rule. One that
    does not, or that keeps its tokens, stops when all slots are accepted.
    unsure: a row whose mean hole entropy is above so many nats in the end is left out if another one is surer; None for no
    such rule.
    again: so many times all rows are drawn anew if each of them is unsure.
    The defaults are the 26B's own generation config.
    """

    max_steps: int = 48
    t_min: float = 0.4
    t_max: float = 0.8
    entropy_bound: float | None = 0.1
    stability: int = 1
    confidence: float = 0.005
    threshold: float | None = None
    linear_to: float | None = None
    by: Literal["entropy", "probability", "margin"] = "entropy"
    top_p: float = 1.0
    each: int | None = None
    still: int | None = None
    unsure: float | None = None
    again: int = 0

    @property
    def remembered(self) -> int:
        """Return the number of drafts that the stop test compares with."""
        return max(self.stability, self.still or 0)


@dataclass(frozen=True, slots=True)
class Denoising:
    """The way in which a checkpoint denoises; the defaults are the 26B's.

    noise: `uniform`, any token, or `mask`, the one id `mask_id`, which no text has. shift: a slot is read from the position
    before it, as left-to-right models predict. context: `causal`, read once from left to right and kept, or `both`, read in
    each pass together with the canvas, where all see all. conditioned: the decoder is told the last step's probabilities.
    revises: each step decides on all slots anew, and those it does not accept are noise again; otherwise what was accepted
    stays. keeps: one that revises leaves a slot that it accepts again the token it had.
    grow_id, shrink_id: ids by which a slot says that it is to be two slots, or none; None for no such ids. shrinks_rest: a
    slot that goes takes the noise behind it in its hole along. longest: no slot grows where there are so many, or once so
    many have grown; None for no limit.
    block: text is written left to right, in blocks at multiples of so many positions, which see themselves and all before
    them; each is denoised by steps of its own. None: there are no blocks.
    """

    noise: Literal["uniform", "mask"] = "uniform"
    mask_id: int | None = None
    shift: bool = False
    context: Literal["causal", "both"] = "causal"
    conditioned: bool = True
    revises: bool = True
    keeps: bool = False
    grow_id: int | None = None
    shrink_id: int | None = None
    shrinks_rest: bool = False
    longest: int | None = None
    block: int | None = None

    @property
    def lasts(self) -> bool:
        """Return whether a token that was accepted is never exchanged for another one without being noise again."""
        return self.keeps or not self.revises


@dataclass(frozen=True, slots=True)
class Chat:
    """The way in which the `chat` dialect asks.

    template: by which the turns are made: the `folder`'s own; or one of the known ones, with an empty block of `thought`, as
    DiffusionGemma was published and as a folder without a template is asked, or `plain`, without it, as it is now.
    thinking: the template is told that the model may think. instruction: the sentence before the text after the hole, with
    `{language}` for its language; None for the usual one.
    turns: what stands before and after the question, control tokens spelled out; None for the known ones.
    """

    template: Literal["folder", "thought", "plain"] = "folder"
    thinking: bool = False
    instruction: str | None = None
    turns: Turns | None = None


def known_turns(chat: Chat) -> Turns:
    """Return the turns of DiffusionGemma, by its first template or, if the `plain` one is wanted, by its later one.

    With thinking, a turn of the system asks for thoughts, and no empty block of them is written.
    """
    system = "<|turn>system\n<|think|>\n<turn|>\n" if chat.thinking else ""
    block = "" if chat.thinking or chat.template == "plain" else "<|channel>thought\n<channel|>"
    return f"<bos>{system}<|turn>user\n", f"<turn|>\n<|turn>model\n{block}"


@dataclass(frozen=True, slots=True)
class Spec:
    """dialect: `fim` (suffix, then prefix, then the canvas), `chat` (the same inside a user and a model turn), `taught`:
    as the control tokens in the tokenizer say that a left-to-right model was taught to fill in the middle, or `sides`: the
    canvas between the two sides, as they stand in the text, and nothing else but a first and a last token.
    order: of the two sides in a `taught` prompt, suffix first (`spm`) or prefix first (`psm`). denoises: whether it can
    denoise a canvas; one that cannot writes left to right, a token or a block at a time. denoising: how it does.
    filler: id the checkpoint puts after a middle too short for its hole; None if it was not trained to.
    suffix_id, prefix_id, bos_id: the `fim` dialect's control tokens. bos_id, eos_id: the first and the last token of the
    `sides` dialect, None for none. context, suffix: token budgets of the encoder; in the `sides` dialect of all tokens,
    those of the canvas included, and of those after it.
    canvas: most canvas positions. pins: right pins wanted in a canvas. whole_canvas: fill up to `canvas` with more of them.
    hole_sizes: tried as one batch. line_sizes: those for a fill within a line (empty: the same). near: where a hole replaces
    text, its length times each of these, the first first, takes the place of the nearest size; if it is longer, that of all.
    written, written_in_line: most tokens that are written left to right, in all and in a line; 0 for what the sizes and pins
    allow. fresh: whether a hole at full strength is denoised, or written left to right, which leaves denoising to what keeps
    a part of the text.
    written_passes: most passes for a text that is written beside denoised ones; one that has not ended by then is left out. 0
    for no limit.
    tries: rows of each size, each with noise of its own.
    steps_by_size: pairs (tokens, steps), ascending: a canvas whose shortest row has at most so many hole tokens takes at
    most so many steps; a longer one `sampling.max_steps`.
    prune: pairs (step, rows): after that denoising step only so many of the most certain sizes go on.
    languages: what it was trained on; empty for everything. length_power: exponent of the length normalisation in ranking.
    causal_candidates: so many lines, written left to right by the causal encoder, stand beside what is denoised, and the
    ranking chooses. blank_line_candidates: as many where nothing else stands on the hole's line; None: no other number.
    chat: how the `chat` dialect asks.
    edits: how it is asked for the next edit: in a format of left-to-right models (`prompt/edit_formats.py`), on a `canvas`
    that begins with the present text, or "" for not at all.
    left_to_right: a control for the evaluation, trained left to right and for nothing else; its filler
    ends a middle, and the engine does not serve it.
    profiles: by the name of a profile, `fast` or `thorough`, the values of `sampling`, `steps_by_size` and
    `causal_candidates` that are others with it; `profile.py` puts them in place. All other values are those of `balanced`.
    sha256: of each weights file, checked on loading where given.
    """

    name: str
    dialect: Literal["fim", "chat", "taught", "sides"] = "chat"
    order: Literal["spm", "psm"] = "spm"
    denoises: bool = True
    languages: tuple[str, ...] = ()
    filler: int | None = None
    bos_id: int | None = 2
    eos_id: int | None = None
    suffix_id: int | None = None
    prefix_id: int | None = None
    context: int = 8192
    suffix: int = 2048
    excerpts: int = 2048
    sources: tuple[str, ...] = ()
    canvas: int = 256
    pins: int = 32
    whole_canvas: bool = False
    hole_sizes: tuple[int, ...] = (8, 16, 32, 64)
    line_sizes: tuple[int, ...] = ()
    near: tuple[float, ...] = ()
    written: int = 0
    written_in_line: int = 0
    written_passes: int = 0
    fresh: Literal["denoised", "written"] = "denoised"
    tries: int = 1
    steps_by_size: tuple[tuple[int, int], ...] = ()
    prune: tuple[tuple[int, int], ...] = ()
    length_power: float = 1.0
    causal_candidates: int = 0
    blank_line_candidates: int | None = None
    left_to_right: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    denoising: Denoising = field(default_factory=Denoising)
    chat: Chat = field(default_factory=Chat)
    edits: EditFormat = ""
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)

    @property
    def instructs(self) -> bool:
        """Return whether it can be told what to do with a text."""
        return self.edits == "chatml" or (self.dialect == "chat" and self.denoises)

    @property
    def elsewhere(self) -> int:
        """Tokens that excerpts may take: the document itself keeps three quarters of the context."""
        return min(self.excerpts, self.context // 4)

    def steps(self, tokens: int) -> int:
        """Return the most denoising steps of a canvas whose shortest row has so many hole tokens."""
        return next((steps for size, steps in self.steps_by_size if tokens <= size), self.sampling.max_steps)


def edits_of(model: str) -> EditFormat:
    """Return the format of next edits that a published model was taught, by its name; "" for all others."""
    name = model.lower()
    return "sweep" if "sweep-next-edit" in name else "zeta2" if re.search(r"zeta[-_.]?2", name) else ""


def spec_of_causal(name: str, bos_id: int | None, device: str, *, files: bool, edits: EditFormat = "") -> Spec:
    """Return the description of a left-to-right model that has none of its own. files: it was taught marks for other files.
    edits: as in `Spec`.

    What such a model is shown of other files helps it (`docs/context.md` has the figures).

    On two cores a 0.5B model reads about 900 tokens a second, and a cursor that jumps has to be answered in about one.
    """
    context, suffix, excerpts = (1024, 256, 512) if device == "cpu" else (8192, 2048, 2048)
    return Spec(
        name,
        dialect="taught",
        denoises=False,
        bos_id=bos_id,
        context=context,
        suffix=suffix,
        excerpts=excerpts,
        sources=SOURCES if files else (),
        hole_sizes=(128,),
        line_sizes=(48,),
        written=128,
        written_in_line=48,
        edits=edits,
    )


def spec_of_chat(name: str, device: str) -> Spec:
    """Return what holds for an instruction-tuned diffusion model as far as its description does not say otherwise.

    Its canvas has no filler, so a hole of the wrong size costs most; what its causal encoder writes has the length that it
    takes. One such candidate, and a short one: a pass writes a token and takes a GPU longer than a step of a canvas does. It
    is the likeliest text, and the denoised ones are its guesses, of which a pass checks many; if it goes its own way for
    long, it is given up. A second one would be drawn by chance, and would take other experts in each of its passes.
    The sizes are those that lie near most middles of held-out code in the tokens of its vocabulary (ADR 46). It was trained
    with whole canvases, and needs more steps in small ones. A GPU reads most of its weights for any canvas, so more rows and
    positions cost it little; on a CPU the time grows with each.
    The steps and the entropies are those that others report of it: the fewest errors with 16 at most, and text that had long
    settled when the published rule stopped.
    None of this was measured on the 26B.
    """
    small = device == "cpu"
    return Spec(
        name,
        edits="canvas",
        whole_canvas=not small,
        hole_sizes=(12, 24, 36, 56) if small else (8, 16, 24, 32, 44, 60, 80),
        line_sizes=(3, 6, 12, 24) if small else (3, 5, 8, 12, 16, 24, 32),
        near=(1.0,) if small else (1.0, 0.75, 1.35),
        causal_candidates=1,
        written=48,
        written_in_line=32,
        written_passes=12,
        sampling=Sampling(max_steps=16, confidence=SURE, unsure=0.2, again=1),
        profiles={
            "fast": {"max_steps": 8, "again": 0, "causal_candidates": 0},
            "thorough": {"max_steps": 24, "confidence": Sampling().confidence},
        },
    )


def denoising_too(spec: Spec, denoising: Denoising, filler: int, sizes: tuple[int, ...], pins: tuple[int, int]) -> Spec:
    """Return the description of a left-to-right model with a denoiser: the sizes, pins and filler of its training.

    New text is written left to right, which is better (`docs/evaluation.md`); the denoiser has what keeps a part of a text,
    and the second opinion where a line does not parse.
    """
    return replace(
        spec,
        denoises=True,
        fresh="written",
        denoising=denoising,
        filler=filler,
        canvas=max(sizes) + pins[1],
        pins=pins[1],
        hole_sizes=sizes,
        line_sizes=tuple(size for size in SECOND_OPINION if size <= max(sizes)),
        sampling=Sampling(max_steps=16, t_min=0.0, t_max=0.0, entropy_bound=0.1, linear_to=0.0, by="probability"),
    )
