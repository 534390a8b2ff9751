"""Serves the packages of dist/ as an index does, and installs them from there into an environment of their own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
NAME = "palimpsest-ls"


def built(pattern: str) -> Path:
    """Return the one file of dist/ with such a name."""
    found = sorted(DIST.glob(pattern))
    assert len(found) == 1, f"dist/ has {[each.name for each in found]} for {pattern}: `make dist` builds it anew"
    return found[0]


@contextlib.contextmanager
def index(folder: Path) -> Iterator[str]:
    """Yield the address of a package index that has our packages, and no others. folder: an empty one."""
    home = folder / NAME
    home.mkdir(parents=True)
    for pattern in ("*.whl", "*.tar.gz"):
        (home / built(pattern).name).symlink_to(built(pattern))
    # A list of files with links to them is all that an index has to be.
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def install(address: str, folder: Path) -> Path:
    """Return the program `palimpsest` of a new environment, installed by name. address: of the index that has it."""
    environment = outside()
    subprocess.run([sys.executable, "-m", "venv", folder], env=environment, check=True)
    python, report = folder / "bin" / "python", folder / "report.json"
    options = ["--extra-index-url", address, "--constraint", ROOT / "constraints" / "newest.txt", "--report", report]
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *options, f"{NAME}[canvas]"]
    subprocess.run(pip, cwd=folder, env=environment, check=True)
    taken = {
        each["metadata"]["name"]: each["download_info"]["url"]
        for each in json.loads(report.read_text("utf-8"))["install"]
    }
    assert taken[NAME] == f"{address}{NAME}/{built('*.whl').name}", "it is the one of dist/"
    return folder / "bin" / "palimpsest"


def outside() -> dict[str, str]:
    """Return an environment in which neither the source nor another `palimpsest` is found."""
    paths = [each for each in os.environ["PATH"].split(os.pathsep) if not Path(each, "palimpsest").exists()]
    kept = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return kept | {"PATH": os.pathsep.join(paths), "PALIMPSEST_ENGINE": "own"}


def serves(program: Path) -> bool:
    """Return whether that program is at work for something that this process started."""
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # an editor's other children come and go
            if {str(program), "serve"} <= set(each.cmdline()):
                return True
    return False


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass
