"""Find the names in a fill that stand nowhere in sight: more often guessed than known. No grammar, no model.

A highlighter's lexer tells names from keywords, from what the language brings and from text in strings; it needs no code that
parses. A name is in sight if the text around the hole has it, or what the model was shown of other files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pygments.lexers import get_lexer_by_name
from pygments.token import Name
from pygments.util import ClassNotFound

from palimpsest_engine.request import FillRequest

if TYPE_CHECKING:
    from pygments.lexer import Lexer

_WINDOW = 16_384  # code points of the text to look at on either side of a hole
_DATA = frozenset({"css", "html", "json", "markdown", "toml", "yaml"})  # their words are no names
_WORD = re.compile(r"\w+")
_KNOWN = (Name.Builtin, Name.Exception, Name.Function.Magic, Name.Variable.Magic, Name.Tag, Name.Label, Name.Entity)
_DEFINED = (Name.Function, Name.Class, Name.Namespace)  # as lexers call what a definition or an import names
_PART_OF = frozenset({".", "->", "::", "?.", "&."})  # a member of something: what it may be, the text seldom shows
_BINDS = re.compile(
    "as|auto|catch|class|const|def|enum|fn|for|func|fun|function|import|interface|lambda|let|mut|struct|trait|type|val|var"
)
_HEADERS = re.compile(r"\s*(?:(?:async|pub|export|default|static|public|private)\s+)*(?:def|fn|fun|func|function)\b")


def in_sight(request: FillRequest) -> frozenset[str]:
    """Return the words around the holes of a request, and those of what it shows of other places."""
    first, last = request.holes[0].start, request.holes[-1].end
    seen = request.text[max(0, first - _WINDOW) : last + _WINDOW]
    return frozenset(_WORD.findall(seen)).union(*(_WORD.findall(excerpt.text) for excerpt in request.context))


def strange_names(fill: str, prefix: str, language: str | None, known: frozenset[str]) -> tuple[str, ...]:
    """Return the names that a fill uses, neither known nor bound in it, each once. prefix: of its first line."""
    lexer = _lexer(language)
    if lexer is None or not fill.strip():
        return ()
    used, bound = dict[str, None](), set[str]()
    written = prefix + fill
    at = 0
    for line in written.splitlines(keepends=True):
        # What stands before the fill is lexed, since a name may go on in it, but says nothing itself.
        _read(lexer, line, max(0, len(prefix) - at), used, bound)
        at += len(line)
    return tuple(name for name in used if name not in known and name not in bound)


def _read(lexer: Lexer, line: str, start: int, used: dict[str, None], bound: set[str]) -> None:
    """Add the names that a line uses and binds, of those that end behind `start`."""
    tokens = [(at, kind, text) for at, kind, text in lexer.get_tokens_unprocessed(line) if text.strip()]
    header = bool(_HEADERS.match(line))
    assigned = _assignment(tokens)
    for index, (at, kind, text) in enumerate(tokens):
        if kind not in Name or any(kind in known for known in _KNOWN) or at + len(text) <= start:
            continue
        before = tokens[index - 1][2] if index else ""
        behind = tokens[index + 1][2] if index + 1 < len(tokens) else ""
        if before in _PART_OF or kind in Name.Attribute:
            continue
        defined = any(kind in each for each in _DEFINED) or header or _BINDS.fullmatch(before)
        named = behind == "=>" or (behind == ":" and not index) or (before == "|" and behind in ("|", ","))
        target = index < assigned and behind not in ("(", "[", *_PART_OF)
        if defined or named or (before != ":" and (target or behind in ("=", ":="))):
            bound.add(text.lstrip("$@"))
        elif name := text.lstrip("$@"):
            used.setdefault(name)


def _assignment(tokens: Sequence[tuple[int, object, str]]) -> int:
    """Return the index of the first `=` outside of brackets, or of the `in` of a loop, or 0."""
    depth = 0
    for index, (_, _, text) in enumerate(tokens):
        depth += (text in ("(", "[", "{")) - (text in (")", "]", "}"))
        if not depth and text in ("=", ":="):
            return index
    loops = [index for index, (_, _, text) in enumerate(tokens) if text == "for"]
    ends = [index for index, (_, _, text) in enumerate(tokens) if text in ("in", "of")]
    return next((end for end in ends if loops and end > loops[0]), 0)


@lru_cache(maxsize=32)
def _lexer(language: str | None) -> Lexer | None:
    """Return the lexer of a canonical language, or None if it has no names or no lexer."""
    if language is None or language in _DATA:
        return None
    try:
        lexer: Lexer = get_lexer_by_name(language, startinline=True)
    except ClassNotFound:
        return None
    return lexer
