"""Write an answer that is mostly a copy of its prompt: left to right, with the prompt as the source of guesses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from palimpsest_engine.decoding.autoregressive import writing
from palimpsest_engine.decoding.prompt_lookup import Lookup
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.model.prefix_cache import PrefixCache

COPIED = 16  # tokens that are guessed at once
_TAIL = 8  # tokens in which a text that ends an answer is looked for


def copying(
    resources: Resources,
    cache: PrefixCache,
    prompt: list[int],
    most: int,
    ends: Sequence[str],
    check: Callable[[], None],
) -> Iterator[list[int]]:
    """Yield the tokens of the answer so far after each pass, `most` at most. ends: texts that end it, as its own tokens do.

    check: called before the prompt is read and after each pass; what it raises ends the writing.
    """
    cache.encode(prompt, check)

    def ended(written: list[int]) -> bool:
        tail = resources.tokens.decode(written[-_TAIL:])
        return written[-1] in resources.ends or any(end in tail for end in ends)

    branch = cache.cache.branch(1, len(prompt) - 1)
    guess = Lookup(prompt, ahead=COPIED)
    for (answer,) in writing(
        resources.model, branch, prompt[-1], most, resources.banned_but_ends, ended=ended, draft=guess
    ):
        yield answer
        check()
