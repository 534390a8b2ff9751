"""The pages agree with the code: options, exit codes, JSON, the map of the modules, links, named files."""

from __future__ import annotations

import inspect
import json
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import click
import jsonschema
import pytest

import palimpsest_canvas
import palimpsest_engine
import palimpsest_server
from palimpsest_canvas.cli import command as canvas
from palimpsest_engine import EngineStatus, PalimpsestError, errors
from palimpsest_engine.checkpoint import catalogue
from palimpsest_server.cli import main, report
from palimpsest_server.cli.models_table import Row
from palimpsest_server.session.jobs import Jobs
from palimpsest_server.status.board import Board

DOCS = Path(__file__).parents[2] / "docs"
FILL, SCHEMA = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", (DOCS / "json.md").read_text(), re.S)][
    :2
]
STATUS = Board(lambda: EngineStatus("ready"), bool, jobs=Jobs().counters).status()


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


@pytest.mark.parametrize(
    ("name", "page"),
    [("fill", "cli"), ("serve", "cli"), ("bench", "cli"), ("context", "context"), ("tune", "cli"), ("api", "api")],
)
def test_every_option_is_explained(name: str, page: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    text = (DOCS / f"{page}.md").read_text()
    # Those of all commands that choose an engine are explained once, in cli.md.
    text += (DOCS / "cli.md").read_text()
    assert [
        option for each in command.params for option in each.opts if option.startswith("--") and option not in text
    ] == []


def test_every_option_of_eval_is_explained() -> None:
    group = main.get_command(click.Context(main), "eval")
    assert isinstance(group, click.Group)
    text = (DOCS / "cli.md").read_text()
    names = {
        name for each in group.commands.values() for param in each.params for name in param.opts + param.secondary_opts
    }
    assert {name for name in names - {"--plots"} if name.startswith("--") and f"`{name}" not in text} == set()
    assert [name for name in group.commands if f"`{name}`" not in text and f"eval {name}`" not in text] == []


def test_every_command_and_option_of_the_canvas_is_explained() -> None:
    text = (DOCS / "canvas.md").read_text() + (DOCS / "cli.md").read_text()
    options = {
        name for each in canvas.commands.values() for param in each.params for name in param.opts + param.secondary_opts
    }
    assert {name for name in options if name.startswith("-") and name not in text} == set()
    assert [name for name in canvas.commands if f"`{name}`" not in text] == []


def test_every_command_and_option_of_models_is_explained() -> None:
    group = main.get_command(click.Context(main), "models")
    assert isinstance(group, click.Group)
    text = (DOCS / "models.md").read_text()
    options = {name for each in group.commands.values() for param in each.params for name in param.opts}
    assert {
        name for name in options if name.startswith("--") and name not in text + (DOCS / "json.md").read_text()
    } == set()
    assert [name for name in group.commands if f"palimpsest models {name}" not in text] == []


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda each: each.name)
def test_the_table_of_models_is_that_of_the_catalogue(entry: catalogue.Entry) -> None:
    size, ram, vram = (catalogue.size_text(each) for each in (entry.size, entry.ram, entry.vram))
    licence = entry.licence or catalogue.UNKNOWN
    row = f"| `{entry.name}` | {entry.repository} | {size} | {licence} | {ram} / {vram} | {entry.quality} |"
    assert row in (DOCS / "models.md").read_text().splitlines()


@pytest.mark.parametrize("key", Row("x", "installed", False).as_json())
def test_every_key_of_a_model_is_explained(key: str) -> None:
    assert any(f"`{key}`" in line for line in (DOCS / "json.md").read_text().splitlines() if line.startswith("| "))


@pytest.mark.parametrize("package", [palimpsest_engine, palimpsest_server, palimpsest_canvas])
def test_every_room_and_every_module_outside_of_one_is_on_the_map(package: ModuleType) -> None:
    page = (DOCS.parent / "ARCHITECTURE.md").read_text()
    parts = [
        f"{module.name}/" if module.ispkg else f"{module.name}.py" for module in pkgutil.iter_modules(package.__path__)
    ]
    assert [part for part in parts if f"`{part}`" not in page] == []


@pytest.mark.parametrize("field", [*STATUS, *STATUS["counters"]])
def test_every_field_of_the_status_is_explained(field: str) -> None:
    assert f"| `{field}` |" in (DOCS / "protocol.md").read_text()


PAGES = [
    page
    for pattern in ("*.md", "docs/*.md", "docs/adr/*.md", "editors/*.md", "editors/*/*.md")
    for page in sorted(DOCS.parent.glob(pattern))
]


def test_every_decision_is_in_the_index_under_its_title() -> None:
    pages = sorted(page for page in DOCS.glob("adr/*.md") if page.name != "README.md")
    titles = [page.read_text().splitlines()[0].removeprefix("# ").split(". ", 1) for page in pages]
    expected = [f"{number}. [{title}]({page.name})" for page, (number, title) in zip(pages, titles, strict=True)]
    index = (DOCS / "adr" / "README.md").read_text().splitlines()
    assert [line for line in index if line[:1].isdigit()] == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """Paths with a folder are found from the repository's root, or from a package's folder."""
    root = DOCS.parent
    bases = [
        root,
        root / "engine",
        root / "server",
        root / "engine/palimpsest_engine",
        root / "server/palimpsest_server",
        root / "tests",
    ]
    named = re.findall(r"`((?:\w+/)+[a-z_]\w*\.(?:py|toml))`", page.read_text())
    assert [path for path in named if not any((base / path).exists() for base in bases)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_another_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#([^)]+))?\)", page.read_text())
    assert [target for target, _ in links if not (page.parent / target).exists()] == []
    anchors = [(page.parent / target, anchor) for target, anchor in links if anchor and target.endswith(".md")]
    assert [f"{target.name}#{anchor}" for target, anchor in anchors if anchor not in _anchors(target)] == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
