"""Compares the measured figures of the pages with docs/figures, where each has its origin (docs/figures.md).

`python -m palimpsest_dev.figures` prints what is missing, so that it can be put into the file that the page names.
"""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "figures"
EXCEPTIONS = "exceptions"
Key = tuple[str, str, str]  # section, row or nothing, column or name

NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e-?\d+)?"
UNIT = (
    r"(?: ?%| (?:ms|s|seconds?|minutes?|hours?|[kKMGT]i?B(?:/s)?|tokens?/s|(?:[a-z]+ )?a (?:second|minute|hour)"
    r"|times|points|nats)(?![\w-]))"
)
CHAIN = rf"{NUMBER}(?: ?(?:/|to|–|and|or|±|\+) ?{NUMBER})*"
# A number that was or could have been measured: one with a unit, a share ("7 of 40"), a probability ("p = 0.01").
FIGURE = re.compile(rf"(?<![\w.,-])(?:{CHAIN}{UNIT}|{NUMBER} of (?:the |its )?{NUMBER}(?!\w)|p = {NUMBER})")
# Which percentile or interval is meant is no figure.
PERCENTILE = re.compile(
    r"(?:median|p50) ?/ ?[\d/ ]+%|(?:in )?9[59](?:th percentile| %(?: interval| of cases))|Wilson's 95 %|\((?:95|99) %\)"
)
HEADER = re.compile(r"(?<!\w)(?:%|ms|s|nats|[kMG]i?B)(?!\w)")
SCOPE = re.compile(r"<!-- figures: (.+?) -->")
CODE = re.compile(r"(`+).+?\1")
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\([^)]*\)")


@dataclass(frozen=True)
class Block:
    """A table, a paragraph or an item of a list, and the sections of docs/figures that hold for it."""

    line: int
    lines: tuple[str, ...]
    sections: tuple[str, ...]

    @property
    def is_table(self) -> bool:
        """Tell whether it is a table."""
        return self.lines[0].startswith("|")


