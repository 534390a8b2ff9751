"""Judge whether a fill leaves the document's syntax worse than it found it. Text in, verdict out.

Knows nothing of tensors, tokens or editors. The rule is **never worse**: the snapshot (holes as they stand) and the
spliced document are both parsed, and their defects (see `defects.py`) are compared. The spliced document is

- *valid* when it has no defect;
- *worse* when it has a defect and
  1. it has more defects than the snapshot, or
  2. some fill has more defects in it than the hole it replaces had, or
  3. ERROR nodes cover more of the user's own text (bytes outside the holes) than in the snapshot,
  unless the parser was lost anyway: every hole lies in an ERROR node of the snapshot that goes on before and after it,
  and the lines that hold the fills parse on their own;
- *no worse* otherwise.

So a clean snapshot admits only a clean document, and an ERROR node that encloses the hole may grow with the fill: bytes
inside fills never count. Rule 2 exists because error recovery is not monotone: a fill can mend the defect of its hole and
still bring one of its own. Rule 3 catches a fill that spoils its surroundings without adding a node. The exception keeps a
bracket left open far above from blocking every statement below it.

A fill is worse in any case if the token behind it becomes the end of a longer one, or part of a comment or string
(`behind.py`): such a document may well be valid, but it is not the user's any more.

tree-sitter's Python takes more than Python does: headers without a body, lines indented for no reason. So a Python document
without a defect is also shown to Python's own parser, if the snapshot passes that too or fails it at a hole (else it is no
Python of this version, and the parser's answer means nothing). If it fails with the fill, the document is *worse*; but *no
worse* if it failed so before, or if it lacks nothing but the body of the header that the fill ends with, for that is how one
writes from top to bottom.

Documents are compared as cold parses. An incremental parse is trusted only when it finds no defect, because error recovery
depends on the nodes of the old tree that it happens to reuse. Of a large document, only the items of its top level around
the holes are compared, if no defect reaches across their border: a cold parse takes time in proportion to the text, and every
fill with a defect needs one.
"""

from __future__ import annotations

import re
import time
from functools import cached_property
from typing import TYPE_CHECKING

from palimpsest_engine.errors import GrammarMissing
from palimpsest_engine.request import FillRequest, Span, Verdict
from palimpsest_engine.syntax.behind import joined_words, swallowed
from palimpsest_engine.syntax.defects import Damage, defects_of, measure, places
from palimpsest_engine.syntax.grammars import language_of, load
from palimpsest_engine.syntax.python_parser import PythonError, error_of, with_body
from palimpsest_engine.syntax.spliced import Document, Snapshot
from palimpsest_engine.syntax.tree import edited, parse_until

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

_PREAMBLES = {"php": b"<?php "}  # stands before a line to make it code
_SMALL = 262_144  # bytes to parse without a callback
_LARGE, _NEAR = 32_768, 8_192  # bytes: of a larger document only items so near the holes are compared
_CUT_BUDGETS = 4  # `cut` judges many texts; together they may take so many budgets
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # str.splitlines would also split at \x0c and such


class _OverBudgetError(Exception):
    """The deadline passed while parsing or walking a tree."""


