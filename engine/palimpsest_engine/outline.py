"""What stands where in a document: comments, strings, placeholders, bodies, imports, definitions; by tree-sitter.

Text in, spans of code points out; knows nothing of tensors, tokens or editors. What there is in a language is said by
`queries/<grammar>.scm`, in these captures (names that begin with `_` serve the queries' own conditions):

- `comment`, `string`, `code`, `code.inner`: kinds of text; the innermost decides. Code inside strings is captured with
  its brackets, or without as `code.inner`. `quote`: a quote that the parser could not pair. What is not captured is
  code: so is all of Markdown, and JSON, YAML, TOML and HTML but for comments (their strings are what they are about).
- `function`, `closure`, `class`, `type`, with `name` and where the body is: `body` (a node; its braces do not belong
  to it), or from the end of `open`, else of `head`, to the start of `close`. Only a function's body can be a
  placeholder for being empty; a closure's is meant to be.
- `stub`: a placeholder if a function holds nothing else. `hole`: a placeholder anywhere. `claim`: a stub if it says
  that something is not implemented; a hole if that is all it says. `doc`: a docstring. `keep`: a function whose body
  is as short as it is meant to be.
- `import`: a module specifier.
"""

from __future__ import annotations

import re
import textwrap
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from palimpsest_engine.grammars import language_of, load
from palimpsest_engine.parsed import Parsed, Range
from palimpsest_engine.request import Span

if TYPE_CHECKING:
    from tree_sitter import Node, Query

__all__ = ["Definition", "Outline"]

Kind: TypeAlias = Literal["code", "comment", "string"]

