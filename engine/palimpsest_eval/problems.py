"""Problems to fill: a prompt, a suffix, and the true middle if it is known. Reads files; knows no model.

As in an editor, the line end after the hole belongs to the suffix: if a row's prompt and its middle both end with a
line end, that of the middle moves to the suffix. The hole then always lies in `prompt + suffix`, between the two, and
the finished text is `prompt + fill + suffix`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from palimpsest_engine.errors import DataError
from palimpsest_engine.request import FillRequest, Span
from palimpsest_server.cli import files

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """A hole between `prompt` and `suffix`.

    truth: the text that stood there, None if unknown. present: what stands there now, between prompt and suffix.
    test: Python code that defines `check(candidate)`; entry_point: the name it is called with. kind: `line`, `lines`, `span`
    and the like; tables are split by it. language: an LSP id.
    """

    task_id: str
    prompt: str
    suffix: str
    truth: str | None = None
    test: str | None = None
    entry_point: str | None = None
    kind: str = "insertion"
    language: str | None = "python"
    present: str = ""

    @property
    def one_line(self) -> bool:
        """Tell whether the middle is known to lie within a line."""
        return self.truth is not None and "\n" not in self.truth

    def filled(self, fill: str) -> str:
        """Return the whole text with this fill."""
        return self.prompt + fill + self.suffix

    def program(self, fill: str) -> str:
        """Return the text followed by its test. The program runs to its end if the fill is right."""
        assert self.test is not None
        assert self.entry_point is not None
        return f"{self.filled(fill)}\n{self.test}\ncheck({self.entry_point})\n"

    def request(
        self, seed: int, *, as_users: bool = True, sizes: tuple[int, ...] | None = None, strength: float = 1.0
    ) -> FillRequest:
        """Return the engine's request. as_users: tidy the fill, and keep it to one line if the middle is one line."""
        at = len(self.prompt)
        return FillRequest(
            self.prompt + self.present + self.suffix,
            (Span(at, at + len(self.present)),),
            document=self.task_id,
            language=self.language,
            seed=seed,
            sizes=sizes,
            strength=strength,
            max_lines=1 if as_users and self.one_line else None,
            tidy=as_users,
        )


def read(path: Path, language: str | None = "python") -> Iterator[Problem]:
    """Read the rows of a JSON Lines file, gzip or not.

    A row has `task_id`, `prompt` and `suffix`, and optionally `canonical_solution` (or `truth`), `test` and
    `entry_point`, `kind`, `language`. Raises DocumentMissing, or DataError that names the line.
    """
    seen: dict[str, int] = {}
    for number, row in files.json_rows(path, files.read_unzipped(path)):
        problem = _problem(f"{path} line {number}", row, language)
        if problem.task_id in seen:
            raise DataError(
                f"{path} line {number}: the task_id {problem.task_id!r} is already on line {seen[problem.task_id]}"
            )
        seen[problem.task_id] = number
        yield problem
    if not seen:
        raise DataError(f"{path} has no problems in it")


def spread(problems: Sequence[T], limit: int | None) -> list[T]:
    """Return at most `limit` of some problems, or cases, spread evenly over all."""
    if limit is None or limit >= len(problems):
        return list(problems)
    return [problems[i * len(problems) // limit] for i in range(limit)]


def _problem(where: str, row: Any, language: str | None) -> Problem:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object, not {type(row).__name__}")
    task_id = row.get("task_id")
    if not isinstance(task_id, str) and type(task_id) is not int:
        raise DataError(f"{where}: the task_id is neither a string nor a whole number")
    texts: dict[str, str | None] = {}
    for key in ("prompt", "suffix", "canonical_solution", "truth", "test", "entry_point", "kind", "language"):
        value = row.get(key)
        if value is None and key in ("prompt", "suffix"):
            raise DataError(f"{where}: there is no {key}")
        if value is not None and not isinstance(value, str):
            raise DataError(f"{where}: the {key} is not a string")
        texts[key] = value
    if (texts["test"] is None) != (texts["entry_point"] is None):
        raise DataError(f"{where}: test and entry_point are needed together")
    prompt, suffix = texts["prompt"] or "", texts["suffix"] or ""
    truth = texts["canonical_solution"] if texts["truth"] is None else texts["truth"]
    kind = texts["kind"]
    if truth is not None and truth.endswith("\n") and (not prompt or prompt.endswith("\n")):
        truth, suffix = truth[:-1], "\n" + suffix
        kind = kind or ("lines" if "\n" in truth else "line")
    return Problem(
        str(task_id),
        prompt,
        suffix,
        truth,
        texts["test"],
        texts["entry_point"],
        kind or "insertion",
        texts["language"] or language,
    )
