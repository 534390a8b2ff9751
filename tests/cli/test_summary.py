from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from palimpsest_engine import EngineStatus, FillRequest, Span
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.cli.holes import MARKER, holes_in, without_markers
from palimpsest_server.cli.summary import Holes

from .conftest import Palimpsest

TEXT = f"def f(a):\n    return {MARKER}\n\n\ndef g(b):\n    {MARKER}\n    return b\n"


def holes_of(text: str, *script: str) -> Holes:
    asked, holes = without_markers(text, holes_in(text, "python"))
    return Holes.one_by_one(ScriptedEngine(script), FillRequest(asked, holes, language="python"))


def drawn(holes: Holes, told: EngineStatus | None = None, width: int = 80) -> list[str]:
    screen = io.StringIO()
    console = Console(file=screen, width=width)
    holes.draw(holes.together().verdict, told or EngineStatus("ready", model="m", device="cpu"), console)
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def test_each_hole_is_asked_alone_with_those_before_it_written() -> None:
    asked: list[FillRequest] = []

    class Recording(ScriptedEngine):
        def submit(self, request: FillRequest, on_draft=None):  # type: ignore[no-untyped-def]
            asked.append(request)
            return super().submit(request, on_draft)

    text, holes = without_markers(TEXT, holes_in(TEXT, "python"))
    found = Holes.one_by_one(Recording(["a", "", "b += 1"]), FillRequest(text, holes, language="python"))
    assert [len(each.holes) for each in asked] == [1, 1]
    assert asked[1].text == text.replace("return \n", "return a\n")
    assert asked[1].holes == (Span(holes[1].start + 1, holes[1].end + 1),)
    assert found.texts == ("a", "")
    assert found.lines == (2, 6)


def test_a_table_says_where_what_was_written_how_long_it_took_and_by_which_model() -> None:
    lines = drawn(holes_of(TEXT, "a", "b += 1\n    b += 2"))
    assert lines[0].split() == ["line", "written", "ms", "syntax"]
    assert lines[1].split() == ["2", "a", "0", "valid"]
    assert lines[2].split() == ["6", "b", "+=", "1", "0", "valid"]
    assert lines[3].split() == ["b", "+=", "2"]
    assert lines[3].index("b") == lines[2].index("b")  # as it stands in the document, less the indentation of the hole
    assert lines[4:] == [
        "",
        "filled   2 of 2 holes in 0.0 s",
        "syntax   valid",
        "model    m, which denoises",
        "runs on  cpu",
    ]


def test_a_model_that_writes_left_to_right_is_called_so() -> None:
    lines = drawn(holes_of(TEXT, "a"), EngineStatus("ready", model="coder", writes=True))
    assert lines[-1] == "model    coder, left to right"


def test_only_the_holes_with_the_errors_are_blamed() -> None:
    """With whole lines as holes nothing was broken before, so what is broken now is worse."""
    text = "def f(a):\n    ...\n\n\ndef g(b):\n    ...\n"
    lines = drawn(holes_of(text, "return a", "return (b"))
    assert lines[1].split()[-2:] == ["no", "worse"]
    assert lines[2].split()[-1] == "worse"
    assert lines[2].split()[-2] != "no"


def test_a_hole_that_nothing_is_offered_for_stays_and_gives_the_reason() -> None:
    holes = holes_of("def f():\n    ...\n\n\ndef g():\n    ...\n", "", "return 1")
    assert holes.texts == ("...", "return 1")
    assert not holes.together().empty
    lines = drawn(holes)
    assert "nothing: the script has nothing here" in lines[1]
    assert lines[-4] == "filled   1 of 2 holes in 0.0 s"


def test_no_fill_at_all_is_empty() -> None:
    holes = holes_of(TEXT, "")
    assert holes.together().empty
    assert holes.together().reason == "the script has nothing here"


def test_a_long_text_is_cut_in_the_table_and_a_wide_one_is_folded() -> None:
    lines = drawn(holes_of(f"{MARKER}\n", "\n".join(f"a{n} = {n}" for n in range(9))))
    assert [line.split()[0] for line in lines[1:8]] == ["1", *(f"a{n}" for n in range(1, 6)), "\u22ee"]
    assert "3 more lines" in lines[7]
    wide = drawn(holes_of(f"{MARKER}\n", f"value = '{'q' * 200}'"))
    assert all(len(line) <= 80 for line in wide)
    assert sum(line.count("q") for line in wide) == 200


@pytest.mark.parametrize("evil", ["\x1b[2J", "\a", "\x9b2J"])
def test_no_text_steers_the_terminal(evil: str) -> None:
    told = EngineStatus("ready", model=f"m{evil}", device="cpu")
    for line in drawn(holes_of(f"{MARKER}\n", f"a = '{evil}[red]'"), told):
        assert line.isprintable()
        assert "[red]" in line or "a = " not in line


@pytest.mark.parametrize("watch", [(), ("--watch",)])
def test_the_command_prints_the_table_instead_of_the_diff_and_writes(
    palimpsest: Palimpsest, tmp_path: Path, watch: tuple[str, ...]
) -> None:
    path = tmp_path / "a.py"
    path.write_text(TEXT)
    palimpsest.script = ["a", "b += 1"]
    result = palimpsest("fill", path, "--holes", "--summary", "--write", *watch)
    assert result.exit_code == 0
    assert result.stdout.startswith("line  written")
    assert "+++" not in result.stdout
    assert ("line 6: 0 decoder passes" in result.stderr) == bool(watch)
    assert path.read_text() == "def f(a):\n    return a\n\n\ndef g(b):\n    b += 1\n    return b\n"


def test_the_exit_code_without_any_fill(palimpsest: Palimpsest, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(TEXT)
    palimpsest.script = [""]
    result = palimpsest("fill", path, "--holes", "--summary")
    assert result.exit_code == 1
    assert "nothing is offered: the script has nothing here" in result.stderr
    path.write_text("a = 1\n")
    assert palimpsest("fill", path, "--holes", "--summary").exit_code == 0


def test_json_and_a_table_exclude_each_other(palimpsest: Palimpsest, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(TEXT)
    assert palimpsest("fill", path, "--holes", "--summary", "--json").exit_code == 2


def test_the_file_of_the_demo_has_five_holes() -> None:
    path = Path(__file__).parents[2] / "fixtures" / "demo" / "statement.py"
    text = path.read_text("utf-8")
    assert len(holes_in(text, "python")) == 5
    demo = path.parents[2] / "palimpsest_dev" / "commands.py"
    assert f'"fixtures/demo/{path.name}"' in demo.read_text("utf-8")
