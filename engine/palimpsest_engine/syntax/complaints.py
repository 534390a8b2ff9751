"""Tell which complaints of the parsers about a text are mistakes in it, and which are shortcomings of the parsers.

Text in, spans out. `Outline.defects` says what the grammar complains about; the rules that take some of that back are here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from palimpsest_engine.request import Span
from palimpsest_engine.syntax.extensions import beyond_the_grammar, blanked
from palimpsest_engine.syntax.grammars import language_of, load
from palimpsest_engine.syntax.outline import Outline
from palimpsest_engine.syntax.python_parser import LONGEST, error_of

if TYPE_CHECKING:
    from tree_sitter import Node

_NEVER_WRONG = ("markdown",)  # every text is one; what the grammar misses is the grammar's fault
_NEWER = {"type_parameter": (3, 12), "type_alias_statement": (3, 12)}  # syntax and the first Python that knows it
_HEAD = re.compile(r"(?<=\n)\n(?=[^\s)\]}])")  # a blank line, and code that is not indented behind it


class Complaints:
    """Tells what is broken in one text. For one thread at a time.

    grammar: the canonical name, or "". never_wrong: no text in this language is wrong.
    """

    def __init__(
        self,
        text: str,
        language: str | None,
        path: str | None = None,
        *,
        cell: bool = False,
    ) -> None:
        """Take a text. language, path: as `Outline` has them. cell: the text is a cell of a notebook."""
        self.text = text
        self.grammar = language_of(path, language) or ""
        self.never_wrong = self.grammar in _NEVER_WRONG
        self._language, self._path, self._cell = language, path, cell

    @cached_property
    def allowed(self) -> tuple[Span, ...]:
        """Return the spans that the host of the document takes care of."""
        return () if self.never_wrong else beyond_the_grammar(self.text, self._language, self._path, cell=self._cell)

    @cached_property
    def plain(self) -> str:
        """Return the text with these spans blanked."""
        return blanked(self.text, self.allowed)

    @cached_property
    def _outline(self) -> Outline:
        return Outline(self.plain, self._language, self._path)

    def after(self, text: str) -> Complaints:
        """Return the complaints about the same document with another text."""
        return Complaints(text, self._language, self._path, cell=self._cell)

    def defects(self, within: Span) -> tuple[Span, ...]:
        """Return the broken parts of the span, as `Outline.defects` does, without those that may be no mistakes.

        These are: lines that a notebook gives to IPython; commas that jsonc allows; Markdown; Python that one of the two
        parsers accepts, or that is in syntax newer than the Python that runs here.
        """
        if not self.grammar or self.never_wrong:
            return ()
        found = self._outline.defects(within)
        if not found or self.grammar != "python":
            return found
        return tuple(span for span in found if not self._accepted(span))

    def _accepted(self, broken: Span) -> bool:
        """Return whether Python's own parser accepts what the grammar complains about, or is too old to be asked."""
        from tree_sitter import Parser

        if len(self.plain) <= LONGEST and error_of(self.plain) is None:
            return True
        block = self.plain[slice(*block_around(self.plain, broken))]
        if len(block) < len(self.plain) and len(block) <= LONGEST and error_of(block) is None:
            return True
        newer = tuple(kind for kind, version in _NEWER.items() if sys.version_info < version)
        start, end = block_around(self.plain, broken)
        low, high = (len(self.plain[start:at].encode("utf-8", "replace")) for at in (broken.start, broken.end))
        root = Parser(load(self.grammar)).parse(self.plain[start:end].encode("utf-8", "replace")).root_node
        errors = [node for node in _errors(root) if node.start_byte <= high and low <= node.end_byte]
        return bool(errors) and all(_is_in(node, newer) for node in errors)


def block_around(text: str, broken: Span) -> tuple[int, int]:
    """Return the part of a text around a span that begins and ends where code without indentation follows a blank line."""
    heads = [0, *(match.end() for match in _HEAD.finditer(text.replace("\r\n", " \n"))), len(text)]
    start = max(head for head in heads if head <= broken.start)
    return start, min((head for head in heads if head > broken.end), default=len(text))


def _errors(root: Node) -> Iterator[Node]:
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if node.is_error or node.is_missing:
            yield node
        elif node.has_error:
            nodes += node.children


def _is_in(node: Node | None, kinds: tuple[str, ...]) -> bool:
    while node is not None:
        if node.type in kinds:
            return True
        node = node.parent
    return False
