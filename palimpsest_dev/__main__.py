"""Run a command of development: `python -m palimpsest_dev test`, from the root of the repository."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from palimpsest_dev import commands
from palimpsest_dev.commands import COMMANDS, STAMPS, Environment

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; return the exit code of the first program that fails."""
    given = _parser().parse_args(arguments)
    place = Environment(Path(given.venv), os.name == "nt", given.constraints)
    if given.command == "demo":
        return _made(place, "") or _demo(place, given.model)
    command = COMMANDS[given.command]
    if command.oldest:
        place = place.beside("oldest", "constraints/oldest.txt")
    if code := _made(place, command.extra):
        return code
    return next((code for line in command.lines(place, given.workers) if (code := _run(line))), 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m palimpsest_dev", description=__doc__)
    parser.add_argument("--venv", default=".venv", help="the folder of the virtual environment (.venv)")
    parser.add_argument("--constraints", default="constraints/newest.txt", help="the versions of the libraries")
    parser.set_defaults(workers=2, model="")
    kinds = parser.add_subparsers(dest="command", required=True)
    demo = kinds.add_parser("demo", help="fetch the recommended model, fill five holes of a file, and watch")
    demo.add_argument("--model", default="--recommended", help="another model; `embedded` fetches nothing")
    for name, command in COMMANDS.items():
        kinds.add_parser(name, help=command.help).add_argument("--workers", type=int, default=2, help="processes (2)")
    return parser


def _made(place: Environment, extra: str) -> int:
    """Make the environment and fill it, unless that is done and nothing has changed since; return an exit code."""
    folder = ROOT / place.folder
    if not (ROOT / place.python).exists():
        first, before = commands.PYTHONS
        if not first <= sys.version_info[:2] < before:
            print(f"This is Python {sys.version.split()[0]}; 3.11, 3.12 or 3.13 is needed.", file=sys.stderr)
            return 1
        venv.create(folder, with_pip=True)
    stamp = folder / STAMPS[extra]
    sources = (ROOT / "pyproject.toml", ROOT / place.constraints)
    if stamp.exists() and all(stamp.stat().st_mtime >= source.stat().st_mtime for source in sources):
        return 0
    print(f"Installing into {place.folder}, PyTorch among the libraries: some minutes, the first time.", flush=True)
    if code := _run(commands.install(place, extra)):
        return code
    for name in {STAMPS[""], STAMPS[extra]}:
        (folder / name).touch()
    return 0


def _demo(place: Environment, model: str) -> int:
    embedded = model == "embedded" or _run(commands.pull(place, model)) != 0
    if embedded:
        print("The embedded model fills.")
    print(flush=True)
    code = _run(commands.fill(place, embedded=embedded))
    if code == 0:
        print(commands.next_steps(place))
    return code


def _run(line: Sequence[str]) -> int:
    # Windows looks a relative program up from the folder of the parent, not from `cwd`.
    return subprocess.run((str(ROOT / line[0]), *line[1:]), cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
