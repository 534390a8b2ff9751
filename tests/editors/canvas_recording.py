"""Recordings of fills that no model made: every token settles in some step, and flickers until then."""

from __future__ import annotations

import random
import re
from typing import Any

PREFIX = '''"""What is in stock, and what it costs."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    name: str
    price: float
    count: int = 0


def total(items: Iterable[Item]) -> float:
    """Return what all items cost together."""
    '''
SUFFIX = '''


def missing(items: Iterable[Item]) -> list[str]:
    """Return the names of those that are sold out."""
    return [item.name for item in items if item.count == 0]
'''
TEXT = "cost = 0.0\n    for item in items:\n        cost += item.price * item.count\n    return cost"
OLD = "return 0.0"
_WORDS = [" self", "return", " =", "(", "\n    ", " None", "item", " + ", ".", "name", "0", " for", "    ", ""]


def tokens(text: str) -> list[str]:
    """Return a text in pieces such as a tokenizer makes."""
    return re.findall(r" ?\w+|\n *|\s|[^\w\s]+", text)


def frames(
    texts: list[list[str]], steps: int, *, ms: float, kind: str = "denoised", pinned: int = 0, seed: int = 0
) -> list[dict[str, Any]]:
    """Return the frames of some candidates with one hole each, `ms` apart. pinned: so many tokens at the beginning."""
    rng = random.Random(seed)
    keys = {word: key for key, word in enumerate(dict.fromkeys([*_WORDS, *(each for text in texts for each in text)]))}
    due = [
        [rng.randrange(steps) if kind == "denoised" else at * steps // len(text) for at in range(len(text))]
        for text in texts
    ]

    def slot(number: int, at: int, step: int) -> list[Any]:
        right = texts[number][at]
        if at < pinned:
            return [right, 0.0, "p", keys[right], []]
        left = (due[number][at] - step) / steps
        settled = step >= due[number][at]
        word = right if settled or rng.random() > left + 0.2 else rng.choice(_WORDS)
        entropy = round(max(0.001, left * 6 * rng.random()) if not settled else 0.02 * rng.random(), 3)
        others = [each for each in rng.sample(_WORDS, 4) if each != word]
        first = round(max(0.2, 1 - entropy / 4), 3)
        rest = [round((1 - first) / 2 ** (n + 1), 4) for n in range(len(others))]
        choices = [[word, first, keys[word]], *([each, p, keys[each]] for each, p in zip(others, rest, strict=True))]
        return [word, entropy, "s" if settled else "o", keys[word], choices]

    found = []
    for step in range(steps):
        lanes = []
        for number, text in enumerate(texts):
            if number and step > steps // (number + 1):
                continue  # the others are dropped, one after the other
            shown = len(text) if kind == "denoised" else 1 + step * len(text) // steps
            slots = [slot(number, at, step) for at in range(shown)]
            lanes.append({"number": number, "kind": kind, "finished": step == steps - 1, "holes": [slots]})
        found.append({"ms": round(20 + step * ms, 1), "step": step + 1, "lanes": lanes})
    return found


def outcome(texts: list[list[str]], steps: int, ms: float) -> dict[str, Any]:
    """Return the end of a fill in which the first candidate won."""
    candidates = [
        {
            "number": number,
            "texts": ["".join(text)],
            "rank": number,
            "score": -0.2 - number / 2,
            "verdict": "worse" if number else "valid",
            "reason": "a bracket is not closed" if number else "",
            "chosen": not number,
        }
        for number, text in enumerate(texts)
    ]
    return {
        "texts": ["".join(texts[0])],
        "reason": "",
        "verdict": {"status": "valid", "reason": ""},
        "treatment": "none",
        "nfe": steps,
        "ms": 20 + steps * ms + 15,
        "settled": True,
        "candidates": candidates,
        "stages": [["encode", 20.0], ["denoise", steps * ms], ["rank", 11.5], ["judge", 3.5]],
    }


def recording(*, steps: int = 9, beside: bool = True, pinned: int = 2) -> dict[str, Any]:
    """Return a small recording with three candidates, and the left-to-right one beside it."""
    right = tokens(TEXT)
    texts = [[*right, "", "", ""], [*right[:12], *tokens(" + 1\n    return")], [*right[:6], ""]]
    written = tokens(TEXT.replace("item.price", "item.count"))
    return {
        "format": 1,
        "name": "inventory.py",
        "language": "python",
        "model": "palimpsest-small",
        "device": "cpu",
        "prefix": PREFIX,
        "between": [],
        "suffix": SUFFIX,
        "hole": OLD,
        "settings": {"strength": 1.0, "steps": None, "temperature": None, "seed": 0},
        "frames": frames(texts, steps, ms=11.3, pinned=pinned),
        "outcome": outcome(texts, steps, 11.3),
        "beside": {
            "model": "palimpsest-small",
            "frames": frames([written], len(written), ms=13.1, kind="written"),
            "outcome": outcome([written], len(written), 13.1),
        }
        if beside
        else None,
    }


def large(steps: int = 200, size: int = 256) -> dict[str, Any]:
    """Return a recording as large as the page has to stand."""
    right = tokens("\n    ".join(f"value_{n} = total(items[{n}:]) + {n}" for n in range(60)))[:size]
    assert len(right) == size
    return {
        **recording(beside=False),
        "frames": frames([right], steps, ms=25.0),
        "outcome": outcome([right], steps, 25.0),
    }
