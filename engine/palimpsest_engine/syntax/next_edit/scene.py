"""Parse what a question is about: each document as it is, and as it was before each change. Knows no finder.

Trees count bytes of UTF-8, questions and answers count code points; `Parsed` converts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import TYPE_CHECKING

from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.next_edit.shapes import is_token
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

_KEPT = 8  # documents whose last tree is kept, to grow the next one from

_last: dict[str, Parsed] = {}


@dataclass(frozen=True, slots=True)
class Hunk:
    """Tokens that have become others, none for an insertion or a deletion. was_at, now_at: the bytes where it begins."""

    was: tuple[Node, ...]
    now: tuple[Node, ...]
    was_at: int
    now_at: int


class Changed:
    """One change whose result still stands in the document: both texts around it, and their trees.

    start: where its lines begin, in both texts.
    """

    def __init__(self, change: Change, start: int, now: Parsed) -> None:
        self.change = change
        self.now = now
        self.start = start

    @cached_property
    def was(self) -> Parsed:
        """Return the document without this change; later changes are in it."""
        text, end = self.now.text, self.start + len(self.change.after)
        return Parsed(
            text[: self.start] + self.change.before + text[end:], self.now.grammar, self.now, self.now.budget_ms
        )

    @property
    def now_range(self) -> Range:
        """Return the bytes of `after` in the present text."""
        return self.now.byte(self.start), self.now.byte(self.start + len(self.change.after))

    @property
    def was_range(self) -> Range:
        """Return the bytes of `before` in the text before."""
        return self.was.byte(self.start), self.was.byte(self.start + len(self.change.before))

    @cached_property
    def hunks(self) -> tuple[Hunk, ...]:
        """Return what has become what, in tokens; empty if only white space has changed or a text has no tree."""
        was, now = tokens_of(self.was, self.was_range), tokens_of(self.now, self.now_range)
        texts = [token_text(self.was, each) for each in was], [token_text(self.now, each) for each in now]
        ends = self.was_range[1], self.now_range[1]
        found = []
        for kind, i, j, k, m in SequenceMatcher(None, *texts, autojunk=False).get_opcodes():
            if kind != "equal":
                at = (was[i].start_byte if i < len(was) else ends[0]), (now[k].start_byte if k < len(now) else ends[1])
                found.append(Hunk(tuple(was[i:j]), tuple(now[k:m]), *at))
        return tuple(found)


class Scene:
    """All documents and changes of a question, the newest change first. For one thread at a time."""

    def __init__(self, question: NextEditQuestion) -> None:
        self.question = question
        self.documents: dict[str, Parsed] = {}
        for document in question.documents:
            self.documents.setdefault(document.name, _parsed(document, question.budget_ms))

    @property
    def here(self) -> str:
        """Return the name of the document with the cursor."""
        return self.question.documents[0].name

    @cached_property
    def changes(self) -> tuple[Changed, ...]:
        """Return the changes that still stand, in documents that have a tree."""
        found = []
        for change in self.question.changes:
            now = self.documents.get(change.document)
            if now is None or change.start is None or now.tree is None:
                continue
            if now.text.startswith(change.after, change.start):
                found.append(Changed(change, change.start, now))
        return tuple(found)


def _parsed(document: OpenDocument, budget_ms: float) -> Parsed:
    grammar = language_of(document.path, document.language) or ""
    previous = _last.pop(document.name, None)
    if previous is not None and previous.grammar != grammar:
        previous = None
    if previous is not None and previous.text == document.text:
        parsed = previous
    else:
        parsed = Parsed(document.text, grammar, previous, budget_ms)
    _last[document.name] = parsed
    while len(_last) > _KEPT:
        del _last[next(iter(_last))]
    return parsed


def token_text(parsed: Parsed, node: Node) -> str:
    """Return the text of a node."""
    return parsed.data[node.start_byte : node.end_byte].decode("utf-8", "replace")


def tokens_of(parsed: Parsed, within: Range) -> list[Node]:
    """Return the leaves of the tree that lie in the range and have any text, in order."""
    if parsed.tree is None:
        return []
    return [leaf for leaf in leaves(parsed.tree.root_node, within) if leaf.start_byte < leaf.end_byte]


def leaves(node: Node, within: Range) -> Iterator[Node]:
    """Yield the leaves below a node that touch the range, in order."""
    cursor = node.walk()
    while True:
        at = cursor.node
        assert at is not None
        inside = at.end_byte > within[0] and at.start_byte < within[1]
        if inside and is_token(at):
            yield at
        elif inside and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return
