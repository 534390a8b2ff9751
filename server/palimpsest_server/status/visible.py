"""Make a text harmless for a terminal: names of files, and what models say of themselves, may hold anything."""

from __future__ import annotations

import re

# Control characters but tabs and line ends, marks that change the direction of what follows, halves of characters.
_HIDDEN = re.compile(
    r"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return the text with escapes in place of characters that a terminal acts on, or that nobody sees."""
    return _HIDDEN.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
