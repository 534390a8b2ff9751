"""Say which programs a command of development runs, as data; starts none, and knows only the standard library.

The Makefile's targets of the same names come here, so that each command line stands in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

PYTHONS = ((3, 11), (3, 14))  # from, and before
STAMPS = {"": "installed", "dev": "installed-dev"}  # files in the environment, newer than what they were installed from


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment and what it is filled from. folder: absolute, or relative to the root of the repository."""

    folder: PurePath
    windows: bool
    constraints: str = "constraints/newest.txt"

    @property
    def python(self) -> str:
        """Return the path of the interpreter."""
        return self.program("python")

    def program(self, name: str) -> str:
        """Return the path of a program that a package brought along."""
        return str(self.folder / "Scripts" / f"{name}.exe" if self.windows else self.folder / "bin" / name)

    def beside(self, name: str, constraints: str) -> Environment:
        """Return another environment next to this one, for other versions of the libraries."""
        return Environment(self.folder.with_name(f"{self.folder.name}-{name}"), self.windows, constraints)


Lines = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command of development. extra: of pyproject.toml, to be installed first. lines: the programs, in order."""

    help: str
    extra: str
    lines: Callable[[Environment, int], Lines]
    oldest: bool = False


def install(place: Environment, extra: str) -> tuple[str, ...]:
    """Return the program that installs the package from its source, with an extra or none."""
    what = f".[{extra}]" if extra else "."
    quiet = "--quiet" if extra else "--disable-pip-version-check"
    return (place.python, "-m", "pip", "install", quiet, "--constraint", place.constraints, "--editable", what)


def _pytest(*more: str) -> Callable[[Environment, int], Lines]:
    def lines(place: Environment, workers: int) -> Lines:
        spread = () if "-m" in more else ("-n", str(workers), "--dist", "worksteal")
        return ((place.python, "-m", "pytest", *spread, *more),)

    return lines


def _lint(place: Environment, workers: int) -> Lines:
    return (
        (place.program("ruff"), "check", "."),
        # a file that is opened without an encoding; the rule is a preview of ruff's
        (
            place.program("ruff"),
            "check",
            "--preview",
            "--select",
            "PLW1514",
            "engine",
            "server",
            "palimpsest_dev",
            "release",
        ),
        (place.program("ruff"), "format", "--check", "."),
        (place.program("mypy"),),
        *(
            (place.program("mypy"), "--platform", each, "--cache-dir", f".mypy_cache/{each}")
            for each in ("win32", "darwin")
        ),
        (
            place.program("mypy"),
            "release/dependencies.py",
            "release/docs.py",
            "release/packages.py",
            "release/parts.py",
        ),
        (place.program("lint-imports"),),
    )


COMMANDS = {
    "test": Command("run every test", "dev", _pytest()),
    "test-quick": Command(
        "run tests that need no model: documents, sessions, secrets, pages",
        "dev",
        _pytest(
            *(f"tests/server/{room}" for room in ("documents", "protocol", "session", "status")),
            *(f"tests/server/context/test_{name}.py" for name in ("imports", "redact")),
            *("tests/test_prose.py", "tests/test_workflows.py", "tests/cli/test_docs.py"),
        ),
    ),
    "test-oldest": Command(
        "run the tests of everything that knows a tensor with the oldest libraries that are allowed",
        "dev",
        _pytest("tests/engine", "tests/train", "tests/tune"),
        oldest=True,
    ),
    "test-coder": Command(
        "fill with the 0.5B model, which it fetches first", "dev", _pytest("-m", "coder", "tests/e2e/test_coder.py")
    ),
    "lint": Command("run ruff, mypy and import-linter", "dev", _lint),
}


def pull(place: Environment, model: str) -> tuple[str, ...]:
    """Return the program that fetches the model of the demonstration. model: a name, or `--recommended`."""
    return (place.program("palimpsest"), "models", "pull", model, "--yes", "--use")


def fill(place: Environment, *, embedded: bool) -> tuple[str, ...]:
    """Return the program that fills the holes of the demonstration."""
    which = ("--model", "embedded") if embedded else ()
    return (
        place.program("palimpsest"),
        "fill",
        "fixtures/demo/statement.py",
        "--holes",
        "--watch",
        "--summary",
        *which,
    )


def next_steps(place: Environment) -> str:
    """Return what the demonstration ends with."""
    program = place.program("palimpsest")
    return (
        "\nThe check knows syntax, not meaning: read what was written. To try next:\n"
        f"  a diff        {program} fill fixtures/demo/inventory.py --holes\n"
        f"  diffusion     {program} fill fixtures/demo/statement.py --holes --watch --model embedded\n"
        f"  other models  {program} models list\n"
        "  your editor   editors/README.md"
    )
