"""Build the extension for VS Code into dist/, from what git tracks; needs Node and the extension's own packages.

It is built twice, in two folders, and has to be the same bytes. Nothing is uploaded.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "editors" / "vscode"
BUILT = ("extension.js", "client.js", "THIRD-PARTY-NOTICES.txt")


def main() -> None:
    """Build into the folder named on the command line, else dist/, and end with a message if a check fails."""
    into = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    os.umask(0o022)  # the archive has the rights of the files in it
    tracked = set(_git("ls-files").splitlines())
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (_build(Path(scratch, name), tracked) for name in ("first", "second"))
        if first.read_bytes() != second.read_bytes():
            sys.exit("the extension is not reproducible: two builds are not the same bytes")
        if faults := _faults(first, tracked):
            sys.exit("\n".join(faults))
        version = re.findall(r'"version": "(.*)"', (EXTENSION / "package.json").read_text("utf-8"))[0]
        into.mkdir(parents=True, exist_ok=True)
        path = into / f"palimpsest-{version}.vsix"
        shutil.copy(first, path)
    print(f"{path.stat().st_size / 1e6:.1f} MB  {path.name}")


def _build(folder: Path, tracked: set[str]) -> Path:
    """Return the package, built of copies of the files in an empty folder."""
    for name in sorted(tracked):
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(EXTENSION / name, copy)
    (folder / "node_modules").symlink_to(EXTENSION / "node_modules")
    # A time in the archive is that of a zone, so the zone has to be said, too.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct").strip(), "TZ": "UTC"}
    command = ["npm", "run", "--silent", "package"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return folder / "palimpsest.vsix"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(EXTENSION), *arguments], capture_output=True, text=True, check=True).stdout


def _faults(package: Path, tracked: set[str]) -> list[str]:
    """Return a sentence for each file in the package that is neither in the repository nor built of what is."""
    # vsce writes these names in a way of its own.
    renamed = {"readme.md": "README.md", "changelog.md": "CHANGELOG.md", "LICENSE.txt": "LICENSE"}
    with zipfile.ZipFile(package) as archive:
        names = {name.removeprefix("extension/") for name in archive.namelist() if name.startswith("extension/")}
    expected = tracked | {f"out/{name}" for name in BUILT}
    faults = [
        f"the extension has {name}, which git does not track" for name in sorted(names - renamed.keys() - expected)
    ]
    return faults + [f"the extension lacks out/{name}" for name in BUILT if f"out/{name}" not in names]


if __name__ == "__main__":
    main()
