"""The steps of `deploy/Dockerfile` that make the image `cpu`, run in a scratch folder, and the server that it starts.

No image is built: there is no other root file system, no user 1000, no Debian of its own. Tried are that pip resolves, that
the package works with the libraries that it installs, and that the health check finds the server.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.dockerfile import ROOT, inherited, stages, words

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

ARGUMENTS, STAGES = stages()
PLACES = ("/opt/palimpsest", "/wheels", "/build", "/src")


class Builder:
    """Runs steps with the folders of the image inside of a scratch folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._where = folder
        # Another place of PyTorch's wheels for CPUs, for a machine that reaches only a mirror.
        self._variables = {"TORCH_INDEX": os.environ.get("PALIMPSEST_TORCH_INDEX", "")}
        self.environment = {
            key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PALIMPSEST_MODELS"}
        }
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def inside(self, text: str) -> str:
        """Return a text with the places of the image replaced."""
        return re.sub(rf"(?<![\w/.])({'|'.join(PLACES)})(?=[/\s]|$)", lambda found: f"{self._folder}{found[1]}", text)

    def build(self, stage: str) -> None:
        """Run the stage's own steps; COPY --from is left out, because all stages share the folders."""
        for instruction, value in STAGES[stage].steps:
            if instruction == "WORKDIR":
                self._where = Path(self.inside(value))
                self._where.mkdir(parents=True, exist_ok=True)
            elif instruction == "ARG":
                name, _, default = value.partition("=")
                self._variables[name] = self._variables.get(name) or default
            elif instruction == "COPY" and not value.startswith("--from"):
                self._copy(value.split())
            elif instruction == "RUN":
                command = self.inside(re.sub(r"--mount=\S+", "", value))
                subprocess.run(command, shell=True, cwd=self._where, env=self.environment | self._variables, check=True)

    def _copy(self, paths: list[str]) -> None:
        *sources, target = paths
        for source in map(ROOT.joinpath, sources):
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "web", ".mypy_cache")
                shutil.copytree(source, self._where / target, ignore=ignore)
            else:
                shutil.copy(source, self._where / target)


def test_the_steps_make_a_server_that_the_health_check_finds(tmp_path):
    builder = Builder(tmp_path)
    for stage in ("wheel", "packages", "cpu-packages", "cpu"):
        builder.build(stage)
    program = tmp_path / "opt" / "palimpsest" / "bin"
    steps = list(inherited(STAGES, "cpu"))
    entry = [words(value) for name, value in steps if name == "ENTRYPOINT"][-1]
    command = [words(value) for name, value in steps if name == "CMD"][-1]
    check = words([value for name, value in steps if name == "HEALTHCHECK"][-1].partition("CMD")[2].strip())
    models = tmp_path / "models"
    models.mkdir()
    environment = builder.environment | {
        "PATH": str(program),
        "PALIMPSEST_ENGINE": "own",
        "PALIMPSEST_MODELS": str(models),
        "HOME": str(tmp_path),
    }
    start = [str(program / entry[0]), *entry[1:], *command, "--port", "0"]
    refused = subprocess.run(start, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert refused.returncode == 2, "without a token it does not start"
    assert "PALIMPSEST_API_TOKEN" in refused.stderr
    environment["PALIMPSEST_API_TOKEN"] = "0123456789abcdef"
    with subprocess.Popen(start, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            port = next(found[1] for line in server.stderr if (found := re.search(r"http://0\.0\.0\.0:(\d+)", line)))
            ask = [str(program / check[0]), *(each.replace("8012", port) for each in check[1:])]
            until = time.monotonic() + 300
            while code := subprocess.run(ask, env=environment, capture_output=True, check=False).returncode:
                assert server.poll() is None
                assert time.monotonic() < until, f"the health check still ends with {code}"
        finally:
            server.terminate()
            assert server.wait(60) == 0
