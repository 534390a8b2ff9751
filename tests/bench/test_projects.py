"""Lines of real projects as cases: `python -m palimpsest_bench.projects`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from palimpsest_bench import projects
from palimpsest_engine.errors import DataError

ENGINE = Path(__file__).parents[2] / "engine"
BODY = "".join(f"def area_{at}(width, height):\n    return width * height + {at}\n\n\n" for at in range(20))


@pytest.fixture
def folder(tmp_path):
    for name in ("shop/area.py", "shop/prices.py", "shop/stock.py", "shop/tests/test_area.py", "other/one.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\nimport os\n{BODY}", "utf-8")
    (tmp_path / "shop" / "broken.py").write_bytes(b"\xff\n" * 100)
    (tmp_path / "shop" / "notes.txt").write_text("a line\n" * 100, "utf-8")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_each_case_is_a_line_of_a_file_or_its_rest(folder):
    found = projects.cases(folder, 15)
    assert [each.file.partition("/")[0] for each in found] == ["other"] * 15 + ["shop"] * 15
    for case in found:
        whole = f"# {case.file}\nimport os\n{BODY}"
        assert case.text[: case.offset] + case.expected + case.text[case.offset :] == whole
        assert case.expected.startswith(("def", "return")) or case.text[: case.offset].endswith((" ", "(", "*", "+"))
        assert "tests" not in case.file
        assert {each.rpartition("/")[0] for each in case.open} <= {case.file.rpartition("/")[0]}
        assert case.file not in case.open
        assert len(case.open) == (2 if case.file.startswith("shop") else 0)
    assert found == projects.cases(folder, 15)
    assert found != projects.cases(folder, 15, seed=8)


def test_a_folder_without_projects_is_an_error(tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "one.py").write_text("x = 1\n", "utf-8")
    with pytest.raises(DataError, match="no folder with files of more than 60 lines"):
        projects.cases(tmp_path, 1)


def test_own_code_is_filled_without_and_with_excerpts(tmp_path):
    (tmp_path / "palimpsest_engine").symlink_to(ENGINE / "palimpsest_engine" / "fill")
    done = CliRunner().invoke(projects.main, [str(tmp_path), "--places", "3", "--model", "embedded"])
    assert done.exit_code == 0, done.output
    assert "| all | 3 | " in done.output
    assert "| imports |" not in done.output


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (("--model", "nowhere"), 20, "Error: There is no model nowhere."),
        (("--places", "1"), 40, "Error: {folder} has no folder with files of more than 60 lines in a known language"),
    ],
)
def test_an_error_costs_one_sentence(tmp_path, given, code, says):
    if "--model" in given:
        (tmp_path / "fill").symlink_to(ENGINE / "palimpsest_engine" / "fill")
    done = CliRunner().invoke(projects.main, [str(tmp_path), *given])
    assert done.exit_code == code
    assert done.output.startswith(says.format(folder=tmp_path))
    assert done.output.count("\n") == 1
