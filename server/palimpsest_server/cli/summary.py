"""Fills holes one after the other, and draws what each of them got, how long it took and who wrote it, as a table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from palimpsest_engine import Engine, EngineStatus, Fill, FillRequest, Span, Verdict
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.watched import SyntaxGate
from palimpsest_server.cli.engines import ask
from palimpsest_server.cli.watch import plain, watched

_AROUND = 3  # lines of the document that are shown around a hole that is watched
_MOST_LINES = 6  # of a hole's text in the table
_TREATMENTS = {"cut": "cut short", "repaired": "drawn anew"}


@dataclass(frozen=True, slots=True)
class Holes:
    """The holes of a document and their fills. request: all of them. lines: those of the holes, as the author sees them."""

    request: FillRequest
    lines: tuple[int, ...]
    fills: tuple[Fill, ...]

    @classmethod
    def one_by_one(cls, engine: Engine, request: FillRequest, *, watch: bool = False) -> Holes:
        """Ask for each hole alone, in the text with those before it filled; a hole for which nothing is offered stays.

        watch: show the drafts. Raises the engine's errors.
        """
        lines = tuple(request.text.count("\n", 0, hole.start) + 1 for hole in request.holes)
        fills, text = list[Fill](), request.text
        for line, hole in zip(lines, request.holes, strict=True):
            moved = len(text) - len(request.text)
            part = replace(request, text=text, holes=(Span(hole.start + moved, hole.end + moved),))
            if watch:
                console = Console(stderr=True)
                fills.append(watched(engine, part, console, title=f"line {line}: ", around=_AROUND))
                console.line()
            else:
                fills.append(ask(engine, part))
            if not fills[-1].empty:
                text = part.splice(fills[-1].texts)
        return cls(request, lines, tuple(fills))

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the text of each hole; where nothing is offered, the old one."""
        kept = (self.request.text[hole.start : hole.end] for hole in self.request.holes)
        return tuple(old if fill.empty else fill.texts[0] for old, fill in zip(kept, self.fills, strict=True))

    def together(self) -> Fill:
        """Join the fills to one, with the verdict on the finished text."""
        empty = all(fill.empty for fill in self.fills)
        gate = SyntaxGate(self.request.text, self.request.holes, language_of(self.request.path, self.request.language))
        return Fill(
            ("",) * len(self.fills) if empty else self.texts,
            Verdict("not checked", "nothing changes") if empty else gate.judge(self.texts),
            "; ".join(dict.fromkeys(fill.reason for fill in self.fills if fill.reason)),
            nfe=sum(fill.nfe for fill in self.fills),
            ms=sum(fill.ms for fill in self.fills),
            settled=all(fill.settled for fill in self.fills),
        )

    def draw(self, verdict: Verdict, told: EngineStatus, console: Console) -> None:
        """Draw the table. verdict: on the finished text; of a worse one, the holes with its errors are named."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("line", justify="right", no_wrap=True)
        table.add_column("written", overflow="fold")
        table.add_column("ms", justify="right", no_wrap=True)
        if known := any(fill.confidences for fill in self.fills):
            table.add_column("sure", justify="right", no_wrap=True)
        table.add_column("syntax", no_wrap=True)
        moved = 0
        for line, hole, text, fill in zip(self.lines, self.request.holes, self.texts, self.fills, strict=True):
            written = Span(hole.start + moved, hole.start + moved + len(text))
            moved += len(text) - (hole.end - hole.start)
            before = self.request.text[: hole.start].rpartition("\n")[2]
            sure = [Text(_sure(fill))] if known else []
            table.add_row(str(line), _written(fill, before), f"{fill.ms:.0f}", *sure, _verdict(fill, verdict, written))
        console.print(table)
        filled = sum(not fill.empty for fill in self.fills)
        seconds = sum(fill.ms for fill in self.fills) / 1000
        rows = {
            "filled": f"{filled} of {len(self.fills)} holes in {seconds:.1f} s",
            "syntax": f"{verdict.status}{f' ({verdict.reason})' if verdict.reason else ''}" if filled else "",
            "model": f"{told.model or 'none'}, {'left to right' if told.writes else 'which denoises'}",
            "runs on": told.device,
        }
        console.line()
        for name, said in rows.items():
            if said:
                console.print(Text.assemble((f"{name:9}", "bold"), plain(said)), highlight=False)


def _written(fill: Fill, before: str) -> Text:
    """Draw the text of a hole, without the indentation of its line. before: the text before it on that line."""
    if fill.empty:
        return Text(f"nothing: {fill.reason or 'the model wrote nothing'}", "dim italic")
    indent = before[: len(before) - len(before.lstrip())]
    own = fill.texts[0] if before.strip() else before + fill.texts[0]
    lines = [plain(line.removeprefix(indent)) for line in own.replace("\r\n", "\n").rstrip().split("\n")]
    while len(lines) > 1 and not lines[0].strip():
        del lines[0]
    shown = lines[:_MOST_LINES]
    if more := len(lines) - len(shown):
        shown.append(f"\u22ee {more} more line{'s' if more > 1 else ''}")
    return Text("\n".join(shown), "green")


def _sure(fill: Fill) -> str:
    """Say how likely a fill is to be right up to the end of its first line, or "" if nobody knows."""
    return f"{100 * fill.confidences[0].probability:.0f} %" if fill.confidences and not fill.empty else ""


def _verdict(fill: Fill, verdict: Verdict, written: Span) -> Text:
    """Draw the verdict on a hole. written: the place of its text in the finished document."""
    if fill.empty:
        return Text("")
    guilty = any(written.start <= bad.end and bad.start <= written.end for bad in verdict.bad)
    status = "no worse" if verdict.status == "worse" and not guilty else verdict.status
    treatment = _TREATMENTS.get(fill.treatment, "")
    return Text(f"{status}{f', {treatment}' if treatment else ''}", "red" if status == "worse" else "")
