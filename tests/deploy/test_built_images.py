"""The images of `deploy/Dockerfile`, built by buildah without a daemon, and run by podman as the Compose files say.

As root on Linux. The variables, all optional: PALIMPSEST_IMAGES names the targets (`cpu`), PALIMPSEST_PYTHON_IMAGE another
base, such as the one that `deploy/stand-in` makes, and PALIMPSEST_BUILD has more options of `buildah build`.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from deploy.dockerfile import DOCKERFILE, ROOT
from palimpsest_api.secret import VARIABLE

pytestmark = [pytest.mark.images, pytest.mark.timeout(3600)]

TARGETS = os.environ.get("PALIMPSEST_IMAGES", "cpu").split()
COMPOSE = {"cpu": ("one-machine.yaml", "api"), "cuda": ("one-machine.yaml", "api"), "team": ("compose.yaml", "team")}
TOKEN = "0123456789abcdef"
# What must not be in an image: it lies in the source that it is built from.
CANARIES = ("deploy/team/tokens.json", ".git/config", ".env", "engine/__pycache__/canary.pyc", "models/canary")
# Podman asks for more than root may have where it lacks a capability.
LIMITS = [
    word
    for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
    for most in (min(resource.getrlimit(kind)[1] % (1 << 63), 1 << 14),)
    for word in ("--ulimit", f"{name}={most}:{most}")
]
Container = Callable[..., list[str]]


@pytest.fixture(scope="module")
def tools(program: Callable[[str], str]) -> tuple[str, str]:
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("images are built and run as root here")
    return program("buildah"), program("podman")


@pytest.fixture(scope="module", params=TARGETS)
def image(
    request: pytest.FixtureRequest, tools: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Build a target, with secrets in the source, and remove it in the end."""
    context = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, context / name)
    for name in CANARIES:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text("canary 5f2b1c")
    name = f"localhost/palimpsest-try:{request.param}"
    base = os.environ.get("PALIMPSEST_PYTHON_IMAGE")
    command = [tools[0], "build", "--isolation", "chroot", "--network", "host", "--layers=false", "--format", "docker"]
    command += ["--file", "deploy/Dockerfile", "--ignorefile", "deploy/Dockerfile.dockerignore"]
    command += ["--target", request.param, "--tag", name, *(["--build-arg", f"PYTHON_IMAGE={base}"] if base else [])]
    command += [*shlex.split(os.environ.get("PALIMPSEST_BUILD", "")), "."]
    subprocess.run(command, cwd=context, stdin=subprocess.DEVNULL, check=True)
    yield name
    subprocess.run([tools[1], "image", "rm", "--force", name], capture_output=True, check=False)


@pytest.fixture
def container(image: str, tools: tuple[str, str]) -> Container:
    """Return what makes a command that runs the image as its Compose file does, but on the network of this machine."""
    file, service = COMPOSE.get(image.rpartition(":")[2], (None, None))
    described: dict[str, Any] = (
        {} if file is None else yaml.safe_load((DOCKERFILE.parent / file).read_text())["services"][service]
    )

    def command(*arguments: str, network: str = "none", options: tuple[str, ...] = ()) -> list[str]:
        runtime = ["--runtime", "runc"] if shutil.which("runc") else []
        made = [
            tools[1],
            *runtime,
            "run",
            "--rm",
            "--network",
            network,
            *LIMITS,
            "--health-interval",
            "disable",
        ]
        made += ["--read-only"] if described.get("read_only") else []
        made += [word for each in described.get("tmpfs", []) for word in ("--tmpfs", each)]
        made += [word for each in described.get("cap_drop", []) for word in ("--cap-drop", each)]
        made += [
            word for each in described.get("security_opt", []) for word in ("--security-opt", each.partition(":")[0])
        ]
        made += ["--shm-size", described["shm_size"]] if "shm_size" in described else []
        return [*made, *options, image, *arguments]

    return command


def sh(container: Container, script: str) -> str:
    command = container("-c", script, options=("--entrypoint", "sh"))
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_nothing_runs_as_root_and_what_is_needed_can_be_written(container, image):
    assert sh(container, "id -u") == "1000\n"
    assert sh(container, "touch ~/one && echo written") == "written\n"
    if image.rpartition(":")[2] in COMPOSE:
        assert sh(container, "touch /one 2>/dev/null || echo refused") == "refused\n"
        run_from_home = "cp /bin/true ~/program && ~/program && echo run"
        assert sh(container, run_from_home) == "run\n", "what is compiled lies in the home"
        assert sh(container, "touch /models/one && echo written") == "written\n"


