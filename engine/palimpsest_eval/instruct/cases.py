"""The cases: a file with a selection, an instruction, and a program that checks the result. Knows no model."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cattrs

from palimpsest_engine import FillRequest, Span
from palimpsest_engine.errors import DataError, DocumentMissing

SUFFIXES = {"python": "py", "javascript": "js", "c": "c"}


@dataclass(frozen=True, slots=True)
class Case:
    """A selection to rewrite, in a file of `before`, `selection` and `after`.

    reference: a replacement that is right. check: code behind the file that fails if the replacement is wrong. has, lacks:
    regular expressions that it has to match, and must not.
    """

    name: str
    language: str
    kind: str
    instruction: str
    before: str
    selection: str
    after: str
    reference: str
    check: str
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    def program(self, replacement: str) -> str:
        """Return what is run to check a replacement."""
        return f"{self.before}{replacement}{self.after}\n{self.check}"

    def says(self, replacement: str) -> bool:
        """Return whether a replacement matches what it has to, and nothing that it must not."""
        found = [re.search(pattern, replacement, re.MULTILINE) is not None for pattern in (*self.has, *self.lacks)]
        return all(found[: len(self.has)]) and not any(found[len(self.has) :])

    def request(self, seed: int = 0) -> FillRequest:
        """Return the request of an editor whose user selects the lines and says the instruction."""
        start = len(self.before)
        return FillRequest(
            self.before + self.selection + self.after,
            (Span(start, start + len(self.selection)),),
            language=self.language,
            path=f"{self.name.replace('-', '_')}.{SUFFIXES[self.language]}",
            seed=seed,
            instruction=self.instruction,
            edit=True,
        )


def read(file: Path) -> list[Case]:
    """Read the cases of a language from LANGUAGE.toml. Raises DocumentMissing, and DataError for another form."""
    language = file.stem
    if language not in SUFFIXES:
        raise DataError(f"{file}: cases are in files named {', '.join(f'{name}.toml' for name in SUFFIXES)}")
    try:
        tables: Any = tomllib.loads(file.read_text("utf-8"))["case"]
        cases = [cattrs.structure({**table, "language": language}, Case) for table in tables]
    except FileNotFoundError:
        raise DocumentMissing(f"there is no file {file}") from None
    except (ValueError, KeyError, TypeError, cattrs.BaseValidationError) as error:
        raise DataError(f"{file} has no cases of the form that is wanted: {error}") from None
    if len({case.name for case in cases}) < len(cases):
        raise DataError(f"{file}: two cases have the same name")
    return cases


def choosing(cases: Iterable[Case]) -> set[tuple[str, str]]:
    """Return language and name of every other case: the half by which a prompt may be chosen. The other is held out.

    Cases of a language and a kind take turns, in the order of a hash of their names.
    """

    def place(case: Case) -> tuple[str, str, str]:
        return case.language, case.kind, hashlib.sha256(f"{case.language}/{case.name}".encode()).hexdigest()

    return {(case.language, case.name) for case in sorted(cases, key=place)[::2]}
