"""Suppress suggestions by rules on a window of text and a path; knows no editor and no model.

A rule answers with a reason, a sentence for the status item, or with "". Only the first rule also holds for requests that
the user makes; all others hold for automatic ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal["code", "comment", "string"]

HEAD = 2_000  # characters of the document's beginning that may say that it was generated
WINDOW = 8_000  # characters on either side of the cursor
LARGEST = 20_000_000
LONGEST_LINE = 5_000
AVERAGE_LINE = 500

_PROSE = frozenset({"asciidoc", "latex", "markdown", "plaintext", "restructuredtext", "tex"})
_SEMICOLON_IS_COMMENT = frozenset({"asm", "clojure", "commonlisp", "elisp", "ini", "lisp", "nasm", "racket", "scheme"})
_GENERATED = (
    *("*.lock", "*-lock.json", "*-lock.yaml", "*.lockb", "go.sum", "npm-shrinkwrap.json"),
    *("*.min.js", "*.min.mjs", "*.min.css", "*.bundle.js", "*.map", "*.snap"),
    *("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*.pb.go", "*.pb.cc", "*.pb.h", "*.pb.swift"),
    *("*.g.dart", "*.freezed.dart", "*.g.cs", "*.designer.cs", "*.generated.*", "*_generated.*"),
)
# A whole comment line in the forms that programs write; prose that mentions one is not meant.
_MARKER = re.compile(
    r"""^[ \t]*(?://|\#|/?\*+|--|;|<!--|%)[-/!*\#;<> \t]*(?:
        (?P<generated>@generated\b|auto-generated\b)
      | (?:(?:this|the)\ (?:file|code)\b|code\b|file\b|auto|machine|generated\b)[^\n]*\b(?P<said>do\ not\ (?:edit|modify))\b
      | (?P<alone>do\ not\ (?:edit|modify))\b(?:[^\n]*\bgenerated\b[^\n]*|[^\w\n]*)$
    )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Spot:
    """A cursor and all that the rules judge it by.

    head: the first `HEAD` characters of the document. before, after: the text around the cursor; no more than `WINDOW`
    characters of either are looked at. size: the document's length in characters. kind: of the text at the cursor.
    name: the file's name, "" if it has none. language: the LSP language id. automatic: nobody asked. in_comments: comments
    and strings may have suggestions. forbidden: the reason why the path is not for the model, or "".
    """

    before: str
    after: str
    head: str
    size: int
    name: str = ""
    language: str = ""
    kind: Kind = "code"
    automatic: bool = True
    in_comments: bool = False
    forbidden: str = ""

    @property
    def line(self) -> tuple[str, str]:
        """Return the cursor's line, before the cursor and after it."""
        before, after = self.before[-WINDOW:], self.after[:WINDOW]
        return re.split("[\r\n]", before)[-1], re.split("[\r\n]", after, maxsplit=1)[0]


def reason(spot: Spot) -> str:
    """Return the first reason to offer nothing here, or ""."""
    rules = RULES if spot.automatic else RULES[:1]
    return next((found for rule in rules if (found := rule(spot))), "")


def secret_or_ignored(spot: Spot) -> str:
    """Suppress paths that the model may not see."""
    return spot.forbidden


def too_large(spot: Spot) -> str:
    """Suppress files that are so large that they are data."""
    return f"the file has more than {LARGEST:,} characters" if spot.size > LARGEST else ""


def generated_by_name(spot: Spot) -> str:
    """Suppress files whose names programs give."""
    glob = next((glob for glob in _GENERATED if fnmatchcase(spot.name.lower(), glob)), "")
    return f"the file's name says that it is generated ({glob})" if glob else ""


def generated_by_its_word(spot: Spot) -> str:
    """Suppress files that say in a comment at their beginning that a program wrote them."""
    found = _MARKER.search(spot.head[:HEAD])
    if not found:
        return ""
    return f'the file says that it is generated ("{found["generated"] or found["said"] or found["alone"]}")'


def minified(spot: Spot) -> str:
    """Suppress code that nobody wrote or reads. Prose may have a paragraph on a line."""
    around = spot.before[-WINDOW:] + spot.after[:WINDOW]
    lengths = [len(line) for line in around.split("\n")]
    if max(lengths) > LONGEST_LINE:
        return f"the file looks minified (a line of more than {LONGEST_LINE:,} characters)"
    if len(around) > LONGEST_LINE and sum(lengths) > AVERAGE_LINE * len(lengths) and spot.language not in _PROSE:
        return f"the file looks minified (its lines have more than {AVERAGE_LINE} characters each)"
    return ""


def in_a_comment_or_string(spot: Spot) -> str:
    """Suppress prose, unless it is wanted."""
    if spot.kind == "code" or spot.in_comments:
        return ""
    return f"the cursor is in a {spot.kind} (palimpsest.inComments is false)"


def in_a_word(spot: Spot) -> str:
    """Suppress the middle of a word, as no insertion there would be right."""
    word = re.fullmatch(r"\w\w", spot.before[-1:] + spot.after[:1])
    return "the cursor is in the middle of a word" if word else ""


def after_a_statement(spot: Spot) -> str:
    """Suppress the end of a line after its last semicolon, but not within `for (…;`.

    A closing brace is no such end: `else` may follow.
    """
    before, after = spot.line
    if spot.kind != "code" or spot.language in _SEMICOLON_IS_COMMENT or after.strip():
        return ""
    ended = before.rstrip().endswith(";") and before.count("(") <= before.count(")")
    return "the statement before the cursor is complete" if ended else ""


RULES: tuple[Callable[[Spot], str], ...] = (
    secret_or_ignored,
    too_large,
    generated_by_name,
    generated_by_its_word,
    minified,
    in_a_comment_or_string,
    in_a_word,
    after_a_statement,
)