_QUERIES = Path(__file__).parent / "queries"
_KINDS: dict[str, Kind] = {"comment": "comment", "string": "string", "code": "code", "code.inner": "code"}
_BLOCKS = ("function", "closure", "class", "type")
_BLANK = b" \t\r\n\x0c"
_NOTHING = _BLANK + b";"
_LINE = 2048  # bytes of a line before the cursor that are searched for an open quote
_SIGNATURE = 8  # lines
_INHERITS = re.compile(r"; inherits: (\w+)")
_IMPORT_KEYWORD = re.compile(r"^import\s+")  # what Scala's grammar has no node without
_SELECTORS = re.compile(r"\s*\.\s*(\{.*|_|\*)$", re.DOTALL)
_TODO = re.compile(rb"(//|#|--|/\*|<!--|--\[\[)\s*TODO\b")
_CLAIM = re.compile(
    rb"\bTODO\b|NotImplemented|(?i:\bnot[ _-]?(yet[ _-]?)?implemented|unimplemented|not supported yet)"
)
_BARE_CLAIM = re.compile(
    rb"[\"'`](TODO\b[^\"'`]*|(?i:not (yet )?implemented( yet)?|unimplemented)[.!]*)[\"'`]"
)
_CLOSED_COMMENT = re.compile(rb"/\*.*\*/|<!--.*-->|--\[(=*)\[.*\]\1\]|=begin.*=end\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, class or type of the top level or of a class.

    signature: its text without the body, a few lines; of a type its fields too, as far as they fit.
    """

    name: str
    span: Span
    signature: str


@dataclass(frozen=True, slots=True)
class _Block:
    """Something with a body. header: where its signature ends. region: between its braces. column: of its start."""

    kind: str
    node: Range
    header: int
    region: Range | None
    column: int
    name: Range | None

    @property
    def closed(self) -> bool:
        """Whether something ends it: a brace, an `end`. If nothing does, it is indented or one expression."""
        return self.region is not None and self.region[1] < self.node[1]


@dataclass(slots=True)
class _Marks:
    """What was captured in a whole document."""

    blocks: list[_Block] = field(default_factory=list)  # sorted, outer before inner
    imports: list[Range] = field(default_factory=list)
    comments: list[Range] = field(default_factory=list)
    docs: list[Range] = field(default_factory=list)
    stubs: list[Range] = field(default_factory=list)
    holes: list[Range] = field(default_factory=list)
    kept: set[Range] = field(default_factory=set)


class Outline:
    """What stands where in one text; parsed when first asked. For one thread at a time.

    Questions about a text in no known language, or one that takes too long, are answered as if it were code without
    any structure, and `reason` says why. Offsets outside the text count as its ends. The parse of a broken text
    depends on how it came about: what grew from a `previous` one may recover otherwise than the text from scratch.
    """

    def __init__(
        self,
        text: str,
        language: str | None,
        path: str | None = None,
        previous: Outline | None = None,
        budget_ms: float = 1000.0,
    ) -> None:
        """text: the document. language: an LSP language id or a canonical name; None to judge by path.

        previous: an outline of an earlier text; if it is of the same language and was parsed, only what changed is
        parsed anew. budget_ms: what the parse may take, and so may each search through the tree.
        """
        self._grammar = language_of(path, language) or ""
        self._unknown = (
            "" if self._grammar else f"there is no grammar for {language or 'this kind of document'}"
        )
        self._declares = (
            (path or "").lower().endswith((".pyi", ".d.ts"))
        )  # a file in which no function has a body
        base: Parsed | None = (
            previous._parsed if previous is not None and previous._grammar == self._grammar else None
        )
        self._parsed: Parsed = Parsed(text, self._grammar, base, budget_ms)

    @property
    def reason(self) -> str:
        """Why the answers say nothing; empty while they do. Parses."""
        return (
            ""
            if self._parsed.tree is not None and not self._parsed.reason
            else self._unknown or self._parsed.reason
        )

    def kind_at(self, offset: int) -> Kind:
        """What text inserted there would be; at the end of a line comment it would be comment.

        The parser makes no string of a quote that is still open; here the rest of its line is one.
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
        """The body of the innermost function around the offset, else of the innermost class; None outside both.

        From its first character to its last that is not blank, without header, docstring and braces. An empty body
        is where it would be written. An indented body goes on over blanks that are as deep.
        """
        at = self._parsed.byte(offset)
        matches = self._matches(max(self._before(at) - 1, 0), at + 1)
        blocks = [block for captures in matches for block in _blocks(captures) if self._holds(block, at)]
        best = max(
            blocks, key=lambda block: (block.kind != "class", block.node[0], -block.node[1]), default=None
        )
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
        """What "fill every hole" fills: sorted, disjoint; an empty span is an insertion into an empty body.

        They are stubs that are all a function has (`pass`, `raise NotImplementedError`; docstring and comments stay),
        placeholders by name (`todo!()`, `???`), bodies of functions without a word in them, and TODO comments that
        have a line, or the body of a function, to themselves. Neighbours in one body, or one column, are one: a TODO
        comment goes with its stub. A docstring or a comment alone is a body.
        """
        if self._declares:
            return ()
        marks = self._marks
        todos = {place for place in marks.comments if _TODO.match(self._data, *place)}
        atoms = set(_outermost([*marks.stubs, *marks.holes, *todos]))
        fillers = _outermost([*atoms, *marks.comments, *marks.docs])
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
        """What is broken in the span: the code of the lines with ERROR and MISSING nodes, clipped to it and merged.

        Nodes that touch the span count. Of an ERROR over several lines only what it could not make sense of does.
        """
        low, high = self._parsed.byte(span.start), self._parsed.byte(span.end)
        if self._parsed.tree is None or not self._parsed.tree.root_node.has_error:
            return ()
        places: set[Range] = set()
        for captures in self._parsed.matches(_defects(self._grammar), max(low - 1, 0), high + 1):
            for name, nodes in captures.items():
                places |= {
                    (self._before(node.start_byte) - 1,) * 2 if name == "missing" else node.byte_range
                    for node in nodes
                    if node.start_byte <= high
                    and node.end_byte >= low
                    and (
                        name == "missing" or not node.child_count or node.start_point[0] == node.end_point[0]
                    )
                }
        lines = sorted({self._line(max(start, 0), max(end, 0)) for start, end in places})
        merged: list[Range] = []
        for start, end in ((max(start, low), min(end, high)) for start, end in lines):
            if start < end:
                if merged and not self._data[merged[-1][1] : start].strip(_BLANK):
                    start, end = merged[-1][0], max(end, merged.pop()[1])
                merged.append((start, end))
        return tuple(map(self._parsed.span, merged))

    def imports(self) -> tuple[str, ...]:
        """Module specifiers as written, without quotes, in order, each once."""
        texts = (
            self._data[start:end].decode("utf-8", "replace") for start, end in sorted(self._marks.imports)
        )
        return tuple(dict.fromkeys(filter(None, map(_specifier, texts))))

    def definitions(self) -> tuple[Definition, ...]:
        """Functions, classes and types that are not inside a function, in order."""
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
        return (
            iter(()) if self._parsed.tree is None else self._parsed.matches(_query(self._grammar), start, end)
        )

    @cached_property
    def _marks(self) -> _Marks:
        marks = _Marks()
        places = {name: getattr(marks, name + "s") for name in ("import", "doc", "stub", "hole")}
        for captures in self._matches(0, len(self._data)):
            marks.blocks += _blocks(captures)
            for name, into in places.items():
                into += (node.byte_range for node in captures.get(name, ()))
            marks.kept |= {node.byte_range for node in captures.get("keep", ())}
            for start, end in (node.byte_range for node in captures.get("comment", ())):
                marks.comments.append((start, start + len(self._data[start:end].rstrip(_BLANK))))
            for node in captures.get("claim", ()):
                if _CLAIM.search(self._data, *node.byte_range):
                    bare = _BARE_CLAIM.search(self._data, *node.byte_range)
                    (marks.holes if bare else marks.stubs).append(node.byte_range)
        key = lambda block: (block.node[0], -block.node[1], _BLOCKS.index(block.kind))
        marks.blocks = sorted(set(marks.blocks), key=key)
        return marks

    def _takes_in(self, node: Node, name: str, at: int) -> bool:
        """Whether an insertion there would belong to the node."""
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

    def _holds(self, block: _Block, at: int) -> bool:
        """Whether an insertion there is part of the block, which may go on over blanks if nothing closes it."""
        start, end = block.node
        if block.kind == "type" or block.region is None or at < start:
            return False
        if block.closed or at <= end:
            return at < end or (at == end and not block.closed)
        return not self._data[end:at].strip(_BLANK) and self._column(at) > block.column

    def _contents(self, region: Range, fillers: list[Range]) -> list[Range] | None:
        """The fillers in the region if there is nothing else but blanks; None if there is."""
        at, end = region
        found = []
        for i in range(bisect_left(fillers, (at, at)), len(fillers)):
            if fillers[i][1] > end or self._data[at : fillers[i][0]].strip(_NOTHING):
                break
            found.append(fillers[i])
            at = fillers[i][1]
        return None if self._data[at:end].strip(_NOTHING) else found

    def _room(self, block: _Block) -> int | None:
        """Where an empty body is to be written: on a blank line there, else right after the opening brace, if any."""
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
            if closed and self._data[start - 1 : start] != b"{":  # right after a name it would go on with the name
                return line + 1
        return start + self._data[start:end].rfind(b";") + 1 if closed else None

    def _trim(self, region: Range) -> Range:
        """The region without blanks around it and stray semicolons before it; empty at its start if that is all."""
        start, end = region
        text = self._data[start:end].lstrip(_NOTHING)
        return (end - len(text), end - len(text) + len(text.rstrip(_BLANK))) if text else (start, start)

    def _docstring(self, start: int, end: int) -> int:
        """Where the docstring ends that the body begins with; its start if there is none."""
        nodes = (node for captures in self._matches(start, start + 1) for node in captures.get("doc", ()))
        return max(
            (node.end_byte for node in nodes if node.start_byte == start and node.end_byte <= end),
            default=start,
        )

    def _before(self, at: int) -> int:
        """The end of the last character before `at` that is not blank."""
        return max(at - _LINE, 0) + len(self._data[max(at - _LINE, 0) : at].rstrip(_BLANK))

    def _column(self, at: int) -> int:
        return at - (self._data.rfind(b"\n", 0, at) + 1)

    def _line(self, start: int, end: int) -> Range:
        """The code of the lines that the range touches."""
        first, last = self._data.rfind(b"\n", 0, start) + 1, self._data.find(b"\n", end)
        return self._trim((first, len(self._data) if last < 0 else last))

    def _has_its_line(self, place: Range) -> bool:
        return self._line(*place) == place

    def _signature(self, block: _Block) -> str:
        start, end = block.node
        text = self._data[start : end if block.kind == "type" else block.header].decode("utf-8", "replace")
        lines = textwrap.dedent(" " * self._column(start) + text).strip().splitlines()
        return "\n".join(lines[:_SIGNATURE]).rstrip(" \t;" if block.kind == "type" else " \t:={;")


def _blocks(captures: dict[str, list[Node]]) -> Iterator[_Block]:
    for kind in _BLOCKS:
        for node in captures.get(kind, ()):
            header, region = node.end_byte, None
            start = end = None
            if "body" in captures:
                body = captures["body"][0]
                header, (start, end) = body.start_byte, _inside(body)
            if "open" in captures:
                header, start = captures["open"][0].byte_range
            elif "head" in captures:
                header = start = captures["head"][0].end_byte
            if "close" in captures:
                end = captures["close"][-1].start_byte
            if start is not None and end is not None:
                region = (start, max(start, end))
            name = captures["name"][0].byte_range if "name" in captures else None
            yield _Block(kind, node.byte_range, header, region, node.start_point[1], name)


def _inside(body: Node) -> Range:
    """The body without its braces, or what else introduces it."""
    start, end = body.byte_range
    if body.child_count:
        first, last = body.child(0), body.child(body.child_count - 1)
        start = first.end_byte if first.type in ("{", ":", "=", "=>") else start
        end = last.start_byte if last.type == "}" else end
    return start, max(start, end)


def _outermost(places: Iterable[Range]) -> list[Range]:
    """Sorted, without those that overlap an earlier or longer one."""
    found: list[Range] = []
    for place in sorted(set(places), key=lambda place: (place[0], -place[1])):
        if not found or found[-1][1] <= place[0]:
            found.append(place)
    return found


def _specifier(text: str) -> str:
    text = _IMPORT_KEYWORD.sub("", text.strip())
    return _SELECTORS.sub("", text).strip("\"'`")


@cache
def _query(grammar: str) -> Query:
    from tree_sitter import Query

    return Query(load(grammar), _source(grammar))


def _source(grammar: str) -> str:
    text = (_QUERIES / f"{grammar}.scm").read_text("utf-8")
    parent = _INHERITS.match(text)
    return (_source(parent[1]) if parent else "") + text


@cache
def _defects(grammar: str) -> Query:
    from tree_sitter import Query

    return Query(load(grammar), "(ERROR) @error (ERROR _ @error) (MISSING) @missing")
