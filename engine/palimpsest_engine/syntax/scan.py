"""Read a text that may be broken as tokens: which brackets and quotes do not pair, and which tokens are usual neighbours.

Parses nothing. Knows of languages only the words and signs of their grammars, their comments, and Python's builtins.
"""

from __future__ import annotations

import builtins
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from palimpsest_engine.syntax.grammars import load

CLOSER_OF = {"(": ")", "[": "]", "{": "}"}
OPENER_OF = {closer: opener for opener, closer in CLOSER_OF.items()}
SEPARATORS = ",:;"
QUOTES = "\"'`"
_HASHES = ("python", "ruby", "bash", "toml", "yaml")
_DASHES = ("lua", "sql")
_WORD = r"[^\W\d]\w*"
_TOKEN = rf"{_WORD}|\d[\w.]*|[^\w\s]"
_BUILTINS = frozenset(dir(builtins))
_STRANGE = 0.25  # the cost of two neighbours that are nowhere else
_NEVER = {"(,", "(;", "(.", "(=", "[=", ",;", ",=", "=)", "=;", "=,", ".)", ".,", ".;", "{,", ":)", ":,"}  # neighbours


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number, a whole string or one sign. line: its number, from 0 on."""

    start: int
    end: int
    text: str
    line: int

    @property
    def shape(self) -> str:
        """Return the token as habits of spacing know it: any name is like another."""
        if self.text[0] in QUOTES and len(self.text) > 1:
            return "'s'"
        return "0" if self.text[0].isdigit() else self.text


@cache
def keywords_of(grammar: str) -> frozenset[str]:
    """Return the words of a language's grammar. Raises GrammarMissing as `load` does."""
    language = load(grammar)
    kinds = range(language.node_kind_count)
    seen = {language.node_kind_for_id(i) for i in kinds if language.node_kind_is_visible(i)}
    named = {language.node_kind_for_id(i) for i in kinds if language.node_kind_is_named(i)}
    return frozenset(word for word in seen - named if word and re.fullmatch(r"[a-z]\w+", word))


@cache
def signs_of(grammar: str) -> frozenset[str]:
    """Return the separators, brackets and quotes of a language's grammar."""
    language = load(grammar)
    kinds = {language.node_kind_for_id(i) or "" for i in range(language.node_kind_count)}
    signs = {sign for sign in (*SEPARATORS, *CLOSER_OF, *OPENER_OF, *QUOTES) if sign in kinds}
    return frozenset(signs | ({'"', "'"} if grammar in ("python", "ruby", "lua") else set()))


