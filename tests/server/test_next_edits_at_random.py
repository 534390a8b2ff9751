"""Random sessions: whatever is offered after a change, an editor that applies it changes nothing outside of its span.

An ordinary run has the same few sessions each time; `make fuzz` has a hundred thousand. A session that fails is named by its
number, and `PALIMPSEST_NEXT_EDITS=NUMBER:NUMBER+1` runs it alone.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lsprotocol import types

from palimpsest_engine.changes import Change, NextEdit, NextEditQuestion, OpenDocument
from palimpsest_engine.request import Span
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups
from palimpsest_eval.next_edit.accepting import change_between, with_edit
from palimpsest_server.protocol.positions import offset_at, range_at

FIRST, _, PAST = os.environ.get("PALIMPSEST_NEXT_EDITS", "0:40").rpartition(":")
NUMBERS = range(int(FIRST or 0), int(PAST))
pytestmark = pytest.mark.timeout(120 + len(NUMBERS))

FOLDER = Path(__file__).parents[2] / "fixtures" / "next-edit" / "originals"
TEXTS = {file.name: file.read_text("utf-8") for file in sorted(FOLDER.iterdir())}
SESSIONS = importlib.resources.files("palimpsest_bench") / "sessions"
STRANGE = ("é", "ß𝐱", "数", "e\u0301")  # of one and of two units of UTF-16, and one that is two code points
BESIDE = ("😀", "“", "\u2028", "\x0c", "👩\u200d💻")  # for comments and strings
STEPS = 3  # edits accepted one after the other

Damage = Callable[[str, random.Random], str]


def at_some(pattern: str, change: Callable[[re.Match[str], random.Random], str]) -> Damage:
    """Change one of the places that a pattern finds."""

    def damage(text: str, draw: random.Random) -> str:
        places = list(re.finditer(pattern, text, re.MULTILINE))
        if not places:
            return text
        place = draw.choice(places)
        return text[: place.start()] + change(place, draw) + text[place.end() :]

    return damage


CHANGES: list[Damage] = [
    at_some(r"\b[A-Za-z_]\w{2,}", lambda place, draw: draw.choice(("renamed", place[0] + "_" + draw.choice(STRANGE)))),
    at_some(r"\b[A-Za-z_]\w{2,}", lambda place, draw: place[0][: draw.randrange(1, len(place[0]))]),
    at_some(r"\b\d+\b", lambda place, draw: str(draw.randrange(100))),
    at_some(r"(?<=[\w\])])\)", lambda place, draw: draw.choice((", extra)", f", '{draw.choice(STRANGE)}')"))),
    at_some(r", [^,()\n]+(?=[,)])", lambda place, draw: ""),
    at_some(r"\b(\w+), (\w+)\b", lambda place, draw: f"{place[2]}, {place[1]}"),
    at_some(r"^.*\r?\n", lambda place, draw: ""),
    at_some(r"^.*\r?\n", lambda place, draw: 2 * place[0]),
    at_some(r'"[^"\n]*"', lambda place, draw: f'"{draw.choice(BESIDE)}"'),
    at_some(r"\w+\.\w+", lambda place, draw: f"({place[0]})"),
    at_some(r"^(import|use|#include|from) .*\r?\n", lambda place, draw: ""),
]


def strange(text: str, draw: random.Random) -> str:
    """Return a text with names, comments and line ends as they are seldom tested."""
    if draw.random() < 0.5:
        name = draw.choice(re.findall(r"\b[a-z]{3,}\b", text))
        text = re.sub(rf"\b{name}\b", name + draw.choice(STRANGE), text)
    for _ in range(draw.randrange(3)):
        text = at_some(r"(?://|#|/\*|\"\"\") (?=\w)", lambda place, own: place[0] + own.choice(BESIDE))(text, draw)
    if draw.random() < 0.3:
        text = text.replace("\n", draw.choice(("\r\n", "\r\n", "\r")))
    return text if draw.random() < 0.8 else text.rstrip()


def random_question(draw: random.Random) -> NextEditQuestion:
    """Return a question about one or two documents after some changes to the first."""
    names = draw.sample(sorted(TEXTS), draw.randrange(1, 3))
    documents = tuple(OpenDocument(name, strange(TEXTS[name], draw), None, name) for name in names)
    changes: tuple[Change, ...] = ()
    cursor = 0
    for _ in range(draw.randrange(1, 4)):
        was = documents[0].text
        now = draw.choice(CHANGES)(was, draw)
        if now != was:
            span, text = difference(was, now)
            documents, changes, cursor = with_edit(documents, changes, names[0], span, text)
    return NextEditQuestion(documents, changes, cursor, budget_ms=1000)


def difference(was: str, now: str) -> tuple[Span, str]:
    """Return the shortest edit that makes one text of the other."""
    least = min(len(was), len(now))
    head = next((at for at in range(least) if was[at] != now[at]), least)
    tail = next((at for at in range(least - head) if was[-1 - at] != now[-1 - at]), least - head)
    return Span(head, len(was) - tail), now[head : len(now) - tail]


def recorded_questions() -> Iterator[NextEditQuestion]:
    """Yield a question for every tenth keystroke of the recorded sessions, about what was typed since the last pause."""
    for file in sorted(each.name for each in SESSIONS.iterdir() if each.name.endswith(".jsonl")):
        rows = [json.loads(line) for line in (SESSIONS / file).read_text("utf-8").splitlines()]
        name, text = rows[0]["open"]["name"], rows[0]["open"]["text"]
        since, last, number = text, 0.0, 0
        for row in rows[1:]:
            if "change" not in row:
                continue
            if row["at"] - last > 1500:
                since = text
            last, number = row["at"], number + 1
            line, character, end_line, end_character, written = row["change"]
            start, end = (
                offset_at(text, types.Position(*each), types.PositionEncodingKind.Utf16)
                for each in ((line, character), (end_line, end_character))
            )
            text = text[:start] + written + text[end:]
            if number % 10 == 0 and text != since:
                document = OpenDocument(name, text, rows[0]["open"]["language"], name)
                yield NextEditQuestion(
                    (document,), (change_between(name, since, text),), start + len(written), budget_ms=1000
                )


def applied_by_an_editor(text: str, range_: types.Range, new: str, encoding: types.PositionEncodingKind) -> str:
    """Apply an edit as an editor does, which counts in its own units and knows nothing of offsets."""
    codec = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}[encoding.value]
    width = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[encoding.value]
    lines = re.split("(?<=\r\n)|(?<=\n)|(?<=\r)(?!\n)", text)
    encoded = [line.encode(codec) for line in lines]
    first, last = range_.start, range_.end
    before = b"".join(encoded[: first.line]) + encoded[first.line][: width * first.character]
    after = encoded[last.line][width * last.character :] + b"".join(encoded[last.line + 1 :])
    return (before + new.encode(codec) + after).decode(codec)


def check(question: NextEditQuestion) -> tuple[NextEdit, ...]:
    """Return the edits for a question, each of which was tried in an editor of each encoding."""
    texts = {document.name: document.text for document in question.documents}
    edits = follow_ups(question).edits
    for edit in edits:
        text, (start, end) = texts[edit.document], (edit.span.start, edit.span.end)
        assert 0 <= start <= end <= len(text)
        wanted = text[:start] + edit.text + text[end:]
        assert wanted != text
        for encoding in types.PositionEncodingKind:
            range_ = range_at(text, start, end, encoding)
            assert (offset_at(text, range_.start, encoding), offset_at(text, range_.end, encoding)) == (start, end), (
                edit
            )
            assert applied_by_an_editor(text, range_, edit.text, encoding) == wanted, edit
    return edits


def run(question: NextEditQuestion) -> int:
    """Accept the first edit of each answer, and return how many were offered in all."""
    offered = 0
    for _ in range(STEPS):
        edits = check(question)
        offered += len(edits)
        if not edits:
            break
        first = edits[0]
        documents, changes, cursor = with_edit(
            question.documents, question.changes, first.document, first.span, first.text
        )
        question = NextEditQuestion(documents, changes, cursor, budget_ms=question.budget_ms)
    return offered


def test_edits_after_random_changes_touch_nothing_outside_of_their_span() -> None:
    for number in NUMBERS:
        try:
            run(random_question(random.Random(f"next edit {number}")))
        except Exception as error:
            error.add_note(f"session {number}")
            raise


def test_edits_while_something_is_typed_touch_nothing_outside_of_their_span() -> None:
    for question in recorded_questions():
        run(question)
