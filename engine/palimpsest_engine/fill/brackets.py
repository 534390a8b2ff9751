"""Match brackets and quotes in pieces of code, in any language; knows no grammar, so its answers are good guesses.

A string ends on its line, unless it is in three quotes or in backticks. Comments count as code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

CLOSERS = {")": "(", "]": "[", "}": "{"}
_QUOTED = r"""
    "(?:\\.|[^"\\\n])*"
    | (?<![\w&<])[rbfuRBFU]{0,2}'(?:\\.|[^'\\\n])*'   # no apostrophe, no lifetime
"""
# For text that may begin or end inside a string of many lines: the contents of such strings count as code.
_TOKENS = re.compile(rf"\"\"\" | ''' | {_QUOTED} | [()\[\]{{}}]", re.VERBOSE)
_TOKENS_OF_FILL = re.compile(
    rf'"""[\s\S]*?""" | \'\'\'[\s\S]*?\'\'\' | `(?:\\.|[^`\\])*` | {_QUOTED} | [()\[\]{{}}]', re.VERBOSE
)
QUOTES = re.compile(r"""\\.|\"{3}|'{3}|["'`]""")
_NO_QUOTE = re.compile(r"(?:[&<]|\w)$(?<!\b[rbfuRBFU])(?<!\b[rbfuRBFU]{2})")  # before an apostrophe or a lifetime


def open_quote(line: str) -> str:
    """Return the quote of the string that is open at the end of this line, or ""."""
    quote, line = "", line[-4096:]
    for match in QUOTES.finditer(line):
        mark = match[0]
        if quote:
            quote = "" if mark in (quote, quote * 3) else quote
        elif mark[0] != "\\" and not (mark == "'" and _NO_QUOTE.search(line, max(0, match.start() - 3), match.start())):
            quote = mark
    return quote


def brackets(fill: str, quote: str) -> Iterator[tuple[int, str]]:
    """Yield the brackets outside strings, with their offsets. quote: of the string that the text begins in, or ""."""
    start = 0
    if quote:
        end = re.compile(r"(?:\\.|[^\\])*?" + quote, re.DOTALL).match(fill)
        if end is None:
            return
        start = end.end()
    for match in _TOKENS_OF_FILL.finditer(fill, start):
        if len(match[0]) == 1:
            yield match.start(), match[0]


def whole(fill: str, at: int, quote: str) -> bool:
    """Return whether a cut there parts no bracket from its partner. quote: of the string that the text begins in, or ""."""
    stack: list[int] = []
    for where, bracket in brackets(fill, quote):
        if bracket not in CLOSERS:
            stack.append(where)
        elif stack and fill[stack[-1]] == CLOSERS[bracket] and stack.pop() < at <= where:
            return False
    return True


def unclosed(before: str) -> list[str]:
    """Return the brackets that are open at the end of this text."""
    stack: list[str] = []
    for match in _TOKENS.finditer(before):
        token = match[0]
        if token in CLOSERS:
            if stack and stack[-1] == CLOSERS[token]:
                stack.pop()
        elif len(token) == 1:
            stack.append(token)
    return stack


def unopened(after: str) -> list[str]:
    """Return the closing brackets of this text that it does not open."""
    stack: list[str] = []
    closers: list[str] = []
    for match in _TOKENS.finditer(after):
        token = match[0]
        if token in CLOSERS:
            if stack and stack[-1] == CLOSERS[token]:
                stack.pop()
            elif not stack:
                closers.append(token)
        elif len(token) == 1:
            stack.append(token)
    return closers


def strings_of_many_lines(fill: str, quote: str) -> list[tuple[int, int]]:
    """Return the ranges of strings that reach over line ends. quote: of the string that the text begins in, or ""."""
    return [
        (match.start() - len(quote), match.end() - len(quote))
        for match in _TOKENS_OF_FILL.finditer(quote + fill)
        if "\n" in match[0]
    ]
