"""Random places of the standard library: no offer joins words, and none breaks a file that compiled.

PALIMPSEST_PLACES=1000 looks at as many as the changelog speaks of.
"""

from __future__ import annotations

import io
import os
import random
import sysconfig
import tokenize
import warnings
from pathlib import Path

import pytest

from palimpsest_engine import EngineSettings, Fill, FillRequest, Span
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.fill.filler import Filler

PLACES = int(os.environ.get("PALIMPSEST_PLACES", "40"))
pytestmark = pytest.mark.timeout(120 + 2 * PLACES)


def compiles(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "<places>", "exec", dont_inherit=True)
        except SyntaxError:
            return False
    return True


def places():
    """Yield (text, offset): the starts of tokens, in files of the usual size."""
    draw = random.Random(7)
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    texts = [
        text for path in files if 3_000 < len(text := path.read_text("utf-8", "replace")) < 30_000 and compiles(text)
    ]
    for _ in range(PLACES):
        text = draw.choice(texts)
        tokens = [each for each in tokenize.generate_tokens(io.StringIO(text).readline) if each.string.strip()]
        line, column = draw.choice(tokens).start
        yield text, sum(map(len, text.splitlines(keepends=True)[: line - 1])) + column


def test_no_offer_joins_words_or_breaks_a_file_that_compiled():
    filler = Filler(load(EngineSettings("embedded", device="cpu")))
    offered = 0
    for number, (text, at) in enumerate(places()):
        request = FillRequest(text, (Span(at, at),), path="a.py", document="d", max_lines=1, tidy=True, seed=number)
        *_, fill = filler.fill(request)
        assert isinstance(fill, Fill)
        for (written,) in (fill.texts, *fill.alternatives):
            if not written:
                continue
            offered += 1
            assert not (f"{written[-1]}{text[at]}".isidentifier() and text[at].isidentifier()), (
                written,
                text[at : at + 9],
            )
            assert compiles(text[:at] + written + text[at:]), (text[at - 40 : at], written, text[at : at + 40])
    print(f"{offered} offers at {PLACES} places")
    assert offered > PLACES / 4