@dataclass
class Section:
    """A measurement: where it came from, and what came out."""

    about: dict[str, Any]
    values: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What docs/figures has: sections by the names that pages use (FILE/SECTION), and exceptions by page."""

    sections: dict[str, Section]
    exceptions: dict[str, set[str]]

    @classmethod
    def read(cls) -> Known:
        """Return what is in the files."""
        files = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.toml"))}
        kinds = {page: lists for page, lists in files.pop(EXCEPTIONS).items() if page != "kinds"}
        return cls(
            {
                f"{file}/{name}": Section(about, about.pop("values", {}), about.pop("rows", {}))
                for file, tables in files.items()
                for name, about in tables.items()
            },
            {page: set().union(*lists.values()) for page, lists in kinds.items()},
        )


def pages() -> list[Path]:
    """Return the pages whose figures are traced: the README, those of docs/, and those of the editors."""
    editors = [page for page in ROOT.glob("editors/**/README.md") if "node_modules" not in page.parts]
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(editors)]


def blocks(markdown: str) -> Iterator[Block]:
    """Yield the blocks of a page that can have figures: no headings, no code, no HTML."""
    named: tuple[str, ...] = ()
    depth = level = start = 0
    slug = fence = ""
    block: list[str] = []
    for number, line in enumerate([*markdown.splitlines(), ""], 1):
        text = line.strip()
        opens, heading, scope = re.match(r"`{3,}|~{3,}", text), re.match(r"(#+) (.+)", line), SCOPE.fullmatch(text)
        begins = re.match(r"([-*]|\d+\.) ", text) or (block and text.startswith("|") != block[0].startswith("|"))
        if block and (opens or heading or begins or not text or text.startswith("<!--")):
            yield Block(start, tuple(block), tuple(name + slug if name.endswith("/") else name for name in named))
            block = []
        if fence:
            fence = "" if text == fence else fence
        elif opens:
            fence = opens[0]
        elif heading:
            level, slug = len(heading[1]), re.sub(r"[^\w -]", "", heading[2].lower()).replace(" ", "-")
            named = named if level > depth else ()
        elif scope:
            named, depth = () if scope[1] == "none" else tuple(scope[1].split()), level
        elif text and not text.startswith("<"):
            start = start if block else number
            block.append(text)


def plain(text: str) -> str:
    """Return the text without code, addresses and marks."""
    words = CODE.sub("…", LINK.sub(r"\1", text)).replace("*", "")
    return PERCENTILE.sub("…", re.sub(r"\s+", " ", words)).strip()


def in_prose(text: str) -> dict[str, str]:
    """Return the figures of a paragraph, an item or a cell, by the words around them."""
    whole, found = plain(text), {}
    for match in FIGURE.finditer(whole):
        before = re.split(r"\. ", whole[: match.start()])[-1]
        after = re.split(r"[.;:](?: |$)", whole[match.end() :])[0]
        before = before if len(before) < 80 else before[-80:].partition(" ")[2]
        after = after if len(after) < 50 else after[:50].rpartition(" ")[0]
        name = f"{before}…{after}".strip().removeprefix("- ")
        while name in found:
            name += " (again)"
        found[name] = match[0].strip()
    return found


def in_table(block: Block) -> dict[str, dict[str, str]]:
    """Return the cells of a table with a number, by row and column; as many columns as tell the rows apart name a row."""
    head, _, *rows = [
        [plain_cell(cell) for cell in re.split(r"(?<!\\)\|", line[1:].removesuffix("|"))] for line in block.lines
    ]
    for before, row in itertools.pairwise(rows):
        for column in range(next((n for n, cell in enumerate(row) if cell), 0)):
            row[column] = before[column]
    fits = (n for n in range(1, len(head)) if len({tuple(row[:n]) for row in rows}) == len(rows))
    labels = next(fits, 1)
    return {
        ", ".join(filter(None, row[:labels])): {
            title or "value": cell
            for title, cell in zip(head[labels:], row[labels:], strict=False)
            if re.search(r"\d", plain(cell))
        }
        for row in rows
    }


def cells(block: Block) -> Iterator[tuple[str, str, str]]:
    """Yield row, column and text of each cell of a table with a number in it."""
    for row, columns in in_table(block).items():
        yield from ((row, title, cell) for title, cell in columns.items())


def said(block: Block) -> Iterator[tuple[str, str]]:
    """Yield what looks measured in words, and in the cells of a table that nobody called measured: its words, and itself."""
    if not block.is_table:
        yield from in_prose(" ".join(block.lines)).items()
        return
    for _, title, cell in cells(block):
        unit = None if FIGURE.search(plain(cell)) else HEADER.search(plain(title))
        yield from in_prose(f"{cell} {unit[0]}" if unit else cell).items()


def plain_cell(cell: str) -> str:
    """Return a cell without emphasis and addresses; code in it stays."""
    return LINK.sub(r"\1", cell).replace("**", "").strip()


@dataclass(frozen=True)
class Lack:
    """A figure of a page that is not in the sections that the page names above it, or that stands under none."""

    place: str
    section: str
    row: str
    name: str
    figure: str

    def __str__(self) -> str:
        about = f"{self.row}: {self.name}" if self.row else self.name
        where = self.section or "any section: no comment stands above it"
        return f"{self.place}: {self.figure!r} ({about}) is not in {where}"


def untraced(page: str, markdown: str, known: Known, seen: set[Key]) -> Iterator[Lack]:
    """Yield the figures of a page that no section above them has; add to `seen` what was found."""
    excepted = known.exceptions.get(page, set())
    for block in blocks(markdown):
        place, first = f"{page}:{block.line}", next(iter(block.sections), "")
        yield from (Lack(place, name, "", "", "the section") for name in block.sections if name not in known.sections)
        ours = {name: known.sections[name] for name in block.sections if name in known.sections}
        if block.is_table and block.sections:
            for row, title, cell in cells(block):
                holds = [name for name, section in ours.items() if section.rows.get(row, {}).get(title) == cell]
                seen.update((name, row, title) for name in holds)
                if not holds:
                    yield Lack(place, first, row, title, cell)
            continue
        for words, figure in said(block):
            found = [
                (name, "", key) for name, section in ours.items() for key, it in section.values.items() if it == figure
            ]
            if figure in excepted:
                found.append((page, EXCEPTIONS, figure))
            seen.update(found)
            if not found:
                yield Lack(place, first, "", words, figure)


def unused(known: Known, seen: set[Key]) -> list[str]:
    """Return the figures and exceptions of the files that no page has."""
    has: list[Key] = []
    for name, section in known.sections.items():
        has += [(name, "", key) for key in section.values]
        has += [(name, row, title) for row, columns in section.rows.items() for title in columns]
    has += [(page, EXCEPTIONS, figure) for page, figures in known.exceptions.items() for figure in sorted(figures)]
    empty = [name for name, section in known.sections.items() if not section.values and not section.rows]
    return empty + [": ".join(filter(None, key)) for key in has if key not in seen]


def compared() -> tuple[list[Lack], list[str]]:
    """Return what the pages have and the files lack, and what the files have and no page."""
    known, seen = Known.read(), set[Key]()
    lacks: list[Lack] = []
    for path in pages():
        lacks += untraced(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"), known, seen)
    return lacks, unused(known, seen)


def as_toml(lacks: list[Lack]) -> str:
    """Return what is lacking as the lines of the sections' tables."""
    lines: list[str] = []
    for section in dict.fromkeys(lack.section for lack in lacks):
        mine = [lack for lack in lacks if lack.section == section]
        title = section.partition("/")[2]
        values = dict.fromkeys((lack.name, lack.figure) for lack in mine if not lack.row)
        if values:
            lines += [f"[{title}.values]", *(f"{quoted(name)} = {quoted(figure)}" for name, figure in values), ""]
        rows = dict.fromkeys(lack.row for lack in mine if lack.row)
        if rows:
            lines += [f"[{title}.rows]"]
            for row in rows:
                cells = ", ".join(f"{quoted(each.name)} = {quoted(each.figure)}" for each in mine if each.row == row)
                lines += [f"{quoted(row)} = {{{cells}}}"]
            lines += [""]
    return "\n".join(lines)


def quoted(text: str) -> str:
    """Return the text as a string of TOML."""
    return json.dumps(text, ensure_ascii=False)


def main() -> int:
    """Print what is missing, with its place and as TOML; return 1 if anything is."""
    lacks, left = compared()
    print(*lacks, *(f"no page has {each}" for each in left), "", as_toml(lacks), sep="\n")
    return int(bool(lacks or left))


if __name__ == "__main__":
    raise SystemExit(main())
