"""Paths and folders as Windows and macOS spell them, computed here with their rules."""

import ntpath
import sys
from pathlib import Path, PureWindowsPath

import pytest

from palimpsest_server.context import gitignore
from palimpsest_server.documents import folders
from palimpsest_server.documents.uris import path_of, spelled_alike

COMPOSED, APART = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr("pygls.uris.IS_WIN", True)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(folders.os, "path", ntpath)
    clear_caches()
    yield
    clear_caches()


@pytest.fixture
def macos(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    clear_caches()
    yield
    clear_caches()


def clear_caches():
    for cached in (path_of, folders._pattern, folders._spelled):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///c%3A/My%20Code/a.py", r"c:\My Code\a.py"),  # VS Code
        ("file:///C:/My%20Code/a.py", r"c:\My Code\a.py"),  # Neovim
        ("file://localhost/C:/a.py", r"c:\a.py"),
        ("file://server/share/a%23b.py", r"\\server\share\a#b.py"),
        ("file:////server/share/a.py", r"\\server\share\a.py"),
        ("vscode-notebook-cell:/c%3A/n.ipynb#W0", r"c:\n.ipynb"),
    ],
)
def test_a_uri_becomes_a_path_of_windows(windows, uri, path):
    found = PureWindowsPath(str(path_of(uri)))
    assert str(found) == path
    assert found.is_absolute()


def test_localhost_is_no_folder():
    assert path_of("file://localhost/code/a.py") == path_of("file://LocalHost/code/a.py") == Path("/code/a.py")


def test_the_case_of_a_host_means_nothing_and_that_of_a_folder_does():
    assert spelled_alike("file://Server/share/a.py") == spelled_alike(r"\\SERVER\share\a.py")
    assert spelled_alike("file://server/Share/a.py") != spelled_alike("file://server/share/a.py")


@pytest.mark.parametrize(
    ("glob", "path", "covers"),
    [
        (r"C:\Code\Secret", r"c:\code\secret\a.py", True),
        ("c:/code/secret", r"C:\Code\Secret\deep\a.py", True),
        ("file:///c%3A/Code/secret", r"C:\Code\Secret\a.py", True),
        (r"C:\Code\Secret", r"D:\Code\Secret\a.py", False),
        (r"\\server\share\private", r"\\Server\Share\private\a.py", True),
        ("vendor", r"C:\x\Vendor\a.py", True),
        ("build/generated", r"C:\x\build\generated\a.py", True),
        (r"C:\Code\secret", r"C:\Code\secrets\a.py", False),
    ],
)
def test_a_glob_covers_a_folder_of_windows_however_it_is_spelled(windows, glob, path, covers):
    assert folders.covering([glob], PureWindowsPath(path)) == (glob if covers else "")


def test_the_folder_of_a_workspace_is_found_for_both_spellings_of_its_drive(windows):
    inner, outer = "file:///c%3A/Code/lib", "file:///C:/code"
    assert folders.innermost(PureWindowsPath(r"C:\code\LIB\a.py"), [outer, inner]) == inner
    assert folders.innermost(PureWindowsPath(r"c:\Code\a.py"), [outer, inner]) == outer


@pytest.mark.parametrize("glob", [f"/code/{COMPOSED}", f"/code/{APART}", COMPOSED, f"file:///code/{APART}"])
@pytest.mark.parametrize("name", [COMPOSED, APART])
def test_a_glob_covers_a_folder_however_its_letters_are_composed(glob, name):
    assert folders.covering([glob], Path(f"/code/{name}/a.py")) == glob


def test_case_means_nothing_to_a_glob_on_macos_and_something_on_linux(monkeypatch, macos):
    assert folders.covering(["/Code/Secret"], Path("/code/secret/a.py")) == "/Code/Secret"
    monkeypatch.setattr(sys, "platform", "linux")
    clear_caches()
    assert folders.covering(["/Code/Secret"], Path("/code/secret/a.py")) == ""


def test_git_ignores_a_file_on_macos_however_its_letters_are_composed(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text(f"{COMPOSED}.py\n", "utf-8")
    path = tmp_path / f"{APART}.py"
    assert gitignore.GitIgnore((tmp_path,)).ignorer(path) == ""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert gitignore.GitIgnore((tmp_path,)).ignorer(path) == ".gitignore"
