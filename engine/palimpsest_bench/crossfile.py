"""`python -m palimpsest_bench.crossfile FOLDER`: measure how much a checkpoint gains from each source of context.

The folder's `*.toml` files hold cases: small projects with one hole. Only an excerpt of another place gives its text
away. Each case is filled without and with that excerpt; only an exact match counts. `fixtures/crossfile` has cases.
`projects.py` takes lines of real projects as cases instead.
"""

from __future__ import annotations

import json
import math
import posixpath
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from lsprotocol import types

from palimpsest_bench.commands import one_sentence
from palimpsest_engine import Engine, EngineSettings, FillRequest, Span, open_engine
from palimpsest_engine.checkpoint.describe import describe
from palimpsest_engine.engine import Quantization
from palimpsest_engine.errors import DataError
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_server.cli import engines
from palimpsest_server.context import choose
from palimpsest_server.context.workspace import Look
from palimpsest_server.documents.edit_history import RecentEdit
from palimpsest_server.documents.rope import Text

HOLE = "<|hole|>"
_ROOT = "/project"


@dataclass(frozen=True, slots=True)
class Case:
    """A project with one hole. files: text by path. Lines count from 1.

    source: the source that should help; None if nobody knows.
    """

    name: str
    source: choose.Source | None
    file: str
    expected: str
    files: dict[str, str]
    open: tuple[str, ...] = ()
    edits: tuple[dict[str, Any], ...] = ()
    diagnostics: tuple[dict[str, Any], ...] = ()

    @property
    def offset(self) -> int:
        """Return the offset of the hole."""
        return self.files[self.file].index(HOLE)

    @property
    def text(self) -> str:
        """Return the text of the file with an empty hole."""
        return self.files[self.file].replace(HOLE, "")

    @property
    def language(self) -> str:
        """Return the language id of the file."""
        return language_of(self.file, None) or ""

    def document(self, file: str) -> choose.Document:
        """Return a file as an open document."""
        text = self.files[file].replace(HOLE, "")
        path = f"{_ROOT}/{file}"
        return choose.Document(f"file://{path}", path, language_of(file, None) or "", Text.of(text))

    def around(self) -> choose.Around:
        """Return everything that the sources can draw on."""
        return choose.Around(
            others=tuple(map(self.document, self.open)),
            edits=tuple(
                RecentEdit(f"file://{_ROOT}/{e['file']}", e["line"] - 1, e["line"] - 1, e["before"], e["after"])
                for e in self.edits
            ),
            diagnostics=tuple(
                types.Diagnostic(
                    types.Range(types.Position(e["line"] - 1, 0), types.Position(e["line"] - 1, 0)), e["message"]
                )
                for e in self.diagnostics
            ),
        )

    def chosen(self, sources: tuple[choose.Source, ...], tokens: int) -> choose.Chosen:
        """Choose the excerpts for the model with these sources on."""
        question = choose.Question(
            self.document(self.file), self.offset, Project(self.files), sources, self.around(), choose.Limits(tokens)
        )
        return choose.choose(question)


class Project:
    """The files of a case, as a `context.Reader`."""

    folders: Sequence[str] = (_ROOT,)

    def __init__(self, files: dict[str, str]) -> None:
        self._files = {f"{_ROOT}/{file}": text for file, text in files.items()}

    def exists(self, path: str) -> bool:
        """Tell whether the case has this file."""
        return path in self._files

    def names(self, folder: str) -> list[str]:
        """List the names in a folder."""
        start = folder.rstrip("/") + "/"
        return sorted({path[len(start) :].split("/")[0] for path in self._files if path.startswith(start)})

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return self._files.get(path, "")

    def look(self, path: str) -> Look:
        """Return a file; nothing is refused here."""
        return Look(self._files[path])


def cases(folder: Path) -> list[Case]:
    """Read the cases in a folder's TOML files. Raises DataError for a malformed one."""
    found = []
    for file in sorted(folder.glob("*.toml")):
        try:
            rows = tomllib.loads(file.read_text("utf-8"))["case"]
        except (ValueError, KeyError) as error:
            raise DataError(f"{file} has no cases: {error}") from error
        for number, row in enumerate(rows, 1):
            try:
                values: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
                case = Case(**values)
                if case.source not in choose.SOURCES or case.files[case.file].count(HOLE) != 1:
                    raise ValueError("its source is unknown, or it has not exactly one hole")
                case.around()
            except (TypeError, ValueError, KeyError) as error:
                raise DataError(f"{file}, case {number}: {error}") from error
            found.append(case)
    if not found:
        raise DataError(f"{folder} has no cases")
    return found