class Scan:
    """The tokens of a text, how its brackets and quotes pair, and the habits of who wrote it."""

    def __init__(self, text: str, grammar: str, whole: str = "") -> None:
        """Read the text. grammar: a canonical name. whole: the text that it is a part of."""
        self.text = text
        self.grammar = grammar
        self.keywords, self.signs = keywords_of(grammar), signs_of(grammar)
        self.slack = 0 if "\n\t" in text else 1  # of blanks, where a bracket before them is missing
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.odd_lines: dict[int, str] = {}  # the quote that does not pair, by line
        self.tokens = self._tokens()
        self.starts = [token.start for token in self.tokens]
        self.unclosed, self.unopened = self._unpaired()
        self.words = Counter(re.findall(_WORD, whole or text))
        self._known = self.keywords | (_BUILTINS if grammar == "python" else frozenset())
        self._split_lines = [_split(line) for line in text.split("\n")]
        self._habits = Counter(pair for line in (*self._split_lines, _USUAL) for pair in self._pairs(line))

    def _shape(self, token: Token) -> str:
        word = token.text[0].isalpha() or token.text[0] == "_"
        if not word or token.text in self.keywords:
            return token.shape
        return "W" if token.text[0].isupper() and not token.text.isupper() else "w"

    def _pairs(self, tokens: list[Token]) -> Iterator[tuple[str, bool, str]]:
        """Yield the neighbours: shape, whether blanks are between, shape."""
        for one, two in pairwise(tokens):
            yield self._shape(one), one.end < two.start, self._shape(two)

    def knows(self, word: str) -> bool:
        """Return whether this is a word of the text or of the language."""
        return word in self._known or self.words[word] > 0

    def line_of(self, at: int) -> int:
        """Return the number of the line, from 0 on."""
        return bisect_right(self.line_starts, at) - 1

    def line(self, number: int) -> tuple[int, int]:
        """Return the ends of a line, without the characters that end it."""
        start = self.line_starts[number]
        last = number + 1 == len(self.line_starts)
        end = len(self.text) if last else self.line_starts[number + 1] - 1
        return start, end - (self.text[start:end].endswith("\r"))

    def indent(self, number: int) -> int:
        """Return the number of blanks that a line begins with."""
        start, end = self.line(number)
        return end - start - len(self.text[start:end].lstrip())

    def blank(self, number: int) -> bool:
        """Return whether a line has no code."""
        start, end = self.line(number)
        return not self.text[start:end].strip()

    def on(self, first: int, last: int) -> list[Token]:
        """Return the tokens on these lines, both included."""
        first, last = max(first, 0), min(last, len(self.line_starts) - 1)
        start, end = self.line_starts[first], self.line(last)[1]
        return self.tokens[bisect_left(self.starts, start) : bisect_left(self.starts, end + 1)]

    def _tokens(self) -> list[Token]:
        """Split the text. On a line with a quote too many no quotes are paired; comments are left out."""
        comment = "#" if self.grammar in _HASHES else "--" if self.grammar in _DASHES else "//"
        rust = self.grammar == "rust"  # where 'a is a lifetime
        single = r"'(?:\\[^\n]+?|[^'\\\n])'" if rust else r"'(?:\\.|[^'\\\n])*'"
        triple = r"\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''|" if self.grammar == "python" else ""
        many = r"`(?:\\.|[^`\\])*`|" if "`" in self.signs else ""
        skip = rf"(?P<skip>{re.escape(comment)}[^\n]*|/\*.*?\*/)" if comment == "//" else rf"(?P<skip>{comment}[^\n]*)"
        pattern = re.compile(rf"{skip}|{triple}{many}\"(?:\\.|[^\"\\\n])*\"|{single}|{_TOKEN}", re.DOTALL)
        found = [
            Token(match.start(), match.end(), match[0], self.line_of(match.start()))
            for match in pattern.finditer(self.text)
            if match.lastgroup != "skip"
        ]
        odd = {token.line: token.text for token in found if token.text in QUOTES and not (rust and token.text == "'")}
        self.odd_lines = odd
        if not odd:
            return found
        kept = []
        for token in found:
            if token.line in odd and len(token.text) > 1 and token.text[0] in QUOTES and "\n" not in token.text:
                kept += [
                    Token(token.start + match.start(), token.start + match.end(), match[0], token.line)
                    for match in re.finditer(_TOKEN, token.text)
                ]
            else:
                kept.append(token)
        return kept

    def _unpaired(self) -> tuple[list[Token], list[Token]]:
        """Return the opening brackets that nothing closes, and the closing ones that nothing opens.

        A closing bracket that begins its line stands below the line of its opening one: where the indentation differs, the
        brackets between are the ones that do not pair.
        """
        stack: list[Token] = []
        unclosed, unopened = list[Token](), list[Token]()
        for token in self.tokens:
            if token.text in CLOSER_OF:
                stack.append(token)
            elif token.text in OPENER_OF:
                own = [opener for opener in stack if CLOSER_OF[opener.text] == token.text]
                if token.start == self.line_starts[token.line] + self.indent(token.line):
                    depth = self.indent(token.line)
                    level = [opener for opener in own if depth <= self.indent(opener.line) <= depth + self.slack]
                    if not level and own and self.indent(own[-1].line) < depth:
                        own = []
                    own = level or own
                elif token.text != "}":  # what a block holds pairs in the block
                    block = max(
                        (n for n, each in enumerate(stack) if each.text == "{" and self.ends_line(each)), default=-1
                    )
                    own = [opener for opener in stack[block + 1 :] if CLOSER_OF[opener.text] == token.text]
                elif token.text == "}" and own and self.ends_line(own[-1]):
                    own = []  # a block's bracket, and one in the middle of a line
                if not own:
                    unopened.append(token)
                    continue
                while stack[-1] is not own[-1]:
                    unclosed.append(stack.pop())
                stack.pop()
        return sorted(unclosed + stack, key=lambda token: token.start), unopened

    def ends_line(self, token: Token) -> bool:
        """Return whether a token is the last on its line."""
        return not self.text[token.end : self.line(token.line)[1]].strip()

    def prefixed(self, at: int) -> bool:
        """Return whether a prefix of Python's strings ends there."""
        before = self.text[max(0, at - 3) : at]
        return self.grammar == "python" and re.search(r"(?<!\w)[fFrRbB]{1,2}\Z", before) is not None

    def strangeness(self, start: int, end: int, new: str) -> float:
        """Return how much stranger a line would be with `new` in this place, by the neighbours that tokens have elsewhere."""
        number = self.line_of(start)
        base, row = self.line_starts[number], self._split_lines[number]
        near = [token for token in row if token.end + base >= start - 1 and token.start + base <= end + 1]
        first, last = (row.index(near[0]), row.index(near[-1])) if near else (0, len(row) - 1)
        touched = row[max(0, first - 1) : last + 2]
        first, last = (base + touched[0].start, base + touched[-1].end) if touched else (start, end)
        after = self._pairs(_split(self.text[first:start] + new + self.text[end:last]))
        was, now = Counter(self._pairs(touched)), Counter(after)
        gone = sum(self._cost(pair, was) * count for pair, count in (was - now).items())
        return sum(self._cost(pair, was) * count for pair, count in (now - was).items()) - gone

    def _cost(self, pair: tuple[str, bool, str], here: Counter[tuple[str, bool, str]]) -> float:
        """Return how strange it is that two tokens are neighbours: less for each time that they are, on other lines."""
        return (1.0 if pair[0] + pair[2] in _NEVER else _STRANGE) / (1 + max(self._habits[pair] - here[pair], 0))


def _split(line: str) -> list[Token]:
    """Split a line at every sign."""
    return [Token(match.start(), match.end(), match[0], 0) for match in re.finditer(_TOKEN, line)]


# What is usual in any language, so that a short text has habits, too.
_USUAL = _split("""f(a, "b", 1); x = [a[0], b]; if (a == b) { c(); } y = {a: 1, b: 2}; f(a.b(), c(d))""")
