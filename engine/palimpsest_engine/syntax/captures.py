"""Read the captures of a language's queries from a tree, as ranges of bytes; knows nothing of their use.

A language is described by `queries/<grammar>.scm`, in these captures (names that begin with `_` serve the queries' own
conditions):

- `comment`, `string`, `code`, `code.inner`: kinds of text; the innermost decides. Code inside strings is captured with
  its brackets, or without as `code.inner`. `quote`: a quote that the parser could not pair. All other text is code: so is
  all of Markdown, and JSON, YAML, TOML and HTML but for comments (their strings are their contents).
- `function`, `closure`, `class`, `type`, with `name` and the body: `body` (a node; its braces do not belong to it), or
  from the end of `open`, else of `head`, to the start of `close`. Only a function's empty body can be a placeholder; a
  closure's is meant to be empty.
- `stub`: a placeholder if a function holds nothing else. `hole`: a placeholder anywhere. `claim`: a stub if it says
  that something is not implemented; a hole if it says nothing else. `doc`: a docstring. `keep`: a function with a body
  that is short on purpose.
- `import`: a module specifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.grammars import load
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node, Query

_QUERIES = Path(__file__).parent / "queries"
_INHERITS = re.compile(r"; inherits: (\w+)")
_BLOCKS = ("function", "closure", "class", "type")
_CLAIM = re.compile(rb"\bTODO\b|NotImplemented|(?i:\bnot[ _-]?(yet[ _-]?)?implemented|unimplemented|not supported yet)")
_BARE_CLAIM = re.compile(rb"[\"'`](TODO\b[^\"'`]*|(?i:not (yet )?implemented( yet)?|unimplemented)[.!]*)[\"'`]")


@dataclass(frozen=True, slots=True)
class Block:
    """A definition with a body. header: the end of its signature. region: between its braces. column: of its start."""

    kind: str
    node: Range
    header: int
    region: Range | None
    column: int
    name: Range | None

    @property
    def closed(self) -> bool:
        """Return whether a brace or an `end` closes the block. If nothing does, it is indented or one expression."""
        return self.region is not None and self.region[1] < self.node[1]


@dataclass(slots=True)
class Marks:
    """All captures of a whole document."""

    blocks: list[Block] = field(default_factory=list)  # sorted, outer before inner
    imports: list[Range] = field(default_factory=list)
    comments: list[Range] = field(default_factory=list)
    docs: list[Range] = field(default_factory=list)
    stubs: list[Range] = field(default_factory=list)
    holes: list[Range] = field(default_factory=list)
    kept: set[Range] = field(default_factory=set)


def marks_of(parsed: Parsed) -> Marks:
    """Return all captures of the document; none, with a reason in `parsed`, if that takes too long."""
    marks = Marks()
    if parsed.tree is None:
        return marks
    places = {name: getattr(marks, name + "s") for name in ("import", "doc", "stub", "hole")}
    for captures in parsed.matches(query(parsed.grammar), 0, len(parsed.data)):
        marks.blocks += blocks_of(captures)
        for name, into in places.items():
            into += (node.byte_range for node in captures.get(name, ()))
        marks.kept |= {node.byte_range for node in captures.get("keep", ())}
        for start, end in (node.byte_range for node in captures.get("comment", ())):
            marks.comments.append((start, start + len(parsed.data[start:end].rstrip())))  # some end with the line
        for node in captures.get("claim", ()):
            if _CLAIM.search(parsed.data, *node.byte_range):
                bare = _BARE_CLAIM.search(parsed.data, *node.byte_range)
                (marks.holes if bare else marks.stubs).append(node.byte_range)
    order = {kind: i for i, kind in enumerate(_BLOCKS)}
    marks.blocks = sorted(set(marks.blocks), key=lambda block: (block.node[0], -block.node[1], order[block.kind]))
    return Marks() if parsed.reason else marks


def blocks_of(captures: dict[str, list[Node]]) -> Iterator[Block]:
    """Yield the blocks of one match."""
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
            yield Block(kind, node.byte_range, header, region, node.start_point[1], name)


def _inside(body: Node) -> Range:
    """Return the body without its braces or another token that introduces it."""
    start, end = body.byte_range
    if body.child_count:
        first, last = body.child(0), body.child(body.child_count - 1)
        start = first.end_byte if first.type in ("{", ":", "=", "=>") else start
        end = last.start_byte if last.type == "}" else end
    return start, max(start, end)


def outermost(places: Iterable[Range]) -> list[Range]:
    """Sort ranges and leave out those that overlap an earlier or longer one."""
    found: list[Range] = []
    for place in sorted(set(places), key=lambda place: (place[0], -place[1])):
        if not found or found[-1][1] <= place[0]:
            found.append(place)
    return found


def query(grammar: str) -> Query:
    """Return the query of a language. Raises GrammarMissing as `load` does."""
    found = query_in("", grammar)
    assert found is not None, f"{grammar} has a grammar and no query"
    return found


@cache
def query_in(folder: str, grammar: str) -> Query | None:
    """Return the query of a language in a folder of `queries`, "" for that itself; None if there is none.

    Raises GrammarMissing as `load` does.
    """
    from tree_sitter import Query

    source = _source(_QUERIES / folder, grammar)
    return Query(load(grammar), source) if source else None


def _source(folder: Path, grammar: str) -> str:
    path = folder / f"{grammar}.scm"
    if not path.is_file():
        return ""
    text = path.read_text("utf-8")
    parent = _INHERITS.match(text)
    return (_source(folder, parent[1]) if parent else "") + text


@cache
def defect_query(grammar: str) -> Query:
    """Return a query that captures `missing` nodes, and as `error` both ERROR nodes and their sound children."""
    from tree_sitter import Query

    return Query(load(grammar), "(ERROR) @error (ERROR _ @error) (MISSING) @missing")
