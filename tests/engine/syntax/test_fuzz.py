"""Every grammar gets texts that could crash or stop it, and every question is answered in time.

An ordinary run takes a second for all, always with the same texts; `make fuzz` takes PALIMPSEST_PARSE_SECONDS for each
grammar, with other texts each time.
"""

from __future__ import annotations

import os
import random
import time
import tomllib
from pathlib import Path

import pytest

from palimpsest_engine.request import Span
from palimpsest_engine.syntax import process, watched
from palimpsest_engine.syntax.grammars import languages

SECONDS = float(os.environ.get("PALIMPSEST_PARSE_SECONDS", "0.04"))
LONG = SECONDS > 1
SLACK = 5.0  # seconds beyond the deadline on a machine that is busy: a process has to be started, too
FIXTURES = Path(__file__).parents[3] / "fixtures" / "syntax"
pytestmark = pytest.mark.timeout(120 + 3 * SECONDS)

OPENERS = [
    *("(", "[", "{", "<", "/*", "<!--", "//", "#", '"', "'", "`", '"""', "'''", "${", "#{", "\\(", "$(", "$((", "[["),
    *(
        "--[[",
        "[=[",
        "%q(",
        "%w[",
        "<<-A\n",
        "<<A\n",
        "<<~A\n",
        'r#"',
        '@"',
        '$"',
        'R"(',
        "=begin\n",
        "<?php ",
        "<script>",
    ),
    *("<style>", "<a>", "<a ", "- ", "? ", ": ", "a: ", "a:\n", "> ", "* ", "1. ", "|\n", "&a ", "!a ", "a<", "a:not("),
    *(
        "f(",
        "a.b",
        "a[",
        "if ",
        "if a:\n",
        "if (a) ",
        "else ",
        "fn ",
        "func(",
        "do ",
        "begin ",
        "do\n",
        "\\\n",
        "/[",
        "/",
    ),
    *(
        "lambda: ",
        "=> ",
        "-> ",
        "not ",
        "!",
        "~",
        "-",
        "*",
        "&",
        "@",
        "@a ",
        "::",
        "?",
        ":",
        ",",
        ";",
        "=",
        "a = ",
        "...",
    ),
    *(
        "#if a\n",
        "#define a \\\n",
        "```\n",
        "~~~\n",
        "\t",
        " ",
        "\n",
        "\r",
        "\r\n",
        "\0",
        "\x0c",
        "é",
        "🜁",
        "\ufeff",
        "\ud800",
    ),
]
NOTHING = ("code", None, (), ())
CLOSERS = dict(zip("([{<", ")]}>", strict=True))


def depth_of(draw: random.Random) -> int:
    return int(2 ** draw.uniform(1, 15 if LONG else 10))


def nested(draw: random.Random, _: list[str]) -> str:
    """Repeat a few openers; perhaps each deeper than the last; perhaps all closed again."""
    unit = "".join(draw.choices(OPENERS, k=draw.choice((1, 1, 1, 2, 3))))
    depth = depth_of(draw)
    if draw.random() < 0.25:
        return "".join(" " * i + unit.rstrip("\n") + "\n" for i in range(min(depth, 400)))
    closed = "".join(CLOSERS.get(char, "") for char in reversed(unit)) if draw.random() < 0.5 else ""
    return unit * depth + draw.choice(("", "a", "\n")) + closed * depth


def heaped(draw: random.Random, _: list[str]) -> str:
    few = draw.choices(OPENERS, k=draw.choice((2, 4, 8)))
    return "".join(draw.choices(few, k=depth_of(draw)))


def noise(draw: random.Random, _: list[str]) -> str:
    return draw.randbytes(depth_of(draw)).decode(draw.choice(("latin-1", "utf-16-le")), "replace")


def mutated(draw: random.Random, texts: list[str]) -> str:
    """Cut up and repeat parts of the grammar's own cases, and put openers between them."""
    text = draw.choice(texts)
    for _ in range(draw.randint(1, 6)):
        at, end = sorted(draw.choices(range(len(text) + 1), k=2))
        part = draw.choice((text[at:end] * draw.randint(0, 30), draw.choice(OPENERS) * draw.randint(1, 300)))
        text = (text[:at] + part + text[draw.choice((at, end)) :])[:60_000]
    return text


@pytest.mark.parametrize("language", languages())
def test_every_text_has_an_answer_in_time(monkeypatch, language):
    monkeypatch.setattr(process, "_REST", 0.0)
    monkeypatch.setattr(watched, "MARGIN", 1.0)
    monkeypatch.setattr(process, "WORKER", process.Process())
    seed = random.randrange(1 << 32) if LONG else 1
    draw = random.Random(f"{language} {seed}")
    cases = tomllib.loads((FIXTURES / f"{language}.toml").read_text("utf-8"))["case"]
    texts = [case["text"].replace("⟦", "").replace("⟧", "") for case in cases]
    until, asked, lost = time.monotonic() + SECONDS, 0, []
    try:
        watched.Outline("a", language).imports()
        while not asked or time.monotonic() < until:
            text = draw.choice((nested, nested, heaped, noise, mutated))(draw, texts)
            at = draw.randint(0, len(text))
            start = time.monotonic()
            verdict = watched.SyntaxGate(text, (Span(at, at),), language).judge((draw.choice(OPENERS),))
            found = watched.Outline(text, language, budget_ms=500)
            _ = found.kind_at(at), found.body_at(at), found.placeholders(), found.definitions()
            took = time.monotonic() - start
            asked += 1
            said = f"{language}, seed {seed}, text {asked}: {text[:40]!r}… of {len(text)}"
            assert took < process._CROWDED * (2 * (1.0 + 0.5) + 3 * 0.5) + SLACK, said
            assert verdict.status in ("valid", "worse", "no worse") or verdict.reason, said
            if found.reason.endswith((" s", "crashed")):  # what was answered before that may stay as it was
                assert (found.kind_at(at), found.body_at(at), found.placeholders(), found.definitions()) == NOTHING, (
                    said
                )
            if any(
                why.endswith((" s", "crashed")) for why in (verdict.reason, found.reason)
            ):  # not: over its own budget
                lost.append(f"{verdict.reason or found.reason}: {text[:40]!r}… of {len(text)}")
        assert watched.Outline("a", language).definitions() is not None
    finally:
        process.WORKER.end()
    print(f"{language}: {asked} texts, {process.WORKER.started} processes", *lost, sep="\n    ")
