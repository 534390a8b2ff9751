"""The frozen values that show a fill at work: every position of every candidate, step by step. Text only, no tensors.

A request asks for them with `FillRequest.trace`; a `Draft` then carries a `Frame`, and the `Fill` a `Traced`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SlotState = Literal["pinned", "settled", "open"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A token that could stand in a slot. probability in 0..1. key: as in `Slot`."""

    text: str
    probability: float
    key: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One position of a hole, and the token that stands in it.

    text: the token by itself, line ends as `\\n`. It is "" for filler, and for a first token that only writes again what
    stands before the hole; of a character in several tokens the last one has it, and the others U+FFFD. entropy: in nats,
    when the position was last decided on; 0 for pins. state: "pinned" by the request, "settled" if the sampler accepted it
    in this step, "open" otherwise. key: the engine's own name of the token, which `StartPiece.key` takes back. choices: the
    likeliest tokens there when it was last decided on, the first one first, without those below 0.1 %; what is pinned has
    none.
    """

    text: str
    entropy: float
    state: SlotState
    key: int
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Lane:
    """A candidate in one step.

    number: stays the same for all frames of a fill. holes: the slots of each hole; none for one that is not filled together
    with the others. finished: it does not change any more.
    """

    number: int
    kind: Literal["denoised", "written"]
    holes: tuple[tuple[Slot, ...], ...]
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """All candidates that are left after one step. ms: since the engine began with the request."""

    ms: float
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """The judgement of one candidate.

    number: of its lane; -1 if it had none. texts: as it would be offered, one string a hole. verdict, reason: the gate's.
    rank: 0 for the best. score: what it was ranked by, larger for better, comparable within one fill only; None if it was
    the only one. chosen: it is the fill that is offered.
    """

    number: int
    texts: tuple[str, ...]
    rank: int
    score: float | None
    verdict: Literal["valid", "no worse", "worse", "not checked"]
    reason: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the work, and its wall clock in milliseconds."""

    name: str
    ms: float


@dataclass(frozen=True, slots=True)
class Traced:
    """The end of a traced fill: its candidates, the best first, and where the time went."""

    candidates: tuple[Judged, ...]
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class StartPiece:
    """A stretch of the one hole as its canvas begins.

    text: of "pinned" and "present" pieces. A pinned one stays. A present one may be decided on again by a model that decides
    on all slots in each step; one that keeps what it has accepted keeps it, too, unless it is made noise. slots: number of
    positions of a "noise" piece. key: names the one token that the text is, as a `Slot` had it; None to encode the text.
    """

    state: Literal["pinned", "present", "noise"]
    text: str = ""
    slots: int = 0
    key: int | None = None

    def __post_init__(self) -> None:
        if self.slots < 0:
            raise ValueError(f"a piece has no fewer than 0 slots, not {self.slots}")
