"""The table of models, the details of one, and the progress of a download. Knows terminals, opens nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from palimpsest_engine.checkpoint import catalogue, machine, store
from palimpsest_engine.checkpoint.catalogue import Entry, size_text
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.machine import Machine, Recommendation
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import CheckpointBroken

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint.download import Progress

State = Literal["installed", "gone", "damaged", "to pull"]
_EMBEDDED = Entry(
    store.EMBEDDED_NAME,
    "The checkpoint that comes with Palimpsest",
    "",
    licence="Apache-2.0",
    abilities=("denoises", "fills in the middle, left to right", "Python only"),
    fills=True,
    ram=100_000_000,
    vram=100_000_000,
    quality="11 %",
    quality_of="HumanEval-Infilling, single line, all 1,033 problems, pass@1 (docs/evaluation.md)",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One model: what the catalogue knows of it, what is on this machine, and where it would fit. format: the quantization
    that it needs to fit the GPU."""

    name: str
    state: State
    chosen: bool
    entry: Entry | None = None
    model: store.Installed | None = None
    place: machine.Place | None = None
    format: Quantization = "none"
    problem: str = ""

    @property
    def size(self) -> int | None:
        """Return the bytes on this machine, or else those to fetch."""
        if self.model is not None:
            return self.model.record.size
        if self.name == store.EMBEDDED_NAME:
            return sum(path.stat().st_size for path in EMBEDDED.glob("*"))
        return self.entry.size if self.entry else None

    @property
    def licence(self) -> str | None:
        """Return the licence, if it is known."""
        of_model = self.model.record.licence if self.model else None
        return of_model or (self.entry.licence if self.entry else None)

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known, with null for what is not."""
        entry, record = self.entry, self.model.record if self.model else None
        files: tuple[Any, ...] = record.files if record else entry.files if entry else ()
        return {
            "name": self.name,
            "title": entry.title if entry else None,
            "state": self.state,
            "chosen": self.chosen,
            "problem": self.problem or None,
            "path": str(self.model.path) if self.model else None,
            "source": record.source if record else (entry.repository or None) if entry else None,
            "revision": (record.revision if record else None) or (entry.revision if entry else None),
            "size": self.size,
            "licence": self.licence,
            "restriction": (entry.restriction or None) if entry else None,
            "abilities": list(entry.abilities) if entry else [],
            "fills": entry.fills if entry else None,
            "ram": entry.ram if entry else None,
            "vram": entry.vram if entry else None,
            "vram_int8": entry.vram_int8 if entry else None,
            "vram_int4": entry.vram_int4 if entry else None,
            "fits": self.place,
            "quantization": None if self.format == "none" else self.format,
            "quality": entry.quality if entry else catalogue.NOT_MEASURED,
            "quality_of": (entry.quality_of or None) if entry else None,
            "files": [{"name": each.name, "size": each.size, "sha256": each.sha256} for each in files],
        }


def rows(here: Machine) -> list[Row]:
    """Return all models: the embedded one, the catalogue's, then those that the user has added."""
    chosen = store.chosen() or store.EMBEDDED_NAME
    on_disk = store.names()
    place = machine.place_for(_EMBEDDED, here)
    found = [Row(store.EMBEDDED_NAME, "installed", chosen == store.EMBEDDED_NAME, _EMBEDDED, place=place)]
    known = {each.name: each for each in catalogue.entries()}
    for name in [*known, *(each for each in on_disk if each not in known)]:
        entry = known.get(name)
        fits = machine.place_for(entry, here) if entry else None
        format = machine.format_for(entry, here) if entry else "none"
        state: State = "to pull"
        model, problem = None, ""
        if name in on_disk:
            try:
                model = store.find(name)
                problem = model.problem if model else ""
                state = "gone" if problem else "installed"
            except CheckpointBroken as error:
                state, problem = "damaged", str(error)
        found.append(Row(name, state, chosen == name, entry, model, fits, format, problem))
    return found


