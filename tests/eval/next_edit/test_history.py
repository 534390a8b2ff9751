"""Commits of a tiny repository: which files are read, in which states they are asked about, and what is counted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from palimpsest_engine import Span
from palimpsest_engine.changes import Certainty, NextEdit, NextEditQuestion
from palimpsest_engine.errors import DataError
from palimpsest_eval.next_edit.history import Edited, edited, head
from palimpsest_eval.next_edit.replaying import by_eagerness, by_kind, replayed, states
from palimpsest_server.cli import main

BEFORE = "width = 4\nprint(1)\nprint(width)\n"
AFTER = "size = 4\nprint(1)\nprint(size)\n"
FILE = Edited("c", "a.py", BEFORE, AFTER)


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "-q")
    files = {
        "a.py": BEFORE,
        "größe.py": "x = 1\n",
        "dos.py": "x = 1\r\n",
        "a.txt": "1\n",
        "new.py": None,
        "b.py": "\udcff",
    }
    for now in (
        files,
        {"a.py": AFTER, "größe.py": "x = 2\n", "dos.py": "x = 2\r\n", "a.txt": "2\n", "new.py": "", "b.py": "1"},
    ):
        for name, text in now.items():
            if text is not None:
                (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "change")
    return folder


def test_texts_of_changed_files_are_read(repository: Path) -> None:
    found = {each.path: (each.before, each.after) for each in edited(repository, frozenset({".py"}))}
    assert found == {"a.py": (BEFORE, AFTER), "größe.py": ("x = 1\n", "x = 2\n")}
    assert {each.commit for each in edited(repository, frozenset({".py"}), 1)} == {head(repository)}


def test_a_folder_that_is_no_repository_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="git log"):
        list(edited(tmp_path, frozenset({".py"})))


@pytest.mark.parametrize(
    ("upwards", "texts"),
    [(False, ["size = 4\nprint(1)\nprint(width)\n", AFTER]), (True, ["width = 4\nprint(1)\nprint(size)\n", AFTER])],
)
def test_changes_are_made_one_after_the_other(upwards: bool, texts: list[str]) -> None:
    found = states(FILE, upwards=upwards)
    assert [each.text for each in found] == texts
    assert [each.remaining for each in found] == [1, 0]
    for state in found:
        assert all(state.text.startswith(each.after, each.start or 0) for each in state.changes)


def test_a_file_with_many_changes_is_left_out() -> None:
    many = "".join(f"was {number}\n\n" for number in range(13))
    assert not states(Edited("c", "a.py", many, many.replace("was", "now")))


@pytest.mark.parametrize(
    ("start", "end", "text", "right", "gone"),
    [
        pytest.param(24, 29, "size", True, True, id="as the commit made it"),
        pytest.param(24, 29, "height", False, True, id="the word went another way"),
        pytest.param(9, 17, "", False, False, id="a line that stayed is removed"),
        pytest.param(15, 16, "2", False, False, id="a line that stayed is changed"),
        pytest.param(9, 9, "print(1)\n", False, False, id="a line once more than the commit has it"),
    ],
)
def test_an_edit_is_right_if_its_line_stands_after_the_commit(
    start: int, end: int, text: str, right: bool, gone: bool
) -> None:
    def propose(question: NextEditQuestion) -> tuple[NextEdit, ...]:
        return (NextEdit("a.py", Span(start, end), text, "rename", "", "sure"),)

    row = next(replayed([FILE], propose, 30))
    assert [(each.right, each.gone) for each in row.offered] == [(right, gone)]


def test_an_edit_that_was_refused_is_not_counted_again() -> None:
    def propose(question: NextEditQuestion) -> tuple[NextEdit, ...]:
        at = question.documents[0].text.index("1")
        certainties: tuple[Certainty, ...] = ("likely", "possible")
        return tuple(NextEdit("a.py", Span(at, at + 1), each, "sibling", "", each) for each in certainties)

    rows = list(replayed([FILE], propose, 30))
    assert [len(row.offered) for row in rows] == [2, 0, 2, 0]
    counts = by_eagerness(rows)
    assert [(counts[each].shown, counts[each].last, counts[each].silent) for each in counts] == [
        (0, 2, 2),
        (2, 2, 2),
        (2, 2, 2),
    ]
    assert list(by_kind(rows)) == [("sibling", "likely"), ("sibling", "possible")]


def test_a_command_replays_a_repository(repository: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    how = ["--history", str(repository), "--limit", "1", "--budget", "60000"]  # so long a machine may be busy
    result = CliRunner().invoke(main, ["eval", "next-edit", *how, "--out", str(out)], catch_exceptions=False)
    assert "| rename, sure | 1 | 100.0" in result.output
    found = json.loads(out.read_text("utf-8"))
    assert found["settings"]["history"] == {"name": "shop", "head": head(repository), "commits": 1}
    assert found["history"]["by_eagerness"]["low"] | {"shown": 1, "right": 1} == found["history"]["by_eagerness"]["low"]
