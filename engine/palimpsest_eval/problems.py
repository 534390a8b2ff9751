"""Problems to fill: a prompt, a suffix, and what is known of the middle. Reads files; knows no model.

The line end after a line belongs to what follows it, as in an editor: where a row's prompt ends with a line and its
middle does, too, that last line end is moved from the middle to the suffix. The text in which a hole is filled is then
always `prompt + suffix`, with the hole in between, and the finished text `prompt + fill + suffix`.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_engine.request import FillRequest, Span

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Problem:
    """A hole between `prompt` and `suffix`.

    truth: what stood there, None if that is not known. test, entry_point: Python that defines `check(candidate)`, and the
    name it is called with. kind: `line`, `lines`, `span` and the like; tables are split by it. language: an LSP id.
    """

    task_id: str
    prompt: str
    suffix: str
    truth: str | None = None
    test: str | None = None
    entry_point: str | None = None
    kind: str = "insertion"
    language: str | None = "python"

    @property
    def one_line(self) -> bool:
        """The middle is known to lie within a line."""
        return self.truth is not None and "\n" not in self.truth

    def filled(self, fill: str) -> str:
        """The whole text."""
        return self.prompt + fill + self.suffix

    def program(self, fill: str) -> str:
        """The text with its test behind it, which runs to its end if the fill is right."""
        assert self.test is not None
        assert self.entry_point is not None
        return f"{self.filled(fill)}\n{self.test}\ncheck({self.entry_point})\n"

    def request(self, seed: int, *, as_users: bool = True, sizes: tuple[int, ...] | None = None) -> FillRequest:
        """What the engine is asked. as_users: tidied, and within a line if the middle is known to be."""
        at = len(self.prompt)
        return FillRequest(
            self.prompt + self.suffix,
            (Span(at, at),),
            document=self.task_id,
            language=self.language,
            seed=seed,
            sizes=sizes,
            max_lines=1 if as_users and self.one_line else None,
            tidy=as_users,
        )


def read(path: Path, language: str | None = "python") -> Iterator[Problem]:
    """The rows of a JSON Lines file, gzip or not: `task_id`, `prompt` and `suffix`, and where they are there
    `canonical_solution` (or `truth`), `test` and `entry_point`, `kind`, `language`.

    Raises DocumentMissing, or DataError that names the line.
    """
    seen: dict[str, int] = {}
    for number, row in _rows(path):
        problem = _problem(f"{path} line {number}", row, language)
        if problem.task_id in seen:
            raise DataError(
                f"{path} line {number}: the task_id {problem.task_id!r} is that of line {seen[problem.task_id]} too"
            )
        seen[problem.task_id] = number
        yield problem
    if not seen:
        raise DataError(f"{path} has no problems in it")


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers from 1 and JSON values."""
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DocumentMissing(f"there is no file {path}") from error
    if raw.startswith(_GZIP):
        try:
            raw = gzip.decompress(raw)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path} is a damaged gzip file") from error
    elif path.suffix == ".gz":
        raise DataError(f"{path} is not a gzip file, whatever its name says")
    for number, line in enumerate(raw.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path} line {number}: not JSON in UTF-8") from error


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
        raise DataError(f"{where}: a test needs an entry_point, and the other way round")
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
