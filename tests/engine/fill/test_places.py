"""Random places of real code: no offer joins words or makes a comment of the code behind it, and none breaks a file.

Python's own compiler judges the standard library, a highlighter's lexer seven other languages. PALIMPSEST_PLACES=1000 looks
at as many places as the changelog speaks of, PALIMPSEST_PLACES_MODEL names the model (the embedded one else).
"""

from __future__ import annotations

import io
import os
import random
import re
import sysconfig
import tokenize
import warnings
from pathlib import Path

import pytest
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, String

from palimpsest_engine import EngineSettings, Fill, FillRequest, Span
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.syntax.grammars import language_of

MODEL = os.environ.get("PALIMPSEST_PLACES_MODEL", "embedded")
ORIGINALS = Path(__file__).parents[3] / "fixtures" / "repair" / "originals"
PLACES = int(os.environ.get("PALIMPSEST_PLACES", "40"))
pytestmark = pytest.mark.timeout(120 + 10 * PLACES)


def compiles(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "<places>", "exec", dont_inherit=True)
        except SyntaxError:
            return False
    return True


@pytest.fixture(scope="module")
def filler():
    return Filler(load(EngineSettings(MODEL, device="cpu")))


def texts():
    """Return files of the standard library of the usual size that compile."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return [
        text for path in files if 3_000 < len(text := path.read_text("utf-8", "replace")) < 30_000 and compiles(text)
    ]


def places(count):
    """Yield (text, offset): the starts of tokens."""
    draw, found = random.Random(7), texts()
    for _ in range(count):
        text = draw.choice(found)
        tokens = [each for each in tokenize.generate_tokens(io.StringIO(text).readline) if each.string.strip()]
        line, column = draw.choice(tokens).start
        yield text, sum(map(len, text.splitlines(keepends=True)[: line - 1])) + column


def offers(filler, request):
    """Return the texts that are offered."""
    *_, fill = filler.fill(request)
    assert isinstance(fill, Fill)
    return [written for (written,) in (fill.texts, *fill.alternatives) if written]


def joins(text, at, written):
    """Return whether the last word of a fill and the first one behind it are one."""
    return f"{written[-1]}{text[at]}".isidentifier() and text[at].isidentifier()


def test_no_offer_joins_words_or_breaks_a_file_that_compiled(filler):
    offered = 0
    for number, (text, at) in enumerate(places(PLACES)):
        request = FillRequest(text, (Span(at, at),), path="a.py", document="d", max_lines=1, tidy=True, seed=number)
        for written in offers(filler, request):
            offered += 1
            assert not joins(text, at, written), (written, text[at : at + 9])
            assert compiles(text[:at] + written + text[at:]), (text[at - 40 : at], written, text[at : at + 40])
    print(f"{offered} offers at {PLACES} places")
    assert offered > (
        PLACES / 4 if MODEL == "embedded" else 0
    )  # a model that is taught to be silent writes little into whole code


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.8, 1.0])
def test_no_rewrite_breaks_a_file_that_compiled(filler, strength):
    """Lines and runs of a few lines, as people select them, at every strength that the editors' actions have and others."""
    draw, found, changed, count = random.Random(strength), texts(), 0, max(4, PLACES // 4)
    for number in range(count):
        text = draw.choice(found)
        lines = [match.span() for match in re.finditer(r"[^\s#][^\n]*", text)]
        first = draw.randrange(len(lines))
        hole = Span(lines[first][0], lines[min(first + draw.choice([0, 0, 0, 1, 3]), len(lines) - 1)][1])
        request = FillRequest(text, (hole,), path="a.py", document="d", strength=strength, seed=number)
        for written in offers(filler, request):
            after = text[: hole.start] + written + text[hole.end :]
            changed += after != text
            assert compiles(after), (text[hole.start : hole.end], written)
    print(f"{changed} rewrites of {count} at strength {strength}")
    assert changed


def code_at(language, text, at):
    """Return whether a lexer takes the character for code, and not for a part of a comment or a string."""
    for start, kind, said in get_lexer_by_name(language, stripnl=False, ensurenl=False).get_tokens_unprocessed(text):
        if start <= at < start + len(said):
            return kind not in Comment and kind not in String
    return False


@pytest.mark.parametrize("path", sorted(ORIGINALS.iterdir()), ids=lambda path: path.name)
def test_no_offer_joins_words_or_hides_code_in_other_languages(filler, path):
    text, language = path.read_text("utf-8"), language_of(path.name, None)
    draw, count = random.Random(path.name), max(3, PLACES // 8)
    starts = [match.start() for match in re.finditer(r"\w+|[^\w\s]", text) if code_at(language, text, match.start())]
    for number in range(count):
        at = draw.choice(starts)
        request = FillRequest(text, (Span(at, at),), path=path.name, document="d", max_lines=1, tidy=True, seed=number)
        for written in offers(filler, request):
            assert not joins(text, at, written), (written, text[at : at + 9])
            after = text[:at] + written + text[at:]
            assert code_at(language, after, at + len(written)), (text[at - 40 : at], written, text[at : at + 40])
