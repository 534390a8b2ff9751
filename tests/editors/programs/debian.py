"""Programs out of Debian packages, of any suite, unpacked into a folder; nothing is installed, and no root is needed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from editors.programs import Unavailable, cached


def get(cache: Path, suite: str, packages: Sequence[str]) -> Path:
    """The folder with these packages and all that they depend on, down to the C library; `command` runs what is in it.

    suite: such as "forky". The versions are those that the suite has on the day of the download.
    """
    for program in ("apt-get", "dpkg"):
        if not shutil.which(program):
            raise Unavailable(f"there is no {program} here")

    def build(folder: Path) -> None:
        apt = folder / "apt"
        try:
            for package in _download(apt, suite, packages):
                subprocess.run(["dpkg", "-x", package, folder], check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as error:
            why = [line for line in error.stderr.splitlines() if line.startswith(("E:", "dpkg"))] or ["no reason given"]
            raise Unavailable(f"{' '.join(packages)} of Debian {suite} are not available: {why[-1]}") from error
        finally:
            shutil.rmtree(apt, ignore_errors=True)

    return cached(cache, f"debian-{suite}-{'-'.join(packages)}", build)


def command(folder: Path, program: str) -> list[str]:
    """Return the command that runs a program of the folder with the folder's own C library; `program` is its path there."""
    loaders = sorted(path for path in folder.glob("usr/lib*/**/ld-linux-*.so.*") if path.is_file())
    if not loaders:
        raise Unavailable(f"{folder.name} has no dynamic loader in it")
    libraries = {path.parent for path in folder.glob("**/*-linux-gnu*/*.so*")}
    return [str(loaders[0]), "--library-path", ":".join(sorted(map(str, libraries))), str(folder / program)]


def _download(apt: Path, suite: str, packages: Sequence[str]) -> list[Path]:
    """The packages' files. apt: the empty root that apt-get is given, as if nothing were installed."""
    for name in ("lists/partial", "archives/partial", "none"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources").write_text(f"deb {_mirror()} {suite} main\n")
    options = {
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt,
        "Dir::Etc::sourcelist": apt / "sources",
        "Dir::Etc::sourceparts": apt / "none",
        "Dir::Etc::preferencesparts": apt / "none",
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "",
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "1",
    }
    apt_get = ["apt-get", "--quiet", "--yes", *(part for o, v in options.items() for part in ("-o", f"{o}={v}"))]
    for arguments in (["update", "--error-on=any"], ["install", "--download-only", *packages]):
        subprocess.run([*apt_get, *arguments], check=True, capture_output=True, text=True)
    return sorted((apt / "archives").glob("*.deb"))


def _mirror() -> str:
    """The mirror that this machine's own sources name, if it is a Debian, with the key it is signed by."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], capture_output=True, text=True
    )
    mirrors = [line for line in listed.stdout.splitlines() if line.rstrip("/").endswith("/debian")]
    if not mirrors:
        raise Unavailable("this machine's package sources name no mirror of Debian")
    keys = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    return f"[signed-by={keys}] {mirrors[0]}" if keys.exists() else mirrors[0]