@dataclass(slots=True)
class Tally:
    """The number of exact matches without and with the source, over the same cases.

    shown: an excerpt had a name of the expected text that the file itself lacks. helped, hurt: cases won and lost by the
    source. begun: mean share of the expected text that the fill begins with.
    """

    source: str
    cases: int = 0
    shown: int = 0
    without: int = 0
    with_it: int = 0
    helped: int = 0
    hurt: int = 0
    begun_without: float = 0.0
    begun_with: float = 0.0

    def count(self, expected: str, bare: str, filled: str, shown: bool) -> None:
        """Count one case."""
        before, after = bare == expected, filled == expected
        self.without += before
        self.with_it += after
        self.helped += after > before
        self.hurt += after < before
        self.shown += shown
        self.begun_without += (_begun(expected, bare) - self.begun_without) / (self.cases + 1)
        self.begun_with += (_begun(expected, filled) - self.begun_with) / (self.cases + 1)
        self.cases += 1


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's score interval of a share, by default at 95 %; (0, 1) without trials."""
    if not of:
        return 0.0, 1.0
    share = hits / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return (middle - spread) / (1 + z * z / of), (middle + spread) / (1 + z * z / of)


def evaluated(engine: Engine, found: list[Case], tokens: int, seed: int, tell: Callable[[str], None]) -> list[Tally]:
    """Fill the cases. Returns a tally for each source over its own cases, and one for all sources over all cases."""
    tallies = {name: Tally(name) for name in (*choose.SOURCES, "all")}
    for case in found:
        bare = _fill(engine, case, choose.Chosen(), seed)
        arms = [("all", choose.SOURCES)]
        if case.source is not None:
            arms.insert(0, (case.source, (case.source,)))
        for name, sources in arms:
            chosen = case.chosen(sources, tokens)
            filled = _fill(engine, case, chosen, seed)
            shown = any(missing(case) in f"{each.title}\n{each.text}" for each in chosen.choices)
            tallies[name].count(case.expected, bare, filled, shown)
            tell(f"{case.name}: {name}: expected {case.expected!r}, without {bare!r}, with {filled!r}")
    return [each for each in tallies.values() if each.cases]


def missing(case: Case) -> str:
    """Return the first name in the expected text that the file itself lacks."""
    names = [name for name in case.expected.replace("(", " ").replace(".", " ").replace("=", " ").split() if name]
    return next((name.strip("),:\"'") for name in names if name.strip("),:\"'") not in case.text), case.expected)


def _begun(expected: str, text: str) -> float:
    return len(posixpath.commonprefix((expected, text))) / len(expected)


def _fill(engine: Engine, case: Case, chosen: choose.Chosen, seed: int) -> str:
    """Fill the hole of a case. Returns the text without blanks around it."""
    request = FillRequest(
        case.text,
        (Span(case.offset, case.offset),),
        language=case.language,
        path=posixpath.join(_ROOT, case.file),
        seed=seed,
        max_lines=1,
        tidy=True,
        context=chosen.excerpts,
    )
    return engines.ask(engine, request).texts[0].strip()


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `measure` to a command, which ends with one sentence at an error."""
    command = one_sentence(command)
    for option in (
        engines.engine_options,
        engines.seed_option,
        click.option("--tokens", type=click.IntRange(1), help="Token budget of excerpts. [default: the checkpoint's]"),
        click.option("--verbose", is_flag=True, help="Print every fill on standard error."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    ):
        command = option(command)
    return command


def measure(
    found: list[Case],
    *,
    as_json: bool,
    verbose: bool,
    tokens: int | None,
    seed: int,
    checkpoint: str | None,
    device: str,
    quantization: Quantization,
) -> None:
    """Fill the cases that are in the checkpoint's languages, without and with excerpts, and print what `main` says."""
    spec = describe(EngineSettings(checkpoint, device)).spec
    known = [case for case in found if not spec.languages or case.language in spec.languages]
    if skipped := len(found) - len(known):
        click.echo(f"{skipped} of {len(found)} cases are in languages that {spec.name} was not trained on", err=True)
    budget = tokens or spec.elsewhere
    with engines.opened(open_engine, EngineSettings(checkpoint, device, quantization=quantization)) as engine:
        tallies = evaluated(engine, known, budget, seed, lambda said: click.echo(said, err=True) if verbose else None)
    if as_json:
        click.echo(
            json.dumps({"format": 1, "model": spec.name, "tokens": budget, "sources": list(map(asdict, tallies))})
        )
        return
    click.echo(f"{spec.name}, {budget} tokens of excerpts; exact match, with Wilson's 95 % interval\n")
    click.echo("| source | cases | shown | exact without | exact with | helped | hurt | begun without | begun with |")
    click.echo("|---|---|---|---|---|---|---|---|---|")
    for each in tallies:
        click.echo(
            f"| {each.source} | {each.cases} | {each.shown} | {_share(each.without, each.cases)} "
            f"| {_share(each.with_it, each.cases)} | {each.helped} | {each.hurt} "
            f"| {each.begun_without:.0%} | {each.begun_with:.0%} |"
        )


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@options
def main(folder: Path, **given: Any) -> None:
    """Fill the cases in FOLDER without and with each source of context, and print a table of exact matches."""
    measure(cases(folder), **given)


def _share(hits: int, of: int) -> str:
    low, high = wilson(hits, of)
    return f"{hits} ({100 * low:.0f}–{100 * high:.0f} %)"


if __name__ == "__main__":
    main()
