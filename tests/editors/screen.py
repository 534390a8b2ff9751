"""The screen of a Neovim, from what it tells a user interface to draw; as text and as SVG. Knows nothing of Neovim else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any

WIDTH, HEIGHT, SIZE = 8.4, 18, 14
NO_BREAK = "\u00a0"  # browsers run other blanks together
FOREGROUND, BACKGROUND = 0xE0E2EA, 0x14161B


@dataclass
class Cell:
    """text: empty for the second half of a wide character. style: a number of `Screen.styles`."""

    text: str = " "
    style: int = 0


@dataclass
class Screen:
    """The one grid of a user interface with ext_linegrid."""

    columns: int
    rows: int
    cells: list[list[Cell]] = field(default_factory=list)
    styles: dict[int, dict[str, Any]] = field(default_factory=dict)
    cursor: tuple[int, int] = (0, 0)
    colors: tuple[int, int] = (FOREGROUND, BACKGROUND)

    def take(self, events: Iterable[list[Any]]) -> None:
        """A notification `redraw`: event names, each with its calls."""
        for name, *calls in events:
            handle = getattr(self, f"_{name}", None)
            for call in calls if handle else ():
                handle(*call)

    def lines(self) -> list[str]:
        """As text."""
        return ["".join(cell.text for cell in row).rstrip() for row in self.cells]

    def svg(self) -> str:
        """As a picture."""
        wide, high = self.columns * WIDTH + 16, self.rows * HEIGHT + 16
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" width="{wide:.0f}" height="{high}">',
            f'<rect width="100%" height="100%" rx="8" fill="{_hex(self.colors[1])}"/>',
            f"<g font-family=\"'DejaVu Sans Mono','Noto Sans Mono CJK SC',monospace\" font-size=\"{SIZE}\" "
            'xml:space="preserve" transform="translate(8 8)">',
        ]
        for number, row in enumerate(self.cells):
            for column, text, style, cells in _runs(row, self.cursor[1] if number == self.cursor[0] else -1):
                parts.append(self._run(number, column, text, style, cells))
        return "\n".join([*filter(None, parts), "</g>", "</svg>", ""])

    def _run(self, row: int, column: int, text: str, style: int, cells: int) -> str:
        look = self.styles.get(style, {})
        fore, back = look.get("foreground", self.colors[0]), look.get("background", self.colors[1])
        if look.get("reverse"):
            fore, back = back, fore
        x, y, width = column * WIDTH, row * HEIGHT, cells * WIDTH
        at_cursor = (row, column) == self.cursor
        painted = ""
        if back != self.colors[1]:
            painted = f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{HEIGHT}" fill="{_hex(back)}"/>'
        if at_cursor:
            painted += f'<rect x="{x:.1f}" y="{y}" width="2" height="{HEIGHT}" fill="{_hex(self.colors[0])}"/>'
        if text.strip():
            how = ' font-weight="bold"' * bool(look.get("bold")) + ' font-style="italic"' * bool(look.get("italic"))
            how += ' text-decoration="line-through"' * bool(look.get("strikethrough"))
            painted += (
                f'<text x="{x:.1f}" y="{y + SIZE}" textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs" '
                f'fill="{_hex(fore)}"{how}>{escape(text.replace(" ", NO_BREAK))}</text>'
            )
        return painted

    def _grid_resize(self, _: int, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._grid_clear(1)

    def _grid_clear(self, _: int) -> None:
        self.cells = [[Cell() for _ in range(self.columns)] for _ in range(self.rows)]

    def _grid_cursor_goto(self, _: int, row: int, column: int) -> None:
        self.cursor = (row, column)

    def _grid_line(self, _: int, row: int, column: int, cells: list[list[Any]], *_more: Any) -> None:
        style = 0
        for text, *rest in cells:
            style = rest[0] if rest else style
            for _ in range(rest[1] if len(rest) > 1 else 1):
                self.cells[row][column] = Cell(text, style)
                column += 1

    def _grid_scroll(self, _: int, top: int, bottom: int, left: int, right: int, rows: int, _columns: int) -> None:
        moved = range(top, bottom - rows) if rows > 0 else range(bottom - 1, top - rows - 1, -1)
        for row in moved:
            self.cells[row][left:right] = [Cell(cell.text, cell.style) for cell in self.cells[row + rows][left:right]]

    def _hl_attr_define(self, number: int, rgb: dict[str, Any], *_: Any) -> None:
        self.styles[number] = rgb

    def _default_colors_set(self, foreground: int, background: int, *_: Any) -> None:
        self.colors = (
            foreground if foreground >= 0 else FOREGROUND,
            background if background >= 0 else BACKGROUND,
        )


def _runs(row: list[Cell], cursor: int) -> Iterable[tuple[int, str, int, int]]:
    """(column, text, style, how many cells) of each run in one style; a run ends at wide characters and at the cursor."""
    start = 0
    for column in range(1, len(row) + 1):
        ends = column == len(row) or (
            row[column].style != row[start].style
            or column == cursor
            or (
                row[column].text != ""
                and any(not each.text.isascii() or not each.text for each in row[column - 1 : column + 1])
            )
            or start == cursor
        )
        if ends:
            yield start, "".join(cell.text for cell in row[start:column]), row[start].style, column - start
            start = column


def _hex(color: int) -> str:
    return f"#{color:06x}"