def show(rows: list[Row], recommended: Recommendation) -> None:
    """Print the table, what is recommended and why, and the notes to the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("model", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    table.add_column("needs", justify="right", no_wrap=True)
    table.add_column("fits", no_wrap=True)
    table.add_column("quality", no_wrap=True)
    table.add_column("state", no_wrap=True)
    best = recommended.name or store.EMBEDDED_NAME
    for row in rows:
        state = "chosen" if row.chosen and row.state == "installed" else row.state
        style = "bold" if row.name == best else None if row.entry is None or row.entry.fills else "dim"
        table.add_row(row.name, *(cell for cell in _cells(row)), state, style=style)
    console = Console(highlight=False, soft_wrap=False)
    console.print(table)
    console.print(f"\nRecommended here: [bold]{best}[/bold]. {recommended.reason}")
    if any(row.name == best and row.state != "installed" for row in rows):
        console.print(f"`palimpsest models pull {best} --use` fetches and chooses it.", markup=False)
    for note in _notes(rows):
        console.print(note, markup=False)


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    entry = row.entry
    need = (entry.vram if row.place == "gpu" else entry.ram) if entry else None
    fits = {"gpu": "GPU", "memory": "memory", None: "no" if need else "?"}[row.place]
    quality = entry.quality.split(" of ")[0] if entry else catalogue.NOT_MEASURED
    return (
        size_text(row.size) if row.size is not None else "?",
        row.licence or "?",
        size_text(need) if need else "?",
        fits,
        "–" if quality == catalogue.NOT_MEASURED else quality,
    )


def _notes(rows: list[Row]) -> Iterator[str]:
    yield "?: not known here. –: not measured here. `palimpsest models show NAME` has the rest, and how quality was measured."
    if unused := [row.name for row in rows if row.entry and not row.entry.fills]:
        yield f"This version of Palimpsest cannot fill with {_listed(unused)}."
    if untried := [row.name for row in rows if row.entry and catalogue.NEVER_RUN in row.entry.abilities]:
        yield f"Nobody has run {_listed(untried)} here with their real weights."
    for row in rows:
        if row.entry and row.entry.restriction:
            yield f"{row.name}: {row.entry.restriction}."
        if row.format != "none":
            yield f"{row.name} would fit the GPU with the setting quantization {row.format}."
        if row.problem:
            yield f"{row.name}: {row.problem}"


def details(row: Row) -> Iterator[str]:
    """Yield the lines of `palimpsest models show`."""
    entry, record = row.entry, row.model.record if row.model else None
    revision = (record.revision if record else None) or (entry.revision if entry else None)
    yield f"{row.name}: {entry.title if entry else 'a model of your own'}"
    lines = {
        "state": row.state + (", chosen" if row.chosen else ""),
        "problem": row.problem,
        "where": str(row.model.path) if row.model else str(EMBEDDED) if row.name == store.EMBEDDED_NAME else "",
        "from": record.source if record else entry.repository if entry else "",
        "revision": "" if entry is None or not entry.repository else revision or catalogue.NOT_PINNED,
        "size": size_text(row.size),
        "licence": (row.licence or catalogue.UNKNOWN)
        + (f"; {entry.restriction}" if entry and entry.restriction else ""),
        "abilities": "; ".join(entry.abilities) if entry else "",
        "fills": ""
        if entry is None
        else "yes"
        if entry.fills
        else "no: this version of Palimpsest cannot fill with it",
        "needs": _needs(entry) if entry else "",
        "fits": {"gpu": "yes, on the GPU", "memory": "yes, in memory", None: "no" if entry else catalogue.UNKNOWN}[
            row.place
        ]
        + ("" if row.format == "none" else f"; on the GPU with the setting quantization {row.format}"),
        "quality": "" if entry is None else entry.quality + (f": {entry.quality_of}" if entry.quality_of else ""),
    }
    yield from (f"  {name:10}{text}" for name, text in lines.items() if text)
    files: tuple[Any, ...] = record.files if record else entry.files if entry else ()
    for file in files:
        yield f"  {'file':10}{file.name}, {size_text(file.size)}, SHA-256 {file.sha256 or catalogue.UNKNOWN}"


def _needs(entry: Entry) -> str:
    fewer = {"int8": entry.vram_int8, "int4": entry.vram_int4}
    told = ", ".join(f"{size_text(size)} in {format}" for format, size in fewer.items() if size is not None)
    return f"{size_text(entry.ram)} of memory, or {size_text(entry.vram)} on a GPU" + (f" ({told})" if told else "")


def offer(entry: Entry) -> Iterator[str]:
    """Yield what the user has to know before a download."""
    yield f"{entry.name}: {entry.title}"
    yield f"  from        {entry.repository}"
    yield f"  revision    {entry.revision or catalogue.NOT_PINNED}"
    yield f"  size        {size_text(entry.size)}"
    if entry.licence or entry.pinned:
        yield f"  licence     {entry.licence or catalogue.UNKNOWN}" + (
            f"; {entry.restriction}" if entry.restriction else ""
        )
    yield f"  to          {store.folder_of(entry.name)}"
    if not entry.pinned:
        yield "  hashes      not known here: the files are compared with the hashes that the hub itself states"
    if not entry.fills:
        yield "  note        this version of Palimpsest cannot fill with it"
    if catalogue.NEVER_RUN in entry.abilities:
        yield f"  note        {catalogue.NEVER_RUN}"


@contextmanager
def progress() -> Iterator[Progress]:
    """Draw a progress bar on standard error while the block runs."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    from palimpsest_engine.checkpoint.download import Progress

    console = Console(stderr=True, highlight=False)

    def say(text: str) -> None:
        console.print(text, markup=False)

    if not console.is_terminal:
        yield Progress(lambda name, size: None, lambda count: None, say)
        return
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console) as bars:
        current = bars.add_task("", total=None)

        def begin(name: str, size: int) -> None:
            shown = name if len(name) <= 24 else name[:10] + "…" + name[-13:]
            bars.reset(current, description=shown, total=size)

        yield Progress(begin, lambda count: bars.advance(current, count), say)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