def test_no_secret_and_no_source_is_in_the_image(container, image, tools):
    assert sh(container, "ls -d /src /build /wheels /.git 2>/dev/null || true") == ""
    found = "grep -rlsF 'canary 5f2b1c' / --exclude-dir=proc --exclude-dir=sys || true"
    assert sh(container, found) == ""
    inspected = subprocess.run([tools[1], "inspect", image], capture_output=True, text=True, check=True).stdout
    variables = json.loads(inspected)[0]["Config"]["Env"]
    assert [each for each in variables if "TOKEN=" in each] == []


@contextmanager
def started(command: list[str], name: str, podman: str) -> Iterator[subprocess.Popen[str]]:
    """Run a container until the end of the block, which it has to survive; then it has to stop when it is told to."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            subprocess.run([podman, "stop", "--time", "60", name], capture_output=True, check=False)
        assert process.wait(90) == 0, process.stderr and process.stderr.read()


def until_well(server: subprocess.Popen[str], command: list[str]) -> None:
    until = time.monotonic() + 600
    while (done := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        assert server.poll() is None, server.stderr and server.stderr.read()
        assert time.monotonic() < until, done.stdout + done.stderr
        time.sleep(1)


def test_it_fills_and_its_server_is_found_by_the_health_check(container, image, tools, tmp_path):
    if image.rpartition(":")[2] not in ("cpu", "cuda"):
        pytest.skip("of cpu and cuda")
    file = tmp_path / "add.py"
    file.write_text("def add(a, b):\n    return <|hole|>\n\n\nprint(add(1, 2))\n")
    arguments = ("fill", "/add.py", "--holes", "--json", "--model", "embedded")
    command = container(*arguments, options=("--volume", f"{file}:/add.py:ro"))
    filled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert filled.returncode in (0, 1), filled.stderr
    assert json.loads(filled.stdout)["model"] == "palimpsest-py-6m"
    assert "warning" not in filled.stderr
    refused = subprocess.run(container(), capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert VARIABLE in refused.stderr
    command = container(network="host", options=("--name", "palimpsest-try", "--env", f"{VARIABLE}={TOKEN}"))
    with started(command, "palimpsest-try", tools[1]) as server:
        until_well(server, [tools[1], "healthcheck", "run", "palimpsest-try"])


def test_the_teams_service_answers_its_users(container, image, tools, tmp_path):
    """Over http, on CPUs: a certificate and GPUs are not there. What the Compose file asks is asked, but for its https."""
    if image.rpartition(":")[2] != "team":
        pytest.skip("of team")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    os.chown(secrets, 1000, 1000)
    mount = ("--volume", f"{secrets}:/secrets")
    added = subprocess.run(container("token", "add", "ada", options=mount), capture_output=True, text=True, check=True)
    served = ("serve", "--plain", "--host", "127.0.0.1", "--model", "embedded", "--device", "cpu")
    command = container(*served, network="host", options=(*mount, "--name", "palimpsest-try"))
    ask = ["exec", "palimpsest-try", "python", "-c"]
    health = "import urllib.request as r; r.urlopen('http://127.0.0.1:8013/health', timeout=5)"
    header = {"Authorization": f"Bearer {added.stdout.strip()}"}
    models = "import urllib.request as r; print(r.urlopen(r.Request('http://127.0.0.1:8013/v1/models', None, HEADER)).read())"
    with started(command, "palimpsest-try", tools[1]) as server:
        until_well(server, [tools[1], *ask, health])
        answered = subprocess.run(
            [tools[1], *ask, models.replace("HEADER", str(header))], capture_output=True, text=True, check=False
        )
        assert "palimpsest-py-6m" in answered.stdout, answered.stderr


def test_dev_has_the_programs_of_a_developer(container, image):
    if image.rpartition(":")[2] != "dev":
        pytest.skip("of dev")
    assert sh(
        container, "git --version && make --version && g++ --version && python -m venv ~/venv && echo all"
    ).endswith("all\n")
