"""Guess the next tokens: those that followed the same tokens before. Knows token ids; a causal pass checks the guesses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SAME = 3  # tokens to look for at most
AHEAD = 4  # tokens to guess at most
APART = chr(0x10FFFF)  # no token: no vocabulary is that large


class Lookup:
    """Guesses the tokens after a context, out of that context, the tokens written so far, and other continuations of it.

    others: those continuations. ahead: tokens to guess at most. The longest run of equal tokens counts; of equally long ones
    the last in `others, context, written`.
    """

    def __init__(self, context: Sequence[int], others: Iterable[Sequence[int]] = (), ahead: int = AHEAD) -> None:
        self.ahead = ahead
        # As code points, so that string search finds them.
        whole = as_text(context)
        self.before = "".join(whole[-SAME:] + as_text(other) + APART for other in others) + whole

    def __call__(self, written: Sequence[int]) -> list[int]:
        """Return up to `ahead` tokens, or none."""
        text = self.before + as_text(written)
        for same in range(SAME, 0, -1):
            found = text.rfind(text[-same:], 0, -1)
            if found >= 0:
                guess, _, _ = text[found + same : found + same + self.ahead].partition(APART)
                return list(map(ord, guess))
        return []


def as_text(tokens: Iterable[int]) -> str:
    """Return one code point for each token."""
    return "".join(map(chr, tokens))
