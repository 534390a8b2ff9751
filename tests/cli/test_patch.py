"""`git apply` takes the printed diff, wherever the file lies and whatever its name is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from palimpsest_server.cli import patch

from .conftest import Palimpsest

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

ALONE = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def applied(diff: bytes, folder: Path) -> None:
    run = subprocess.run(["git", "apply", "-"], input=diff, cwd=folder, capture_output=True, check=False, env=ALONE)
    assert run.returncode == 0, (run.stderr, diff)


def filled(palimpsest: Palimpsest, path: str) -> bytes:
    palimpsest.script = ["2"]
    result = palimpsest("fill", path, "--at", "1:5")
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True, env=ALONE)
    for name in ("b.py", "sub/c.py"):
        (folder / name).write_text("x = \n")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("start", ["", "sub"])
@pytest.mark.parametrize("apply_in", ["", "sub"])
@pytest.mark.parametrize(
    "spelling",
    [
        "sub/c.py",
        "./sub/c.py",
        "sub/../sub/c.py",
        "{tree}/sub/c.py",
        "{tree}/../tree/./sub//c.py",
        "link/c.py",
        "link.py",
    ],
)
def test_in_a_repository_by_any_spelling_and_from_any_folder(
    palimpsest: Palimpsest, tree: Path, monkeypatch: pytest.MonkeyPatch, spelling: str, start: str, apply_in: str
) -> None:
    (tree / "link").symlink_to("sub")
    (tree / "link.py").symlink_to("sub/c.py")
    monkeypatch.chdir(tree / start)
    up = "../" if start and not spelling.startswith("{") else ""
    applied(filled(palimpsest, up + spelling.format(tree=tree)), tree / apply_in)
    assert (tree / "sub" / "c.py").read_text() == "x = 2\n"


def test_outside_of_a_repository_from_the_working_directory(
    palimpsest: Palimpsest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    for spelling in ("sub/a.py", "./sub/a.py", f"{tmp_path}/sub/a.py"):
        (tmp_path / "sub" / "a.py").write_text("x = \n")
        applied(filled(palimpsest, spelling), tmp_path)
        assert (tmp_path / "sub" / "a.py").read_text() == "x = 2\n"


def test_a_file_of_neither_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert patch.name_of("../there/a.py") == f"{os.path.realpath(tmp_path)}/there/a.py".lstrip("/")


NAMES = [
    *("a b.py", " a.py", "a .py ", "a\tb.py", "a\nb.py", 'a"b".py', "a\\b.py", "a\x01b\x7f.py", "é😀.py", 'é"😀.py'),
    *(
        "a 2020-01-01 10:00:00.000000000 +0100",
        "a\t2020-01-01",
        '"a".py',
        "-a.py",
        "a'b.py",
        "dev/null.py",
        "{}.py",
        "%.py",
    ),
    *(os.fsdecode(b"a\xff.py"), os.fsdecode(b"\xe9 \xc3\xa9.py")),
]


@pytest.mark.skipif(os.name == "nt", reason="there are no such names")
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name(palimpsest: Palimpsest, tree: Path, name: str) -> None:
    path = tree / "sub" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x = \n")
    applied(filled(palimpsest, str(path)), tree)
    assert path.read_text() == "x = 2\n"
