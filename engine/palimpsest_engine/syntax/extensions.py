"""Find what a host allows in a text beyond its language's grammar: IPython's lines in notebooks, jsonc's trailing commas.

Text in, spans out; knows no tree. A text with these spans blanked is one that the grammar can judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath

from palimpsest_engine.request import Span
from palimpsest_engine.syntax.grammars import language_of

_NOTEBOOKS = (".ipynb", ".ipy")
_CELL_MAGIC = re.compile(r"\s*%%\w")
# %magic, !shell, ?help, help?, name = %magic, name = !shell; a line's end may continue it
_IPYTHON = re.compile(
    r"^[ \t]*((%{1,2}[A-Za-z_]|!{1,2}\S|\?{1,2}[\w%*.])(\\\r?\n|[^\n])*"
    r"|[\w.*%]+\?{1,2}[ \t]*"
    r"|[\w.,\[\]'\" \t]+=[ \t]*(%[A-Za-z_]|!\S)(\\\r?\n|[^\n])*)(?=\r?$)",
    re.MULTILINE,
)
# Of a text in jsonc: strings and comments are skipped, a comma before a closing bracket is found.
_BETWEEN = r"(?:\s|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)*"
_TRAILING_COMMA = re.compile(rf'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/|(?P<comma>,)(?={_BETWEEN}[}}\]])')


def beyond_the_grammar(text: str, language: str | None, path: str | None, *, cell: bool = False) -> tuple[Span, ...]:
    """Return the spans that the host of this document takes care of, sorted.

    cell: it is a cell of a notebook; so is every text with a notebook's path. A cell that begins with a cell magic is such a
    span as a whole.
    """
    suffix = PurePath((path or "").replace("\\", "/")).suffix.lower()
    grammar = language_of(path, language)
    if grammar == "python" and (cell or suffix in _NOTEBOOKS):
        if _CELL_MAGIC.match(text):
            return (Span(0, len(text)),)
        return tuple(Span(*match.span()) for match in _IPYTHON.finditer(text))
    if grammar == "json" and ((language or "").lower() == "jsonc" or (not language and suffix == ".jsonc")):
        return tuple(_commas(text))
    return ()


def _commas(text: str) -> Iterator[Span]:
    for match in _TRAILING_COMMA.finditer(text):
        if match["comma"]:
            yield Span(*match.span("comma"))


def blanked(text: str, spans: Sequence[Span]) -> str:
    """Return the text with something harmless of the same length in each span: `pass` where a line is, else blanks."""
    out, at = [], 0
    for span in spans:
        inside = text[span.start : span.end]
        blank = re.sub(r"[^\r\n\t ]", " ", inside)
        indent = len(inside) - len(inside.lstrip())
        if len(inside.strip()) >= len("pass"):
            blank = blank[:indent] + "pass" + blank[indent + len("pass") :]
        elif inside.strip() != ",":
            blank = blank[:indent] + "0" + blank[indent + 1 :]
        out += [text[at : span.start], blank]
        at = span.end
    return "".join(out) + text[at:]
