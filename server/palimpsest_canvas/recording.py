"""The recording of a fill as JSON, and back; pure. `docs/canvas.md` describes the format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import msgspec

from palimpsest_engine import Draft, Fill, FillRequest, Frame, Lane, PalimpsestError, Slot

FORMAT = 1
_LINES, _CHARACTERS = 40, 8000  # of the text shown on either side of the holes
_LETTERS: dict[str, Literal["p", "s", "o"]] = {"pinned": "p", "settled": "s", "open": "o"}


class Choice(msgspec.Struct, array_like=True, frozen=True):
    """A token that could stand in a slot."""

    text: str
    probability: float
    key: int


class Cell(msgspec.Struct, array_like=True, frozen=True):
    """A slot: its token, entropy in nats, state (pinned, settled or open), the token's key, and the choices."""

    text: str
    entropy: float
    state: Literal["p", "s", "o"]
    key: int
    choices: tuple[Choice, ...] = ()


class Row(msgspec.Struct, frozen=True):
    """A candidate in one frame."""

    number: int
    kind: Literal["denoised", "written"]
    finished: bool
    holes: tuple[tuple[Cell, ...], ...]


class Picture(msgspec.Struct, frozen=True):
    """A frame. ms: since the request began."""

    ms: float
    step: int
    lanes: tuple[Row, ...]


class Judgement(msgspec.Struct, frozen=True):
    """The syntax gate's verdict on the text that is offered."""

    status: str
    reason: str


class Candidate(msgspec.Struct, frozen=True):
    """One of the texts that the engine chose from."""

    number: int
    texts: tuple[str, ...]
    rank: int
    score: float | None
    verdict: str
    reason: str
    chosen: bool


class Outcome(msgspec.Struct, frozen=True):
    """The end of a fill."""

    texts: tuple[str, ...]
    reason: str
    verdict: Judgement
    treatment: str
    nfe: int
    ms: float
    settled: bool
    candidates: tuple[Candidate, ...]
    stages: tuple[tuple[str, float], ...]


class Failed(msgspec.Struct, frozen=True):
    """The end of a fill that failed or was cancelled. error: a sentence."""

    error: str


class Settings(msgspec.Struct, frozen=True):
    """The user's choices; None for the model's own."""

    strength: float
    steps: int | None
    temperature: float | None
    seed: int


class Begun(msgspec.Struct, frozen=True):
    """All of a recording that is known when the fill begins."""

    name: str
    language: str
    model: str
    device: str
    prefix: str
    between: tuple[str, ...]
    suffix: str
    hole: str
    settings: Settings
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Beside:
    """The fill that the same weights wrote left to right; its clock begins at 0, too."""

    model: str
    frames: tuple[Picture, ...] = ()
    outcome: Outcome | Failed | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """A fill from its beginning to its end. outcome: None while it runs."""

    begun: Begun
    frames: tuple[Picture, ...] = ()
    outcome: Outcome | Failed | None = None
    beside: Beside | None = None


def begun(request: FillRequest, name: str, model: str, device: str) -> Begun:
    """Return what is known of a request when it begins."""
    text, holes = request.text, request.holes
    return Begun(
        name=name,
        language=request.language or "",
        model=model,
        device=device,
        prefix=_last_lines(text[: holes[0].start]),
        between=tuple(text[one.end : other.start] for one, other in pairwise(holes)),
        suffix=_first_lines(text[holes[-1].end :]),
        hole=text[holes[0].start : holes[0].end] if len(holes) == 1 else "",
        settings=Settings(request.strength, request.max_steps, request.temperature, request.seed),
    )


def picture(draft: Draft, *, choices: bool = True) -> Picture | None:
    """Return the frame of a draft, if it has one. choices: with what else could stand in each slot."""
    frame: Frame | None = draft.frame
    if frame is None:
        return None
    return Picture(round(frame.ms, 1), draft.step, tuple(_row(lane, choices) for lane in frame.lanes))


def outcome(fill: Fill) -> Outcome:
    """Return the end of a fill."""
    traced = fill.traced
    return Outcome(
        texts=fill.texts,
        reason=fill.reason,
        verdict=Judgement(fill.verdict.status, fill.verdict.reason),
        treatment=fill.treatment,
        nfe=fill.nfe,
        ms=round(fill.ms, 1),
        settled=fill.settled,
        candidates=tuple(
            Candidate(
                one.number,
                one.texts,
                one.rank,
                None if one.score is None else round(one.score, 4),
                one.verdict,
                one.reason,
                one.chosen,
            )
            for one in (traced.candidates if traced else ())
        ),
        stages=tuple((stage.name, round(stage.ms, 2)) for stage in (traced.stages if traced else ())),
    )


def _row(lane: Lane, choices: bool) -> Row:
    return Row(
        lane.number,
        lane.kind,
        lane.finished,
        tuple(tuple(_cell(slot, choices) for slot in hole) for hole in lane.holes),
    )


def _cell(slot: Slot, choices: bool) -> Cell:
    found = slot.choices if choices else ()
    return Cell(
        slot.text,
        round(slot.entropy, 3),
        _LETTERS[slot.state],
        slot.key,
        tuple(Choice(each.text, round(each.probability, 4), each.key) for each in found),
    )


def _last_lines(text: str) -> str:
    return "".join(text[-_CHARACTERS:].splitlines(keepends=True)[-_LINES:])


def _first_lines(text: str) -> str:
    return "".join(text[:_CHARACTERS].splitlines(keepends=True)[:_LINES])


# As JSON


def as_json(
    head: Begun,
    frames: Sequence[Picture | msgspec.Raw],
    end: Outcome | Failed | None,
    beside: dict[str, Any] | None,
) -> bytes:
    """Return a recording as JSON. frames: values, or JSON already. beside: as in `beside_value`."""
    value = msgspec.structs.asdict(head)
    format_ = value.pop("format")
    return msgspec.json.encode({"format": format_, **value, "frames": frames, "outcome": end, "beside": beside})


def beside_value(model: str, frames: Sequence[Picture | msgspec.Raw], end: Outcome | Failed | None) -> dict[str, Any]:
    """Return the value of the key `beside`."""
    return {"model": model, "frames": frames, "outcome": end}


def write(recording: Recording) -> bytes:
    """Return a recording as JSON."""
    beside = recording.beside
    value = None if beside is None else beside_value(beside.model, beside.frames, beside.outcome)
    return as_json(recording.begun, recording.frames, recording.outcome, value)


class _BesideRead(msgspec.Struct):
    model: str
    frames: tuple[Picture, ...] = ()
    outcome: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(b"null"))


class _Read(msgspec.Struct):
    frames: tuple[Picture, ...] = ()
    outcome: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(b"null"))
    beside: _BesideRead | None = None


def read(data: bytes) -> Recording:
    """Return a recording that was written as JSON. Raises PalimpsestError if it is none."""
    try:
        head = msgspec.json.decode(data, type=Begun)
        rest = msgspec.json.decode(data, type=_Read)
        if head.format != FORMAT:
            raise PalimpsestError(f"the recording has the format {head.format}, which this version does not know")
        beside = rest.beside
        return Recording(
            head,
            rest.frames,
            _end(rest.outcome),
            None if beside is None else Beside(beside.model, beside.frames, _end(beside.outcome)),
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PalimpsestError(f"this is no recording of a fill: {error}") from error


def _end(raw: msgspec.Raw) -> Outcome | Failed | None:
    value = msgspec.json.decode(raw)
    if value is None:
        return None
    if isinstance(value, dict) and "error" in value:
        return msgspec.convert(value, Failed)
    return msgspec.convert(value, Outcome)
