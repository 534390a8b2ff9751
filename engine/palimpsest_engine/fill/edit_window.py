"""Ask a model for a next edit: the window around a place as a request, and the edits that its answer stands for.

Text only, and no tensors: the server and the evaluation ask in the same way. The window is about as long as those that the
published models were taught.
"""

from __future__ import annotations

from palimpsest_engine.changes import Change, NextEdit, NextEditQuestion, OpenDocument, Place
from palimpsest_engine.fill.line_hunks import replaced
from palimpsest_engine.request import Diff, Fill, FillRequest, Span
from palimpsest_engine.syntax.complaints import block_around

LINES = 21
BLOCK = 32  # lines
SHOWN = 6  # changes
_REASON = "the model expects this after the last change"


def window_request(question: NextEditQuestion, place: Place | None = None) -> FillRequest | None:
    """Return the request for the lines around a place, or else the cursor; None if nothing was changed or stands there."""
    document = question.documents[0]
    at = Span(question.cursor, question.cursor)
    if place is not None:
        document = next(each for each in question.documents if each.name == place.document)
        at = place.span
    hole = _window(document.text, at)
    changes = tuple(_diff(question, each) for each in reversed(question.changes[:SHOWN]))
    if not changes or not document.text[hole.start : hole.end].strip():
        return None
    return FillRequest(
        document.text,
        (hole,),
        document=document.name,
        language=document.language,
        path=_path(document),
        edit=True,
        changes=changes,
        cursor=question.cursor if document is question.documents[0] else None,
    )


def edits_of(
    question: NextEditQuestion, request: FillRequest, fill: Fill, place: Place | None = None
) -> tuple[NextEdit, ...]:
    """Return the edits that an answer stands for, one a changed place, without those that take a change back."""
    if fill.empty:
        return ()
    start = request.holes[0].start
    present = request.text[start : request.holes[0].end]
    lines, found = present.splitlines(keepends=True), list[NextEdit]()
    reason = place.reason if place else _REASON
    for hunk in replaced(present, fill.texts[0]):
        old, new = "".join(lines[hunk.start : hunk.end]), "".join(hunk.lines)
        if any(_takes_back(each, old, new) for each in question.changes):
            continue
        ahead, behind = _common(old, new)
        at = start + len("".join(lines[: hunk.start])) + ahead
        end = at + len(old) - ahead - behind
        text = new[ahead : len(new) - behind]
        found.append(NextEdit(request.document, Span(at, end), text, "model", reason, "likely"))
    return tuple(found)


def _window(text: str, at: Span) -> Span:
    """Return the whole lines around a span: the block of code that it is in, if that is not long; else as many lines before
    it as behind it."""
    block = Span(*block_around(text, at))
    if text.count("\n", block.start, block.end) <= BLOCK and text[block.start : block.end].strip():
        return block
    start, end = text.rfind("\n", 0, at.start) + 1, _line_end(text, at.end)
    missing = LINES - text.count("\n", start, end)
    for turn in range(max(0, missing)):
        if (turn % 2 == 0 or end == len(text)) and start > 0:
            start = text.rfind("\n", 0, start - 1) + 1
        elif end < len(text):
            end = _line_end(text, end)
    return Span(start, end)


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _diff(question: NextEditQuestion, change: Change) -> Diff:
    document = next((each for each in question.documents if each.name == change.document), None)
    path = _path(document) if document else change.document.rpartition("/")[2]
    return Diff(path, change.before, change.after)


def _path(document: OpenDocument) -> str:
    return document.path or document.name.rpartition("/")[2]


def _takes_back(change: Change, old: str, new: str) -> bool:
    """Return whether lines that a change made would become lines that it replaced."""
    before, after = (set(map(str.strip, text.splitlines())) for text in (change.before, change.after))
    was, now = (set(map(str.strip, text.splitlines())) for text in (old, new))
    return bool(was) and was <= after and now <= before


def _common(old: str, new: str) -> tuple[int, int]:
    """Return the lengths of the common beginning and end, which do not overlap."""
    most = min(len(old), len(new))
    ahead = next((i for i in range(most) if old[i] != new[i]), most)
    behind = next((i for i in range(most - ahead) if old[-1 - i] != new[-1 - i]), most - ahead)
    return ahead, behind
