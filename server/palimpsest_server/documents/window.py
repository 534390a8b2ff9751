"""Cut the part of a large document that is looked at; knows text and offsets."""

from __future__ import annotations

from palimpsest_server.documents.store import Snapshot

# The window moves in steps, so that typing leaves it where it is.
REACH, STRIDE = 98_304, 32_768


def is_small(document: Snapshot) -> bool:
    """Return whether the window covers the whole document."""
    return len(document.content) <= 2 * REACH


def around(document: Snapshot, start: int, end: int) -> tuple[str, int]:
    """Return (the text around these offsets, which is all of a small document; the offset at which that begins)."""
    content = document.content
    if is_small(document):
        return document.text, 0
    first = max(0, -(-(start - REACH) // STRIDE) * STRIDE)
    behind = max(0, (len(content) - end - REACH) // STRIDE * STRIDE)
    text = content.slice(first, len(content) - behind)
    line = text.find("\n", 0, start - first) + 1 if first else 0
    return text[line:], first + line
