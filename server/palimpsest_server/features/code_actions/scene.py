"""Look at the text around a selection, and find the spans that each action writes over; knows no LSP types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from palimpsest_engine import Complaints, Outline, Span
from palimpsest_server.documents import window
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.protocol import positions
from palimpsest_server.session.session import Session

_LONGEST_WORD = 256
_WORD, _WORD_BEFORE = re.compile(r"\w+"), re.compile(r"\w+\Z")


@dataclass(frozen=True, slots=True)
class Scene:
    """A selection and the text around it; offsets are those of `text`.

    text: the document, or a window of a large one, which begins at offset `base`. chosen: the selection, empty for a
    cursor. problems: places that other tools complain about. outline, complaints: None where the document is too large for
    them.
    """

    text: str
    base: int
    chosen: Span
    problems: tuple[Span, ...]
    outline: Outline | None
    complaints: Complaints | None = None

    @property
    def line(self) -> Span:
        """Return the line that the selection begins on."""
        return Span(*positions.line_around(self.text, self.chosen.start))


async def scene_of(
    session: Session, document: Snapshot, chosen: Span, problems: Sequence[Span], *, parses: bool
) -> Scene | None:
    """Return the text around a selection; None if the selection is too much of a large document.

    parses: an outline is needed. It is made on another thread when it is first asked.
    """
    small = window.is_small(document)
    if not small and chosen.end - chosen.start > 2 * window.STRIDE:
        return None
    text, base = window.around(document, chosen.start, chosen.end)
    end = base + len(text)
    seen = (
        Span(max(p.start, base) - base, min(p.end, end) - base) for p in problems if p.start <= end and base <= p.end
    )
    outline = session.surroundings.outline(document, text) if parses and small else None
    complaints = None
    if outline is not None:
        cell = bool(session.documents.notebook_of(document.uri))
        complaints = Complaints(text, *language_and_path(document), cell=cell)
    return Scene(text, base, Span(chosen.start - base, chosen.end - base), tuple(seen), outline, complaints)


def language_and_path(document: Snapshot) -> tuple[str | None, str | None]:
    """Return the language and the path of a document, as the engine has them."""
    return document.language or None, str(document.path or "") or None


# The spans that each action writes over


def selected(scene: Scene) -> tuple[Span, ...]:
    """Return the selection without the blanks at its ends, unless it is nothing but blanks."""
    text = scene.text[scene.chosen.start : scene.chosen.end]
    if not text:
        return ()
    start = scene.chosen.start + len(text) - len(text.lstrip()) if text.strip() else scene.chosen.start
    return (Span(start, start + (len(text.strip()) or len(text))),)


def selected_code(scene: Scene) -> tuple[Span, ...]:
    """Return the selection, if there is anything in it but blanks."""
    return selected(scene) if scene.text[scene.chosen.start : scene.chosen.end].strip() else ()


def selected_lines(scene: Scene) -> tuple[Span, ...]:
    """Return the whole lines that the selection touches, if there is anything on them but blanks."""
    text, chosen = scene.text, scene.chosen
    last = chosen.end - 1 if chosen.end > chosen.start else chosen.end  # a selection often ends at the start of a line
    start, (_, end) = positions.line_around(text, chosen.start)[0], positions.line_around(text, last)
    line_end = next((each for each in ("\r\n", "\n", "\r") if text.startswith(each, end)), "")
    return (Span(start, end + len(line_end)),) if text[start:end].strip() else ()


def as_chosen(scene: Scene) -> tuple[Span, ...]:
    """Return the selection as it is."""
    return (scene.chosen,) if scene.chosen.start < scene.chosen.end else ()


def selected_or_blank(scene: Scene) -> tuple[Span, ...]:
    """Return the selection, or the cursor on a blank line."""
    return selected(scene) or (() if _line_text(scene).strip() else (scene.chosen,))


def body(scene: Scene) -> tuple[Span, ...]:
    """Return the body around the cursor; from a blank line in it, the rest of the body."""
    found = scene.outline.body_at(scene.chosen.start) if scene.outline else None
    if found is None or scene.chosen.end > max(found.end, scene.line.end):
        return ()
    at = scene.chosen.start
    if found.start < at and not _line_text(scene).strip():
        return (Span(at, max(at, found.end)),)
    return (found,)


def placeholders(scene: Scene) -> tuple[Span, ...]:
    """Return every hole of the file."""
    return scene.outline.placeholders() if scene.outline else ()


def broken(scene: Scene) -> tuple[Span, ...]:
    """Return the words in the selection, or on the cursor's line, that the syntax or other tools complain about.

    Nothing is broken where the host of a document knows better than the grammar (`Complaints`).
    """
    within, complaints = broken_within(scene), scene.complaints
    if complaints is not None and complaints.never_wrong:
        return ()
    defects = complaints.defects(within) if complaints else ()
    allowed = complaints.allowed if complaints else ()
    problems = (
        Span(max(problem.start, within.start), min(problem.end, within.end))
        for problem in scene.problems
        if problem.start <= within.end
        and within.start <= problem.end
        and not any(problem.start < span.end and span.start < problem.end for span in allowed)
    )
    return merged(whole_words(scene.text, span) for span in (*defects, *problems))


def broken_within(scene: Scene) -> Span:
    """Return the span that a repair looks at."""
    return scene.chosen if scene.chosen.start < scene.chosen.end else scene.line


def _line_text(scene: Scene) -> str:
    return scene.text[scene.line.start : scene.line.end]


def whole_words(text: str, span: Span) -> Span:
    """Return the span, grown to the ends of the words that it cuts; an empty one grows to those that it touches."""
    before, after = text[max(0, span.start - _LONGEST_WORD) : span.start], text[span.end : span.end + _LONGEST_WORD]
    empty = span.start == span.end
    head = _WORD_BEFORE.search(before) if empty or _WORD.match(text, span.start) else None
    tail = _WORD.match(after) if empty or _WORD.match(text, span.end - 1) else None
    return Span(span.start - (len(head[0]) if head else 0), span.end + (len(tail[0]) if tail else 0))


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the spans sorted, those that overlap or touch as one."""
    out = list[Span]()
    for span in sorted(spans):
        if out and span.start <= out[-1].end:
            out[-1] = Span(out[-1].start, max(out[-1].end, span.end))
        else:
            out.append(span)
    return tuple(out)
