"""Draw a recording as one animated SVG; pure. It has no script, so it plays wherever a picture may stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from palimpsest_canvas.recording import Begun, Cell, Failed, Outcome, Picture, Recording

_SIZE, _WIDE, _HIGH, _MARGIN = 14, 8.43, 20, 16  # pixels: of the font, a character, a line, around all
_COLUMNS = (48, 110)  # the fewest and the most shown
_BEFORE, _AFTER = 12, 8  # lines of context
_FRAMES = 48  # of a track, at most
_STEP_SECONDS, _LONGEST_SECONDS, _PAUSE_SECONDS = 0.35, 12.0, 3.0
_OLD_SECONDS = 1.5  # for the text that was there
_BOUNDS = (0.2, 0.7, 1.5, 2.5)  # entropies in nats between the colours
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_LIGHT = {"bg": "#fff", "fg": "#1f2328", "dim": "#6e7781", "pin": "#8250df"}
_DARK = {"bg": "#0d1117", "fg": "#e6edf3", "dim": "#8b949e", "pin": "#d2a8ff"}
_CALM_TO_WILD_LIGHT = ("#1a7f37", "#5a7a00", "#946800", "#bc5a00", "#cf222e")
_CALM_TO_WILD_DARK = ("#3fb950", "#a5c34a", "#e3b341", "#f0883e", "#ff7b72")

Piece = tuple[str, str]  # a text, and the class of its colour
Line = list[Piece]


@dataclass(frozen=True, slots=True)
class Track:
    """One fill as it is drawn. moments: (seconds in the animation, lines). label: stands above it. notes: one a moment."""

    label: str
    moments: tuple[tuple[float, list[Line]], ...]
    notes: tuple[str, ...]

    @property
    def height(self) -> int:
        """Return the most lines that it ever has."""
        return max(len(lines) for _, lines in self.moments)

    def after(self, seconds: float) -> Track:
        """Return the same, so much later; the first moment stays where it is."""
        first, *others = self.moments
        return replace(self, moments=(first, *((at + seconds, lines) for at, lines in others)))


def animated(recording: Recording) -> str:
    """Return the SVG. It loops with a pause; with reduced motion, only the end is shown."""
    begun, beside = recording.begun, recording.beside
    clocks = [frame.ms for frame in (*recording.frames, *(beside.frames if beside else ()))]
    steps = max(len(recording.frames), len(beside.frames) if beside else 0)
    length = min(_LONGEST_SECONDS, max((steps + 1) * _STEP_SECONDS, max(clocks, default=0.0) / 1000))
    # The longest clock takes all of it, and every other one its share.
    ends = [end.ms for end in (recording.outcome, beside.outcome if beside else None) if isinstance(end, Outcome)]
    scale = length / max(*clocks, *ends, 1.0, 1.0)
    tracks = [_track(begun, f"filled by {begun.model}", recording.frames, recording.outcome, scale)]
    if beside is not None:
        tracks.append(_track(begun, f"left to right by {beside.model}", beside.frames, beside.outcome, scale))
    lead = _OLD_SECONDS if begun.hole.strip() else 0.0
    return _drawn(begun, [track.after(lead) for track in tracks], lead + length + _PAUSE_SECONDS)


# What is to be seen when


def _track(begun: Begun, label: str, frames: Sequence[Picture], end: Outcome | Failed | None, scale: float) -> Track:
    struck = [(each, "old" if each.strip() else "dim") for each in re.split(r"(^\s+)", begun.hole, flags=re.MULTILINE)]
    old = struck if begun.hole.strip() else [("\u2588", "e4")]
    moments: list[tuple[float, list[Line]]] = [(0.0, _lines(begun, old))]
    notes = ["before" if begun.hole.strip() else "0 ms"]
    ranks = {each.number: each.rank for each in end.candidates} if isinstance(end, Outcome) else {}
    for frame in _sampled(frames):
        # The chosen one may have begun late: until then, the best of the others stands there.
        lane = min(frame.lanes, key=lambda lane: ranks.get(lane.number, len(ranks)), default=None)
        if lane is None:
            continue
        middle = [_pieces(hole) for hole in lane.holes]
        moments.append((frame.ms * scale, _lines(begun, _between(middle, begun.between))))
        notes.append(f"step {frame.step}, {frame.ms:.0f} ms")
    if isinstance(end, Outcome):
        texts = [[(text, "fg")] for text in end.texts] if any(end.texts) else [[(begun.hole, "fg")]]
        moments.append((end.ms * scale, _lines(begun, _between(texts, begun.between))))
        notes.append(f"{end.nfe} passes, {end.ms:.0f} ms: {end.reason or end.verdict.status}")
    elif isinstance(end, Failed):
        notes[-1] = end.error
    return Track(label, tuple(moments), tuple(notes))


def _sampled(frames: Sequence[Picture]) -> Iterable[Picture]:
    """Return all frames, or some of many, the last one among them."""
    if len(frames) <= _FRAMES:
        return frames
    return [frames[round(at * (len(frames) - 1) / (_FRAMES - 1))] for at in range(_FRAMES)]


def _pieces(hole: Sequence[Cell]) -> list[Piece]:
    return [(cell.text, _colour(cell)) for cell in hole if cell.text]


def _colour(cell: Cell) -> str:
    if cell.state != "o":
        return "pin" if cell.state == "p" else "fg"
    return f"e{sum(cell.entropy > bound for bound in _BOUNDS)}"


def _between(holes: Sequence[list[Piece]], between: Sequence[str]) -> list[Piece]:
    """Return the holes with the texts between them."""
    found: list[Piece] = []
    for at, hole in enumerate(holes):
        found += hole
        if at < len(between):
            found.append((between[at], "dim"))
    return found


def _lines(begun: Begun, middle: list[Piece]) -> list[Line]:
    """Return the lines that the holes touch: the end of the line before them, they, and the rest of the line after them."""
    before, after = begun.prefix.rpartition("\n")[2], begun.suffix.partition("\n")[0]
    return _parted([(before, "dim"), *middle, (after, "dim")])


def _parted(pieces: Iterable[Piece]) -> list[Line]:
    lines: list[Line] = [[]]
    for text, colour in pieces:
        for at, part in enumerate(_plain(text).split("\n")):
            if at:
                lines.append([])
            if part:
                lines[-1].append((part, colour))
    return [_cut(line) for line in lines]


def _plain(text: str) -> str:
    """Return a text as XML can have it."""
    return _NO_XML.sub("\ufffd", text).replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")


def _cut(line: Line) -> Line:
    found: Line = []
    room = _COLUMNS[1]
    for text, colour in line:
        if len(text) > room:
            return [*found, (text[: room - 1] + "\u2026", colour)] if room else found
        found.append((text, colour))
        room -= len(text)
    return found


# Drawing


def _drawn(begun: Begun, tracks: Sequence[Track], seconds: float) -> str:
    before = _parted([(begun.prefix.rpartition("\n")[0], "dim")])[-_BEFORE:] if "\n" in begun.prefix else []
    after = _parted([(begun.suffix.partition("\n")[2], "dim")])[:_AFTER] if "\n" in begun.suffix else []
    body: list[str] = []
    rules: list[str] = []
    longest, row = _COLUMNS[0], 0

    def put(lines: Sequence[Line], first: int) -> str:
        nonlocal longest
        longest = max((longest, *(sum(len(text) for text, _ in line) for line in lines)))
        return "".join(_text(line, first + at) for at, line in enumerate(lines) if line)

    for track in tracks:
        body.append(put([_named(track.label)], row))
        row += 1
        body.append(put(before, row))
        top = row + len(before)
        for at, (begins, lines) in enumerate(track.moments):
            last = at == len(track.moments) - 1
            shown = put(lines, top) + put([_named(track.notes[at])], top + track.height + len(after))
            name = f"m{len(rules)}"
            body.append(f'<g class="m {name}{" last" if last else ""}">{shown}</g>')
            ends = 100.0 if last else track.moments[at + 1][0] / seconds * 100
            rules.append(_rule(name, begins / seconds * 100, ends, seconds))
        body.append(put(after, top + track.height))
        row = top + track.height + len(after) + 2
    width = round(longest * _WIDE + 2 * _MARGIN)
    height = row * _HIGH + 2 * _MARGIN - _HIGH
    title = escape(_plain(f"A fill of {begun.name}, step by step"))
    end = escape(_plain("".join(text for line in tracks[0].moments[-1][1] for text, _ in [*line, ("\n", "")]).strip()))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="t d">\n<title id="t">{title}</title>\n<desc id="d">{end}</desc>\n'
        f"<style>{_style()}{''.join(rules)}"
        "@media(prefers-reduced-motion:reduce){.m{animation:none!important}}</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="var(--bg)"/>\n{"".join(body)}\n</svg>\n'
    )


def _rule(name: str, begins: float, ends: float, seconds: float) -> str:
    """Return the rule that shows a group from one share of the animation to another, in percent."""
    begins, ends = min(begins, 100.0), min(max(begins, ends), 100.0)
    early = "0%{visibility:hidden}" if begins > 0 else ""
    late = f"{ends:.3f}%{{visibility:hidden}}" if ends < 100 else ""
    frames = f"{early}{begins:.3f}%{{visibility:visible}}{late}"
    return f".{name}{{animation:{name} {seconds:.2f}s step-end infinite}}@keyframes {name}{{{frames}}}\n"


def _style() -> str:
    names = [*_LIGHT, *(f"e{at}" for at in range(len(_CALM_TO_WILD_LIGHT)))]
    light, dark = ([*_LIGHT.values(), *_CALM_TO_WILD_LIGHT], [*_DARK.values(), *_CALM_TO_WILD_DARK])
    root, night = (
        ":root{" + ";".join(f"--{name}:{colour}" for name, colour in zip(names, colours, strict=True)) + "}"
        for colours in (light, dark)
    )
    return (
        f"{root}@media(prefers-color-scheme:dark){{{night}}}"
        f"text{{font:{_SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}}"
        f"{''.join(f'.{name}{{fill:var(--{name})}}' for name in names)}"
        ".name{fill:var(--dim);font-style:italic}.pin{font-weight:bold}.old{fill:var(--dim);text-decoration:line-through}.m{visibility:hidden}.last{visibility:visible}\n"
    )


def _named(words: str) -> Line:
    return _cut([(_plain(words).replace("\n", " "), "name")])


def _text(line: Line, row: int) -> str:
    spans = "".join(f'<tspan class="{colour}">{escape(text)}</tspan>' for text, colour in line)
    return f'<text xml:space="preserve" x="{_MARGIN}" y="{_MARGIN + row * _HIGH + _SIZE}">{spans}</text>'
