"""The pages about the command line say what is so."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import click
import jsonschema
import pytest

from palimpsest_engine import PalimpsestError, errors
from palimpsest_server.cli import main, report

DOCS = Path(__file__).parents[2] / "docs"
FILL, SCHEMA = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", (DOCS / "json.md").read_text(), re.S)][
    :2
]


def test_the_schema_on_the_page_is_the_schema() -> None:
    assert SCHEMA == report.SCHEMA


def test_the_example_follows_it() -> None:
    jsonschema.validate(FILL, report.SCHEMA)


@pytest.mark.parametrize("key", report.SCHEMA["properties"])
def test_every_key_is_required_and_explained(key: str) -> None:
    assert key in report.SCHEMA["required"]
    assert f"| `{key}` |" in (DOCS / "json.md").read_text()


def test_every_exit_code_is_listed() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", (DOCS / "cli.md").read_text(), re.M)}
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PalimpsestError)]
    assert {kind.exit_code for kind in kinds} | {0, 2, 70} == listed


def test_every_option_of_fill_is_explained() -> None:
    command = main.get_command(click.Context(main), "fill")
    assert command is not None
    page = (DOCS / "cli.md").read_text()
    assert [
        option for each in command.params for option in each.opts if option.startswith("--") and option not in page
    ] == []
