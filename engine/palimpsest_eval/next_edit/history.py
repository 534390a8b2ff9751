"""Read what the commits of a git repository changed: texts of files, before and after. Runs git; writes nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from palimpsest_engine.errors import DataError

_SECONDS = 60  # for one command of git
_LARGEST = 80_000  # bytes of a file
_FILE = "100"  # how the mode of a plain file begins


@dataclass(frozen=True, slots=True)
class Edited:
    """A file that a commit changed, with its text before and after."""

    commit: str
    path: str
    before: str
    after: str


def edited(repository: Path, suffixes: frozenset[str], limit: int | None = None) -> Iterator[Edited]:
    """Yield the files with these suffixes that the newest commits changed, without merges. limit: of commits."""
    newest = () if limit is None else (f"--max-count={limit}",)
    format = ("--format=%H", "--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "--diff-filter=M", "-z")
    commit = ""
    fields = iter(_text(_git(repository, "log", "--no-merges", *newest, *format, "HEAD", "--")).split("\0"))
    for field in fields:
        said = field.strip("\n")
        if not said.startswith(":"):
            commit = said or commit
            continue
        path, (mode, _, old, new, _) = next(fields, ""), said.split()
        if mode[1:].startswith(_FILE) and Path(path).suffix in suffixes:
            before, after = _blob(repository, old), _blob(repository, new)
            if before is not None and after is not None:
                yield Edited(commit, path, before, after)


def head(repository: Path) -> str:
    """Return the id of the newest commit."""
    return _text(_git(repository, "rev-parse", "--verify", "HEAD", "--")).split()[0]


def _blob(repository: Path, id: str) -> str | None:
    """Return a text of the repository; None if it is large, binary, or not there, as in a partial clone."""
    try:
        data = _git(repository, "cat-file", "blob", id)
        return None if len(data) > _LARGEST or b"\r" in data else data.decode()
    except (DataError, UnicodeDecodeError):
        return None


def _git(repository: Path, *arguments: str) -> bytes:
    """Return what git prints. It asks nothing, fetches nothing, and heeds no settings but those of the repository."""
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
    command = ["git", "-C", str(repository.resolve()), "-c", "core.fsmonitor=false", "--no-pager", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, check=True, timeout=_SECONDS, env=environment, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise DataError("git is not on the PATH") from None
    except subprocess.TimeoutExpired:
        raise DataError(f"{repository}: git {arguments[0]} took longer than {_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise DataError(f"{repository}: git {arguments[0]}: {_text(error.stderr).strip()}") from None
    return done.stdout


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
