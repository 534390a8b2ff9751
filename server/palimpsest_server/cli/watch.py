"""Draws the drafts of a fill in the terminal: settled text stands out, noise is dim."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from queue import Empty, SimpleQueue

from rich.console import Console, Group
from rich.live import Live
from rich.syntax import Syntax
from rich.text import Text

from palimpsest_engine import Draft, DraftPiece, Engine, Fill, FillRequest
from palimpsest_engine.syntax.grammars import language_of

SETTLED = "bold green"
UNSETTLED = "dim italic"
_AROUND = 6  # lines of the document above and below a hole
_FRAME_SECONDS = 0.05  # at least this long, since a small model denoises faster than one can watch
_TAB = " " * 4
_CONTROLS = (
    {code: chr(0x2400 + code) for code in range(32) if code != ord("\n")}
    | dict.fromkeys(range(0x7F, 0xA0), "\ufffd")
    | {ord("\t"): _TAB}
)


def watched(
    engine: Engine, request: FillRequest, console: Console | None = None, *, title: str = "", around: int = _AROUND
) -> Fill:
    """Ask the engine, draw the drafts on standard error, and return the answer. Raises the engine's errors.

    title: stands before the captions. around: lines of the document that are shown above and below a hole.
    """
    console = console or Console(stderr=True)
    scene = Scene(request, title, around)
    drafts: SimpleQueue[Draft] = SimpleQueue()
    job = engine.submit(request, drafts.put)
    try:
        loading = engine.status().state in ("starting", "loading")
        waiting = f"{title}{'loading the model' if loading else 'reading the text'} ..."
        with Live(Text(waiting, "dim"), console=console, auto_refresh=False) as live:
            while not (job.future.done() and drafts.empty()):
                try:
                    draft = drafts.get(timeout=_FRAME_SECONDS)
                except Empty:
                    continue
                live.update(scene.draw(draft), refresh=True)
                time.sleep(_FRAME_SECONDS)
            fill = job.future.result()
            live.update(scene.draw_end(fill), refresh=True)
    finally:
        job.cancel()
        if not console.is_terminal:
            console.line()  # `Live` leaves the last line open there
    return fill


@dataclass(frozen=True)
class Scene:
    """The lines around the holes of a request, with drafts in the holes. title, around: as in `watched`."""

    request: FillRequest
    title: str = ""
    around: int = _AROUND

    def draw(self, draft: Draft) -> Group:
        """Draw a draft and its progress."""
        settled = f"denoising step {draft.step}, {draft.settled_share:.0%} settled"
        caption = f"left to right, pass {draft.step}" if draft.written else settled
        return Group(self.text(draft.holes), Text(self.title + caption, "dim"))

    def draw_end(self, fill: Fill) -> Group:
        """Draw the answer and its cost; the old text if nothing is offered."""
        before = tuple(self.request.text[hole.start : hole.end] for hole in self.request.holes)
        texts = before if fill.empty else fill.texts
        outcome = "nothing offered" if fill.empty else f"syntax {fill.verdict.status}"
        caption = f"{fill.nfe} decoder passes in {fill.ms:.0f} ms, {outcome}"
        return Group(self.text(tuple((DraftPiece(text, True),) for text in texts)), Text(self.title + caption, "dim"))

    def text(self, holes: tuple[tuple[DraftPiece, ...], ...]) -> Text:
        """Return the visible lines, with these pieces in the holes."""
        shown = ""
        styled: list[tuple[int, int, str]] = []
        for index, kept in enumerate(self._kept):
            shown += kept
            for piece in holes[index] if index < len(holes) else ():
                start = len(shown)
                shown += plain(piece.text)
                styled.append((start, len(shown), SETTLED if piece.settled else UNSETTLED))
        text = Syntax("", self._lexer, theme="ansi_dark", background_color="default").highlight(shown)
        for start, end, style in styled:
            text.stylize("not bold not italic default", start, end)
            text.stylize(style, start, end)
        text.rstrip()
        text.overflow = "ellipsis"  # a line that is too wide is cut, and that is shown
        return text

    @cached_property
    def _lexer(self) -> str:
        return language_of(self.request.path, self.request.language) or "text"

    @cached_property
    def _kept(self) -> tuple[str, ...]:
        """Return the visible text before, between and after the holes, without lines far from any hole."""
        text, holes = self.request.text, self.request.holes
        starts = (0, *(hole.end for hole in holes))
        ends = (*(hole.start for hole in holes), len(text))
        kept = []
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            lines = text[start:end].replace("\r\n", "\n").split("\n")
            above = lines[: self.around + 1] if index > 0 else []
            below = lines[-self.around - 1 :] if index < len(holes) else []
            whole = len(above) + len(below) >= len(lines) and index not in (0, len(holes))
            gap = ["    \u22ee"] if above and below else []
            kept.append(plain("\n".join(lines if whole else above + gap + below)))
        return tuple(kept)


def plain(text: str) -> str:
    """Replace control characters by their pictures, so that the text cannot steer the terminal."""
    return text.replace("\r\n", "\n").translate(_CONTROLS)
