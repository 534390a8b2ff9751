"""Cases from a file of others: whole programs, an instruction, and tests, as sets for editing by instruction have them.

A line of the file is a JSON object. `before`: the program as it is. `after`: one that is right. `tests`: code that fails
behind a wrong one. `instruction`: what is to be done; or several, each in a field `instruction_KIND`, which make a case each.
`name` and `language` (python without it) are optional, other fields are ignored. All of the program is selected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_eval.instruct.cases import SUFFIXES, Case

_NEEDED = ("before", "after", "tests")


def read(file: Path) -> list[Case]:
    """Read the cases of a set. Raises DocumentMissing, and DataError for another form."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise DocumentMissing(f"there is no file {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    return [
        case
        for number, line in enumerate(lines, 1)
        if line.strip()
        for case in _cases(f"{file}:{number}", line, number)
    ]


def _cases(where: str, line: str, number: int) -> Iterator[Case]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is no JSON: {error}") from None
    if not isinstance(row, dict) or not all(isinstance(row.get(field), str) for field in _NEEDED):
        raise DataError(f"{where}: an object with the texts {', '.join(_NEEDED)} is wanted")
    language, name = row.get("language", "python"), row.get("name", f"row-{number}")
    if language not in SUFFIXES:
        raise DataError(f"{where}: the language is one of {', '.join(SUFFIXES)}, not {language!r}")
    said = {key: text for key, text in row.items() if key.partition("_")[0] == "instruction" and isinstance(text, str)}
    if not said:
        raise DataError(f"{where} has no instruction")
    for key, text in said.items():
        kind = key.partition("_")[2] or "set"
        yield Case(f"{name}-{kind}", language, kind, text, "", row["before"], "", row["after"], row["tests"])
