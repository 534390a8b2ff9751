"""Cut out of one text what a model can see: names, windows, definitions, diffs, single lines; pure.

Knows texts and their outlines; nothing of documents, files, or the choice among them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, takewhile

from palimpsest_engine import Definition, Outline

_EDIT_LINES = 12
_MEMBER_LINES = 14  # a constructor up to so long is shown whole: that is where attributes are
_DEFINITION_LINES = 40
_HAS_FIELDS = re.compile(r"\b(class|struct|interface|enum|trait|record|object|union|type|protocol|extension|impl)\b")
_CONSTANT = re.compile(
    r"^(?:(?:export|pub|public|static|final|const|let|var|val|auto|constexpr|inline|declare)[ \t]+)*"
    r"([^\W\d]\w+)[ \t]*(?::[^=\n]+)?=[^=\n][^\n]{0,100}",
    re.M,
)
_NAME = re.compile(r"[^\W\d]\w+")
_KEYWORDS = """
and as assert async await bool boolean break case catch char class const constructor continue def default del do
double elif else enum except export extends false False final finally float fn for from func function global go if
impl implements import in include int interface is lambda let long match mod module mut new nil None not null or
package pass print private protected pub public raise return self Self static str string struct super switch this
throw true True try type undefined use using val var void where while with yield
"""
_COMMON = frozenset(_KEYWORDS.split())


def names(text: str) -> list[str]:
    """Return identifiers of two letters and more, in order, without the keywords of common languages."""
    return [name for name in _NAME.findall(text) if name not in _COMMON]


def near(before: str, after: str, reach: int, least: float) -> dict[str, float]:
    """Return names around the cursor and how near they are: 1 on its line, `least` from `reach` lines away on."""
    found: dict[str, float] = {}
    lines = [*enumerate(reversed(before.split("\n"))), *enumerate(after.split("\n"))]
    for away, line in lines:
        for name in names(line):
            found[name] = max(found.get(name, 0.0), least, 1 - away / reach)
    return {name: nearness for name, nearness in found.items() if nearness > 0}


def one_line(text: str) -> str:
    """Make a title of a text: without line ends of any kind, for it becomes a comment, and not long."""
    return " ".join("".join(" " if not c.isprintable() else c for c in text[:1000]).split())[:200]


def from_line(text: str, most: int) -> str:
    """Return the text from its first whole line on, if it was cut."""
    return text if len(text) < most else text.split("\n", 1)[-1]


def substance(text: str) -> set[str]:
    """Return the lines that say something, without the ends by which a signature differs from a definition."""
    return {line for each in text.split("\n") if len(line := each.strip().rstrip(" :{")) > 3}


def diff(before: str, after: str) -> str:
    """Return the changed lines, as `-old` and `+new`; "" if they are too many."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) > 4 * _EDIT_LINES or len(new) > 4 * _EDIT_LINES:
        return ""
    hunks = [*difflib.unified_diff(old, new, n=0, lineterm="")][2:]  # after the two lines that name the files
    changed = [line for line in hunks if not line.startswith("@@")]
    return "\n".join(changed) if len(changed) <= _EDIT_LINES else ""


@dataclass(frozen=True, slots=True)
class Window:
    """Some lines of a text and the names in them. first: the first line, from 0."""

    first: int
    text: str
    names: frozenset[str]

    def overlaps(self, other: Window) -> bool:
        """Return whether both have lines in common."""
        above, below = sorted((self, other), key=lambda each: each.first)
        return below.first <= above.first + above.text.count("\n")


@lru_cache(maxsize=32)
def windows(text: str, lines: int) -> tuple[Window, ...]:
    """Return a text's windows of so many lines, each overlapping the next by half; one of a text that is no longer."""
    rows = text.split("\n")
    starts = range(0, max(1, len(rows) - lines // 2), max(1, lines // 2)) if len(rows) > lines else (0,)
    found = ((first, "\n".join(rows[first : first + lines])) for first in starts)
    return tuple(Window(first, window, frozenset(names(window))) for first, window in found)


def specifiers(head: str, language: str, path: str) -> tuple[str, ...]:
    """Return the modules that a text imports, as written."""
    return Outline(head, language, path).imports()


@dataclass(frozen=True, slots=True)
class Entry:
    """A definition that a file offers to others. text: as it is shown. inner: the names in it."""

    name: str
    text: str
    inner: frozenset[str] = frozenset()


@lru_cache(maxsize=64)
def entries(text: str, path: str) -> tuple[Entry, ...]:
    """Return the definitions of a file that are in no other one, and the constants of its top level."""
    found = sorted(Outline(text, None, path).definitions(), key=lambda each: (each.span.start, -each.span.end))
    out: list[Entry] = []
    end = at = 0
    while at < len(found):
        outer = found[at]
        out += _constants(text[end : outer.span.start])
        end = max(end, outer.span.end)
        members = _starting_before(end, islice(found, at + 1, None))
        shown = _condensed(text, outer, members)
        # Fields are no definitions of their own, so every name in a class counts as one that it has.
        out.append(Entry(outer.name, shown, frozenset(names(shown) if shown != outer.signature else ())))
        at += 1 + len(members)
    return (*out, *_constants(text[end:]))


def _starting_before(end: int, found: Iterable[Definition]) -> list[Definition]:
    return list(takewhile(lambda each: each.span.start < end, found))


def _constants(text: str) -> list[Entry]:
    """Return the assignments and declarations that begin a line."""
    return [Entry(match[1], match[0].rstrip(" {[(")) for match in _CONSTANT.finditer(text)]


def _condensed(text: str, definition: Definition, members: Sequence[Definition]) -> str:
    """Return a definition without the bodies of its members, except short constructors: all that a caller has to know."""
    if not members and not _HAS_FIELDS.search(definition.signature.split("(")[0]):
        return definition.signature
    out, at = list[str](), definition.span.start
    for member in members:
        if member.span.start < at:
            continue
        body = text[member.span.start : member.span.end]
        constructor = member.name in ("__init__", "constructor", definition.name)
        whole = constructor and body.count("\n") < _MEMBER_LINES
        out += [text[at : member.span.start], body if whole else member.signature]
        at = member.span.end
    out.append(text[at : definition.span.end])
    kept = [line for line in "".join(out).split("\n") if line.strip()]
    return "\n".join(kept[:_DEFINITION_LINES])