class SyntaxGate:
    """Judges fills of one snapshot, parsing that once, when first asked. For one thread at a time."""

    def __init__(
        self,
        text: str,
        holes: tuple[Span, ...],
        language: str | None,
        budget_ms: float = 50.0,
        tree: Tree | None = None,
        near: int | None = None,
    ) -> None:
        """Take the snapshot: a text and holes in code points, sorted and disjoint (ValueError otherwise).

        language: a canonical name from `language_of` or an LSP id; if None or unknown, nothing is checked.
        budget_ms: processor time that one `judge` may take, the snapshot's parse included. tree: the text's, if it is known
        and has no defect; an incremental parse will do. near: bytes around the holes whose items are compared; the default
        compares the whole of a document that is not large.
        """
        self._known = tree
        self._near = _NEAR if near is None else near
        self._large = _LARGE if near is None else 2 * near
        self._text = Snapshot(text, holes)
        self._grammar = language_of(None, language) or ""
        self._language = language or "this kind of document"
        self._budget = budget_ms / 1000
        self._deadline = 0.0
        self._near_tree: Tree | None = None  # of the compared part, if that is not the whole snapshot
        self._broken_far = False  # there is a defect elsewhere

    def judge(self, texts: tuple[str, ...]) -> Verdict:
        """Judge the document with `texts`, one a hole, in its holes, by the rules of this module.

        `bad` of a "worse" verdict holds at least one span; each lies inside a fill and is empty only if the fill is. They
        are the defects in the fills (one character for a MISSING token); if there are none, the tokens in the fills that
        an ERROR node reaching beyond them could not place; failing that, the last line of every fill. A "no worse" verdict
        has some where another fill could make the document valid: a header without its body, an indented block without
        its header. ValueError unless there is one text a hole.
        """
        self._deadline = time.thread_time() + self._budget
        return self._judge(texts)

    def cut(self, texts: tuple[str, ...]) -> tuple[str, ...] | None:
        """Cut the fills to whole lines until the document is no worse, one last line at a time.

        With one hole this is the longest such prefix; of several, the last with a bad span is cut first. A cut fill
        drops its last line end, unless the whole fill ended with one. None when only blanks are left, when the
        candidates take more than four budgets, or when nothing can be checked.
        """
        self._deadline = time.thread_time() + self._budget * _CUT_BUDGETS
        lines = [_LINES.findall(text) for text in texts]
        left = texts
        while (verdict := self._judge(left)).status == "worse" and any(lines):
            spans = self._text.splice(left).spans
            shortable = [i for i, some in enumerate(lines) if some]
            guilty = [i for i in shortable if any(spans[i].start <= at.end <= spans[i].end for at in verdict.bad)]
            lines[max(guilty or shortable)].pop()
            left = tuple(_joined(some, text) for some, text in zip(lines, texts, strict=True))
        passed = verdict.status in ("valid", "no worse") and any(text.strip() for text in left)
        return left if passed else None

    def _judge(self, texts: tuple[str, ...]) -> Verdict:
        document = self._text.splice(texts)
        for fill, said in joined_words(self._own, document):
            return self._refused(document, fill, said)
        if not self._grammar:
            return Verdict("not checked", f"there is no grammar for {self._language}")
        try:
            tree, (_, before) = self._reparse(document), self._snapshot
            if not tree.root_node.has_error:
                for fill, said in swallowed(self._own, before.root_node, document, tree.root_node):
                    return self._refused(document, fill, said)
                return self._judge_clean(document)
            near = document.without(*self._far)
            root = self._parse(near.data).root_node
            for fill, said in swallowed(self._snapshot_near, (self._near_tree or before).root_node, near, root):
                return self._refused(near, fill, said)
            if not root.has_error:
                return Verdict("no worse") if self._broken_far else self._judge_clean(document)
            damage = measure(root, near, self._check)
            if not damage.exceeds(self._baseline) or self._stands_alone(near):
                return Verdict("no worse")
        except GrammarMissing as error:
            return Verdict("not checked", str(error))
        except _OverBudgetError:
            return Verdict("not checked", f"parsing the {self._grammar} took over {self._budget * 1000:g} ms")
        return self._worse(near, places(self._baseline, damage, near))

    def _worse(self, document: Document, where: list[tuple[int, int, int]]) -> Verdict:
        line = document.above + document.data.count(b"\n", 0, where[0][1]) + 1
        bad = tuple(document.code_points(*place) for place in where)
        return Verdict("worse", f"syntax error near line {line}", bad)

    def _refused(self, document: Document, fill: int, said: str) -> Verdict:
        return Verdict("worse", said, (document.code_points(*document.tail(fill)),))

    # Errors that only Python's own parser sees

    def _judge_clean(self, document: Document) -> Verdict:
        """Judge a document that tree-sitter finds no defect in."""
        if self._grammar != "python":
            return Verdict("valid")
        document = document.without(*self._far)
        source = document.data.decode("utf-8")
        lines = document.lines()
        if (error := error_of(source, lines)) is None:
            return Verdict("valid")
        before = self._python_before
        if before is not None and not self._at_hole(before):
            return Verdict("valid")
        said = f"line {document.above + error.line}: {error.message}"
        tails = [document.tail(i) for i, (start, end) in enumerate(document.ranges) if start < end]
        bad = tuple(document.code_points(*place) for place in tails)
        # A header that the cursor stands behind waits for its body; one that is put before something, or over it, does not.
        old = self._snapshot_near
        headers = [
            last
            for (_, last), (_, end), own in zip(lines, document.ranges, old.ranges, strict=True)
            if source.split("\n")[last - 1].split("#")[0].rstrip().endswith(":")
            and not document.data[end:].partition(b"\n")[0].strip()
            and not old.data[slice(*own)].strip()
        ]
        if error.body_missing and any(error_of(with_body(source, last)) is None for last in headers):
            return Verdict("no worse", said, bad)
        moved = document.data.count(b"\n") - self._snapshot_near.data.count(b"\n")
        if before is not None and (before.message, before.line + moved) == (error.message, error.line):
            # An indented block that wants its header can be mended here; a `try` that is still being written cannot.
            return Verdict("no worse", said, bad if error.message == "unexpected indent" else ())
        at = [place for place in tails if lines[place[0]][0] <= error.line <= lines[place[0]][1] + 1]
        return self._worse(document, at or tails or [(0, *document.ranges[0])])

    @cached_property
    def _python_before(self) -> PythonError | None:
        """Return the error that Python finds in the snapshot."""
        near = self._snapshot_near
        return error_of(near.data.decode("utf-8"), near.lines())

    def _at_hole(self, error: PythonError) -> bool:
        """Return whether the snapshot's error is at a hole; the rest may well parse in the Python that runs here."""
        near = self._snapshot_near
        return any(first <= error.line <= near.next_line(last) for first, last in near.lines())

    # Parsing and measuring: bytes of UTF-8 from here on

    @cached_property
    def _parser(self) -> Parser:
        from tree_sitter import Parser

        return Parser(load(self._grammar))

    @cached_property
    def _own(self) -> Document:
        return self._text.splice(self._text.own)

    @cached_property
    def _snapshot(self) -> tuple[Document, Tree]:
        return self._own, self._known or self._parse(self._own.data)

    @cached_property
    def _baseline(self) -> Damage:
        near, (_, tree) = self._snapshot_near, self._snapshot
        return measure((self._near_tree or tree).root_node, near, self._check)

    @cached_property
    def _snapshot_near(self) -> Document:
        return self._snapshot[0].without(*self._far)

    @cached_property
    def _far(self) -> tuple[int, int]:
        """Bytes at the start and at the end of the snapshot that are not compared: whole items, without a defect across
        their border."""
        document, tree = self._snapshot
        data, root = document.data, tree.root_node
        if len(data) <= self._large or self._grammar in _PREAMBLES:
            return 0, 0
        start, end = document.ranges[0][0], document.ranges[-1][1]
        head = _item_at(root, data, start - self._near)
        behind = _item_at(root, data, end + self._near, behind=True)
        defects = [defect.range for defect in defects_of(root, self._check)]
        within = [(first, last) for first, last in defects if first < behind and last > head]
        if head > start or any(first < head or last > behind for first, last in within):
            return 0, 0
        tree = self._parse(data[head:behind])
        if not within and tree.root_node.has_error:
            return 0, 0  # these items are no document by themselves
        self._near_tree, self._broken_far = tree, len(within) < len(defects)
        return head, len(data) - behind

    def _reparse(self, document: Document) -> Tree:
        """Parse the document from the snapshot's tree on."""
        snapshot, tree = self._snapshot
        if document.data == snapshot.data:
            return tree
        return self._parse(document.data, edited(snapshot.data, tree, document.data))

    def _parse(self, data: bytes, old: Tree | None = None) -> Tree:
        try:
            tree = parse_until(lambda: time.thread_time() > self._deadline, self._parser, data, old, _SMALL)
        except ValueError:  # the deadline stopped the parser
            self._parser.reset()
            raise _OverBudgetError from None
        self._check()
        return tree

    def _check(self) -> None:
        """Raise if the deadline has passed."""
        if time.thread_time() > self._deadline:
            raise _OverBudgetError

    def _stands_alone(self, document: Document) -> bool:
        """Return whether the exception holds: the parser is lost around every hole, and the fills' lines parse alone."""
        errors = [defect.range for defect in self._baseline.defects]
        holes = self._snapshot_near.ranges
        for (start, end), (new_start, new_end) in zip(holes, document.ranges, strict=True):
            if not any(error[0] < start and end < error[1] for error in errors):
                return False
            line_end = document.data.find(b"\n", new_end)
            line_start = document.data.rfind(b"\n", 0, new_start) + 1
            lines = document.data[line_start : line_end if line_end >= 0 else None]
            if self._parse(_PREAMBLES.get(self._grammar, b"") + lines + b"\n").root_node.has_error:
                return False
        return True


def judge(request: FillRequest, texts: tuple[str, ...]) -> Verdict:
    """Judge a request's holes filled with these texts."""
    return SyntaxGate(request.text, request.holes, language_of(request.path, request.language)).judge(texts)


def _item_at(root: Node, data: bytes, at: int, *, behind: bool = False) -> int:
    """Return the start of the top-level item around this byte, or of the first one behind it; always at the start of a line.

    behind: only one behind it will do. The end of the data if there is none.
    """
    if at <= 0:
        return 0
    cursor = root.walk()
    found = cursor.goto_first_child_for_byte(at) is not None
    while found and (node := cursor.node) is not None:
        start = node.start_byte
        if (start >= at or not behind) and data[max(start - 1, 0) : start] in (b"", b"\n"):
            return start
        found = cursor.goto_next_sibling()
    return len(data)


def _joined(lines: list[str], whole: str) -> str:
    """Join the first lines of `whole`, ending as `whole` does."""
    text = "".join(lines)
    if text == whole or whole.endswith(("\n", "\r")):
        return text
    return text.removesuffix("\n").removesuffix("\r")
