"""The files in `.github` are valid, safe, and call what exists: targets of the Makefile, scripts of npm, files."""

from __future__ import annotations

import importlib.resources
import importlib.util
import json
import os
import re
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from palimpsest_dev.commands import COMMANDS

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(each for each in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if each.name != "config.yml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MAKE = r"(?m)^\s*make\s+([\w-]+|\"\$TARGET\")"


class _Loader(yaml.SafeLoader):
    """YAML 1.2, as GitHub reads it: `on` is a word and not a truth value."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in each if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, each in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _read(path: Path) -> Any:
    return yaml.load(path.read_text("utf-8"), _Loader)


def _name(path: Path) -> str:
    return path.name


def _jobs(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from _read(path)["jobs"].items()


def _runs(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the job and the step of every command."""
    for _, job in _jobs(path):
        yield from ((job, step) for step in job["steps"] if "run" in step)


def _made(path: Path) -> Iterator[str]:
    """Yield the targets of make that a workflow asks for."""
    for job, step in _runs(path):
        for target in re.findall(MAKE, step["run"]):
            yield from job["strategy"]["matrix"]["target"] if "$" in target else [target]


SCHEMAS = [
    *((path, "github-workflows") for path in WORKFLOWS),
    *((path, "github-issue-forms") for path in FORMS),
    (GITHUB / "ISSUE_TEMPLATE" / "config.yml", "github-issue-config"),
    (GITHUB / "dependabot.yml", "dependabot"),
]


@pytest.mark.parametrize(("path", "schema"), SCHEMAS, ids=lambda each: getattr(each, "name", each))
def test_each_file_follows_its_schema(path: Path, schema: str) -> None:
    schemas = importlib.resources.files("check_jsonschema").joinpath("builtin_schemas", "vendor")
    content = json.loads(schemas.joinpath(f"{schema}.json").read_text("utf-8"))
    jsonschema.validators.validator_for(content)(content).validate(_read(path))


def test_zizmor_finds_nothing_insecure() -> None:
    program = Path(sysconfig.get_path("scripts")) / ("zizmor.exe" if os.name == "nt" else "zizmor")
    command = [program, "--offline", "--no-progress", "--strict-collection", "--format", "plain", GITHUB]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=_name)
def test_a_workflow_may_only_read_and_every_job_ends(path: Path) -> None:
    workflow = _read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    assert [name for name, job in _jobs(path) if "timeout-minutes" not in job] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=_name)
def test_every_target_of_make_exists(path: Path) -> None:
    rules = re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert [target for target in _made(path) if target not in rules] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=_name)
def test_every_command_without_make_exists(path: Path) -> None:
    asked = [each for _, step in _runs(path) for each in re.findall(r"-m palimpsest_dev ([\w-]+)", step["run"])]
    assert [each for each in asked if each not in COMMANDS] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=_name)
def test_every_script_of_npm_exists(path: Path) -> None:
    for _, step in _runs(path):
        for script in re.findall(r"npm run ([\w:-]+)", step["run"]):
            package = ROOT / step["working-directory"] / "package.json"
            assert script in json.loads(package.read_text("utf-8"))["scripts"], step


@pytest.mark.parametrize("path", WORKFLOWS, ids=_name)
def test_every_file_that_a_command_names_exists(path: Path) -> None:
    named = [
        each
        for _, step in _runs(path)
        for each in re.findall(r"(?<![\w./~-])((?:\.ci|constraints|tests|editors|server)/[\w./-]+)", step["run"])
    ]
    assert [each for each in named if not (ROOT / each).exists()] == []


def test_every_python_that_is_promised_is_tested() -> None:
    promised = [each.rsplit(" ", 1)[1] for each in PROJECT["classifiers"] if each.count(":: 3.")]
    assert _read(GITHUB / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"] == promised


def test_every_target_of_the_whole_check_is_made_by_a_workflow() -> None:
    whole = set(re.findall(MAKE, (ROOT / ".ci" / "run").read_text("utf-8")))
    made = {target for name in ("ci.yml", "nightly.yml") for target in _made(GITHUB / "workflows" / name)}
    assert whole - made == set()


def test_the_gate_of_the_branch_waits_for_every_job() -> None:
    jobs = _read(GITHUB / "workflows" / "ci.yml")["jobs"]
    assert set(jobs["all"]["needs"]) == set(jobs) - {"all"}


def test_dependabot_looks_where_the_packages_are() -> None:
    manifests = {"pip": "pyproject.toml", "npm": "package-lock.json", "github-actions": ".github/workflows"}
    for update in _read(GITHUB / "dependabot.yml")["updates"]:
        for folder in update.get("directories") or [update["directory"]]:
            assert (ROOT / folder.lstrip("/") / manifests[update["package-ecosystem"]]).exists(), folder


def _tag_faults(tag: str, root: Path) -> list[str]:
    spec = importlib.util.spec_from_file_location("tag", ROOT / ".ci" / "tag.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[str] = module.faults(tag, root)
    return found


@pytest.mark.parametrize(
    ("tag", "version", "extension", "heading", "faults"),
    [
        ("v1.2.3", "1.2.3", "1.2.3", "## [1.2.3] - 2026-01-31", 0),
        ("v1.2.3rc1", "1.2.3rc1", "1.2.3", "## [1.2.3] - 2026-01-31", 0),
        ("v1.2.3", "1.2.4", "1.2.3", "## [1.2.3] - 2026-01-31", 1),
        ("v1.2.3", "1.2.3", "1.2.2", "## [1.2.3] - 2026-01-31", 1),
        ("v1.2.3", "1.2.3", "1.2.3", "## [1.2.3] - unreleased", 1),
        ("v1.2.3", "1.2.4", "1.2.4", "## [1.2.4] - 2026-01-31", 3),
        ("1.2.3", "1.2.3", "1.2.3", "## [1.2.3] - 2026-01-31", 1),
        ("v1.2", "1.2", "1.2", "## [1.2] - 2026-01-31", 1),
    ],
)
def test_a_tag_is_released_only_if_all_agree(
    tmp_path: Path, tag: str, version: str, extension: str, heading: str, faults: int
) -> None:
    files = {
        "engine/palimpsest_engine/__init__.py": f'"""Engine."""\n\n__version__ = "{version}"\n',
        "editors/vscode/package.json": json.dumps({"version": extension}),
        "CHANGELOG.md": f"# Changelog\n\n{heading}\n",
        "pyproject.toml": 'Repository = "https://github.com/someone/palimpsest"\n',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    assert len(_tag_faults(tag, tmp_path)) == faults
    (tmp_path / "pyproject.toml").write_text('Repository = "https://github.com/OWNER/palimpsest"\n', "utf-8")
    without_address = 1 if re.fullmatch(r"v\d+\.\d+\.\d+(rc1)?", tag) else 0  # else the tag alone is refused
    assert len(_tag_faults(tag, tmp_path)) == faults + without_address
    package = json.dumps({"version": extension, "homepage": "https://github.com/OWNER/palimpsest"})
    (tmp_path / "editors/vscode/package.json").write_text(package, "utf-8")
    assert len(_tag_faults(tag, tmp_path)) == faults + 2 * without_address


def test_the_tag_is_compared_with_what_this_repository_says() -> None:
    assert _tag_faults("v999.0.0", ROOT), "no place was read"
