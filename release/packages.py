"""Build the wheel and the source distribution into dist/, and check what a package index and a user would be given.

Both are built twice, once by way of the source distribution and once from the tree, and have to be the same bytes.
Nothing is uploaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LARGEST_WHEEL = 30_000_000  # bytes
PLACEHOLDER = "/OWNER/"


def main() -> None:
    """Build into the folder named on the command line, else dist/, and end with a message if a check fails."""
    into = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    tracked = set(_git("ls-files").splitlines())
    with tempfile.TemporaryDirectory() as scratch:
        first, second = Path(scratch, "first"), Path(scratch, "second")
        _build(first)  # the wheel from the source distribution
        _build(second, "--sdist", "--wheel")  # both from the tree
        built = sorted(first.iterdir())
        for each in built:
            if each.read_bytes() != (second / each.name).read_bytes():
                sys.exit(f"{each.name} is not reproducible, or the source distribution builds another wheel")
            into.mkdir(exist_ok=True)
            shutil.copy(each, into)
    wheel, source = (next(into / each.name for each in built if each.suffix == suffix) for suffix in (".whl", ".gz"))
    faults = [*_wheel_faults(wheel, tracked), *_source_faults(source, tracked)]
    if faults:
        sys.exit("\n".join(faults))
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source)], check=True)
    for each in (wheel, source):
        print(f"{each.stat().st_size / 1e6:.1f} MB  {each.name}")
    if PLACEHOLDER in (address := PROJECT["project"]["urls"]["Repository"]):
        print(f"Not to be published yet: {address} in pyproject.toml is a placeholder for the repository.")


def _build(into: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(into), *options, str(ROOT)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct").strip()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True).stdout


def _wheel_faults(wheel: Path, tracked: set[str]) -> list[str]:
    """Return a sentence for each fault: what is missing in the wheel, or is in it and should not be."""
    packages = [Path(folder) for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    folders = {folder.name: folder.parent.as_posix() for folder in packages}
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    paths = {f"{folders.get(name.split('/')[0], '?')}/{name}" for name in names}
    embedded = {name for name in tracked if name.startswith("engine/palimpsest_engine/embedded/")}
    assert any(name.endswith(".safetensors") for name in embedded)
    faults = [f"{wheel.name} lacks {name}" for name in sorted(embedded - paths)]
    faults += [f"{wheel.name} has {name}, which git does not track" for name in sorted(paths - tracked)]
    faults += [
        f"{wheel.name} has {name}, which is for developers"
        for name in sorted(paths)
        if {"tests", "web", "node_modules", "fixtures"} & set(Path(name).parts)
    ]
    if (size := wheel.stat().st_size) >= LARGEST_WHEEL:
        faults.append(f"{wheel.name} has {size:,} bytes, more than {LARGEST_WHEEL:,}")
    return faults


def _source_faults(source: Path, tracked: set[str]) -> list[str]:
    """Return a sentence for each file in the source distribution that is not in the repository."""
    with tarfile.open(source) as archive:
        names = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    return [f"{source.name} has {name}, which git does not track" for name in sorted(names - tracked - {"PKG-INFO"})]


if __name__ == "__main__":
    main()
