"""Find the comments, strings, placeholders, bodies, imports and definitions of a document, by tree-sitter.

Text in, spans of code points out; knows nothing of tensors, tokens, editors or any one language: a query describes each
language (see `captures.py`).
"""

from __future__ import annotations

import re
import textwrap
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from palimpsest_engine.request import Span
from palimpsest_engine.syntax.captures import Block, Marks, blocks_of, defect_query, marks_of, outermost, query
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

__all__ = ["Definition", "Outline"]

Kind: TypeAlias = Literal["code", "comment", "string"]

_KINDS: dict[str, Kind] = {"comment": "comment", "string": "string", "code": "code", "code.inner": "code"}
_BLANK = b" \t\r\n\x0c"
_NOTHING = _BLANK + b";"
_LINE = 2048  # bytes of a line before the cursor to search for an open quote
_SIGNATURE = 8  # lines
_IMPORT_KEYWORD = re.compile(r"^import\s+")  # Scala's grammar has no node without it
_SELECTORS = re.compile(r"\s*\.\s*(\{.*|_|\*)$", re.DOTALL)
_TODO = re.compile(rb"(//|#|--|/\*|<!--|--\[\[)\s*TODO\b")
_CLOSED_COMMENT = re.compile(rb"/\*.*\*/|<!--.*-->|--\[(=*)\[.*\]\1\]|=begin.*=end\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, class or type of the top level or of a class.

    signature: its text without the body, a few lines; of a type its fields too, as far as they fit.
    """

    name: str
    span: Span
    signature: str


class Outline:
    """The structure of one text, parsed when first needed. For one thread at a time.

    A text in no known language, or one that takes too long to parse, counts as code without any structure, and `reason`
    says why. Offsets outside the text count as its ends. The parse of a broken text depends on its history: grown from a
    `previous` one, it may recover otherwise than from scratch.
    """

    def __init__(
        self,
        text: str,
        language: str | None,
        path: str | None = None,
        previous: Outline | None = None,
        budget_ms: float = 1000.0,
    ) -> None:
        """Take a document. language: an LSP language id or a canonical name; None to judge by path.

        previous: an outline of an earlier text; if it is of the same language and was parsed, only changes are parsed
        anew. budget_ms: the time for the parse, and for each search through the tree.
        """
        self._grammar = language_of(path, language) or ""
        self._unknown = "" if self._grammar else f"there is no grammar for {language or 'this kind of document'}"
        self._declares = (path or "").lower().endswith((".pyi", ".d.ts"))  # functions have no bodies
        base: Parsed | None = previous._parsed if previous is not None and previous._grammar == self._grammar else None
        self._parsed: Parsed = Parsed(text, self._grammar, base, budget_ms)

    @property
    def reason(self) -> str:
        """Parse the text, and return the reason why it has no structure; empty if it has one."""
        _ = self._parsed.tree
        return self._unknown or self._parsed.reason

    def kind_at(self, offset: int) -> Kind:
        """Return the kind of a text inserted there; at the end of a line comment it is a comment.

        The rest of a line after an open quote is a string, though the parser makes none of it.
        """
        at = self._parsed.byte(offset)
        line = max(self._data.rfind(b"\n", 0, at) + 1, at - _LINE)
        found: list[tuple[int, int, Kind]] = []
        quotes = set()
        for captures in self._matches(line, at + 1):
            for name, kind in _KINDS.items():
                nodes = (node for node in captures.get(name, ()) if self._takes_in(node, name, at))
                found += ((node.start_byte, -node.end_byte, kind) for node in nodes)
            quotes |= {node.end_byte for node in captures.get("quote", ()) if line <= node.start_byte}
        if found:
            return max(found)[2]
        return "string" if sum(end <= at for end in quotes) % 2 else "code"

    def body_at(self, offset: int) -> Span | None:
        """Return the body of the innermost function around the offset, else of the innermost class; None outside both.

        It reaches from its first to its last character that is not blank, without header, docstring and braces. An empty
        body is an empty span at the place to write it. An indented body includes blanks of the same depth.
        """
        at = self._parsed.byte(offset)
        matches = self._matches(max(self._before(at) - 1, 0), at + 1)
        blocks = [block for captures in matches for block in blocks_of(captures) if self._holds(block, at)]
        best = max(blocks, key=lambda block: (block.kind != "class", block.node[0], -block.node[1]), default=None)
        if best is None or best.region is None:
            return None
        start, end = self._trim(best.region)
        doc = self._docstring(start, end)
        if doc < end:
            return self._parsed.span(self._trim((doc, end)))
        if at > end and not best.closed:  # below the header or the docstring of a body not yet begun
            return self._parsed.span((at, at))
        place = end if start < end else self._room(best)
        return self._parsed.span((end, end) if place is None else (place, place))

    def placeholders(self) -> tuple[Span, ...]:
        """Return the holes of "fill every hole": sorted, disjoint; an empty span is an insertion into an empty body.

        They are the stubs of functions that have nothing else (`pass`, `raise NotImplementedError`; docstring and comments
        stay), placeholders by name (`todo!()`, `???`), empty bodies of functions, and TODO comments alone on their line or
        in the body of a function. Neighbours in one body, or one column, are one: a TODO comment goes with its stub. A
        docstring or a comment alone is a body.
        """
        if self._declares:
            return ()
        marks = self._marks
        todos = {place for place in marks.comments if _TODO.match(self._data, *place)}
        atoms = set(outermost([*marks.stubs, *marks.holes, *todos]))
        fillers = outermost([*atoms, *marks.comments, *marks.docs])
        holes = atoms.intersection([*marks.holes, *filter(self._has_its_line, todos)])
        owners: dict[Range, Range | int] = {place: self._column(place[0]) for place in holes}
        for block in marks.blocks:
            if block.kind != "function" or block.region is None or block.node in marks.kept:
                continue
            contents = self._contents(block.region, fillers)
            if contents:
                owners |= {place: block.node for place in contents if place in atoms}
            elif contents is not None and (room := self._room(block)) is not None:
                owners[room, room] = block.node
        merged: list[tuple[Range, Range | int]] = []
        for (start, end), owner in sorted(owners.items(), key=lambda item: item[0]):
            if merged and merged[-1][1] == owner and not self._data[merged[-1][0][1] : start].strip(_BLANK):
                start = merged.pop()[0][0]
            if not merged or merged[-1][0][1] <= start:
                merged.append(((start, end), owner))
        return tuple(self._parsed.span(place) for place, _ in merged)

    def defects(self, span: Span) -> tuple[Span, ...]:
        """Return the broken parts of the span: the code of the lines with ERROR and MISSING nodes, clipped to it and merged.

        Nodes that touch the span count. Of an ERROR over several lines only the tokens that it could not place do.
        """
        low, high = self._parsed.byte(span.start), self._parsed.byte(span.end)
        if self._parsed.tree is None or not self._parsed.tree.root_node.has_error:
            return ()
        places = set()
        for captures in self._parsed.matches(defect_query(self._grammar), max(low - 1, 0), high + 1):
            for name, node in ((name, node) for name, nodes in captures.items() for node in nodes):
                start, end = node.byte_range
                if start > high or end < low:
                    continue
                if name == "missing":  # its place is the end of the code before it
                    before = max(self._before(start) - 1, 0)
                    places.add((before, before))
                elif not node.child_count or node.start_point[0] == node.end_point[0]:
                    places.add((start, end))
        lines = sorted({self._line(start, end) for start, end in places})
        merged: list[Range] = []
        for start, end in ((max(start, low), min(end, high)) for start, end in lines):
            if start < end:
                if merged and not self._data[merged[-1][1] : start].strip(_BLANK):
                    start, end = merged[-1][0], max(end, merged.pop()[1])
                merged.append((start, end))
        return tuple(map(self._parsed.span, merged))

    def imports(self) -> tuple[str, ...]:
        """Return the module specifiers as written, without quotes, in order, each once."""
        texts = (self._data[start:end].decode("utf-8", "replace") for start, end in sorted(self._marks.imports))
        return tuple(dict.fromkeys(filter(None, map(_specifier, texts))))

    def definitions(self) -> tuple[Definition, ...]:
        """Return the functions, classes and types that are not inside a function, in order."""
        found: dict[Range, Definition] = {}
        inside = 0
        for block in self._marks.blocks:
            if block.node[0] < inside:
                continue
            if block.name is not None and block.node not in found:
                name = self._data[slice(*block.name)].decode("utf-8", "replace")
                found[block.node] = Definition(name, self._parsed.span(block.node), self._signature(block))
            if block.kind in ("function", "closure"):
                inside = block.node[1]
        return tuple(found.values())

    # Bytes of UTF-8 from here on

    @property
    def _data(self) -> bytes:
        return self._parsed.data

    def _matches(self, start: int, end: int) -> Iterator[dict[str, list[Node]]]:
        return iter(()) if self._parsed.tree is None else self._parsed.matches(query(self._grammar), start, end)

    @cached_property
    def _marks(self) -> Marks:
        return marks_of(self._parsed)

    def _takes_in(self, node: Node, name: str, at: int) -> bool:
        """Return whether an insertion there would belong to the node."""
        start, end = node.byte_range
        if start < at < end:
            return True
        if name == "code.inner":
            return start <= at <= end
        if at != end or start == end:
            return False
        if name == "comment":
            text = self._data[start:end]
            return not text.endswith(b"\n") and not _CLOSED_COMMENT.fullmatch(text)
        last = node.child(node.child_count - 1) if node.child_count else None
        return name == "string" and last is not None and last.is_missing

    def _holds(self, block: Block, at: int) -> bool:
        """Return whether an insertion there is part of the block; one that nothing closes includes blanks behind it."""
        start, end = block.node
        if block.kind == "type" or block.region is None or at < start:
            return False
        if block.closed or at <= end:
            return at < end or (at == end and not block.closed)
        return not self._data[end:at].strip(_BLANK) and self._column(at) > block.column

    def _contents(self, region: Range, fillers: list[Range]) -> list[Range] | None:
        """Return the fillers in the region; None if it holds anything else but blanks."""
        at, end = region
        found = []
        for i in range(bisect_left(fillers, (at, at)), len(fillers)):
            if fillers[i][1] > end or self._data[at : fillers[i][0]].strip(_NOTHING):
                break
            found.append(fillers[i])
            at = fillers[i][1]
        return None if self._data[at:end].strip(_NOTHING) else found

    def _room(self, block: Block) -> int | None:
        """Return the place to write an empty body: on a blank line there, else right after the opening brace, if any."""
        assert block.region is not None
        (start, end), closed = block.region, block.closed
        if not closed:
            end += len(self._data[end:]) - len(self._data[end:].lstrip(_BLANK))
        line = self._data.find(b"\n", start, end)
        if line >= 0:
            stop = self._data.find(b"\n", line + 1, end)
            stop = end if stop < 0 and end == len(self._data) else stop
            blank = self._data[line + 1 : max(stop, 0)].rstrip(b"\r")
            if stop >= 0 and (closed or len(blank) > block.column):
                return line + 1 + len(blank)
            if closed and self._data[start - 1 : start] != b"{":  # right after a name it would continue the name
                return line + 1
        return start + self._data[start:end].rfind(b";") + 1 if closed else None

    def _trim(self, region: Range) -> Range:
        """Return the region without blanks around it and stray semicolons before it; else an empty one at its start."""
        start, end = region
        text = self._data[start:end].lstrip(_NOTHING)
        return (end - len(text), end - len(text) + len(text.rstrip(_BLANK))) if text else (start, start)

    def _docstring(self, start: int, end: int) -> int:
        """Return the end of the docstring at the start of the body; the start if there is none."""
        nodes = (node for captures in self._matches(start, start + 1) for node in captures.get("doc", ()))
        return max(
            (node.end_byte for node in nodes if node.start_byte == start and node.end_byte <= end),
            default=start,
        )

    def _before(self, at: int) -> int:
        """Return the end of the last character before `at` that is not blank."""
        return max(at - _LINE, 0) + len(self._data[max(at - _LINE, 0) : at].rstrip(_BLANK))

    def _column(self, at: int) -> int:
        return at - (self._data.rfind(b"\n", 0, at) + 1)

    def _line(self, start: int, end: int) -> Range:
        """Return the code of the lines that the range touches."""
        first, last = self._data.rfind(b"\n", 0, start) + 1, self._data.find(b"\n", end)
        return self._trim((first, len(self._data) if last < 0 else last))

    def _has_its_line(self, place: Range) -> bool:
        return self._line(*place) == place

    def _signature(self, block: Block) -> str:
        start, end = block.node
        text = self._data[start : end if block.kind == "type" else block.header].decode("utf-8", "replace")
        lines = textwrap.dedent(" " * self._column(start) + text).strip().splitlines()
        return "\n".join(lines[:_SIGNATURE]).rstrip(" \t;" if block.kind == "type" else " \t:={;")


def _specifier(text: str) -> str:
    text = _IMPORT_KEYWORD.sub("", text.strip())
    return _SELECTORS.sub("", text).strip("\"'`")
