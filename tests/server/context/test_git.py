"""Git's configuration and index are read as git itself reads them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_server.context import gitconfig, gitindex
from palimpsest_server.context.ignore import Ignore

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="git is the judge")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without any settings of git."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "system"))
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        monkeypatch.delenv(name, raising=False)
    return home


def git(folder, *arguments, check=True):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    run = subprocess.run([GIT, *who, *arguments], cwd=folder, check=check, capture_output=True)
    return run.stdout


@pytest.fixture
def tree(tmp_path, home):
    """A repository with a file in it."""
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q", ".")
    (folder / "notes.md").touch()
    return folder


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# The user's own patterns


@needs_git
@pytest.mark.parametrize(
    ("files", "environment", "by"),
    [
        ({"home/.config/git/ignore": "*.md"}, {}, "~/.config/git/ignore"),
        ({"x/git/ignore": "*.md"}, {"XDG_CONFIG_HOME": "{top}/x"}, "{top}/x/git/ignore"),
        ({"home/.gitconfig": "[core]\n excludesFile = ~/mine", "home/mine": "*.md"}, {}, "~/mine"),
        ({"home/.gitconfig": "[core]\n excludesFile = {top}/a b", "a b": "*.md"}, {}, "{top}/a b"),
        ({"home/.config/git/config": "[core]excludesfile=~/mine", "home/mine": "*.md"}, {}, "~/mine"),
        (
            {
                "home/.config/git/config": "[core]excludesfile=~/one",
                "home/.gitconfig": '[CORE]\nEXCLUDESFILE = "~/two" ; mine',
                "home/one": "*.md",
                "home/two": "*.md",
            },
            {},
            "~/two",
        ),
        ({"system": "[core]\nexcludesFile = ~/mine", "home/mine": "*.md"}, {}, "~/mine"),
        ({"system": "[core]\nexcludesFile = ~/mine", "home/mine": "*.md"}, {"GIT_CONFIG_NOSYSTEM": "1"}, ""),
        ({"conf": "[core]\nexcludesFile = ~/mine", "home/mine": "*.md"}, {"GIT_CONFIG_GLOBAL": "{top}/conf"}, "~/mine"),
        (
            {
                "home/.gitconfig": "[include]\npath = more/conf",
                "home/more/conf": "[core]\nexcludesFile=~/m",
                "home/m": "*",
            },
            {},
            "~/m",
        ),
        (
            {
                "home/.gitconfig": '[includeIf "gitdir:{top}/tree/"]\npath = c',
                "home/c": "[core]\nexcludesFile=~/m",
                "home/m": "*",
            },
            {},
            "~/m",
        ),
        (
            {
                "home/.gitconfig": '[includeIf "gitdir/i:TREE/"]\npath = c',
                "home/c": "[core]\nexcludesFile=~/m",
                "home/m": "*",
            },
            {},
            "~/m",
        ),
        (
            {
                "home/.gitconfig": '[includeIf "gitdir:~/code/"]\npath = c',
                "home/c": "[core]\nexcludesFile=~/m",
                "home/m": "*",
            },
            {},
            "",
        ),
        ({"home/.gitconfig": "[include]\npath = .gitconfig\n[core]\nexcludesFile=~/m", "home/m": "*.md"}, {}, "~/m"),
        ({"home/.gitconfig": "[core]\nexcludesFile=", "home/.config/git/ignore": "*.md"}, {}, ""),
        ({"home/.config/git/ignore": "*.md", "tree/.git/info/exclude": "!*.md"}, {}, ""),
        ({"home/.config/git/ignore": "*.md", "tree/.git/info/exclude": "n*"}, {}, ".git/info/exclude"),
        ({"home/.config/git/ignore": "*.md", "tree/.gitignore": "!n*"}, {}, ""),
    ],
)
def test_the_users_own_patterns_count(tmp_path, tree, monkeypatch, files, environment, by):
    for name, text in files.items():
        write(tmp_path / name, text.replace("{top}", str(tmp_path)))
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(top=tmp_path))
    path = tree / "notes.md"
    named = by.format(top=tmp_path)
    includes_itself = "path = .gitconfig" in str(files)  # git gives such a file up
    told = git(tree, "check-ignore", "-v", "notes.md", check=False).decode().rpartition("\t")[0]
    if not includes_itself:
        assert told.startswith(os.path.expanduser(named))
        assert bool(told and "!" not in told) == bool(by)
    assert Ignore([tree]).reason(path) == (f"it is ignored by {named}" if by else "")


def test_a_pipe_in_the_place_of_a_file_is_not_read(tmp_path, home):
    (tmp_path / "tree" / ".git").mkdir(parents=True)
    os.mkfifo(home / "pipe")
    write(home / ".gitconfig", "[core]\nexcludesFile = ~/pipe\n[include]\npath = ~/pipe")
    (home / ".config").mkdir()
    os.mkfifo(tmp_path / "tree" / ".git" / "index")
    write(tmp_path / "tree" / ".gitignore", "*.md")
    assert Ignore([tmp_path / "tree"]).reason(tmp_path / "tree" / "a.py") == ""
    assert Ignore([tmp_path / "tree"]).reason(tmp_path / "tree" / "a.md") == "it is ignored by .gitignore"


CONFIGS = [
    "[a]\nb = c\n",
    "[a] b = c\n[d]e=f",
    '[a "Sub.Section\\"x\\\\"]\nKey = Value with blanks  \n',
    '[A.b]\n\tc = d # no\n\te = "# yes" ; no\n',
    '[a]\nb = one\\\n two\\\n   three\nc = x\\ty\\nz\\"q\\\\\n',
    '[a]\nb = "  kept  "  gone  \nc = a "b" c\n',
    "# only\n; comments\n[a]\n\nb=\nc = 1\n",
    "\ufeff[a]\r\nb = c\r\n",
    "[a]\nb-c = 1\nB-C = 2\n[a]\nd = \\b\n",
    "[core]\nexcludesFile = ~/.gitignore_global\n",
]


@needs_git
@pytest.mark.parametrize("text", CONFIGS)
def test_git_reads_the_same_settings(tmp_path, text):
    file = tmp_path / "config"
    file.write_bytes(text.encode())
    told = git(tmp_path, "config", "-f", str(file), "-z", "--list").decode().split("\0")[:-1]
    assert list(gitconfig.parsed(file.read_bytes())) == [tuple(each.split("\n", 1)) for each in told]


@given(st.text(st.sampled_from('[]"\\#;=ab \n\t.~'), max_size=60).map(str.encode) | st.binary(max_size=60))
def test_any_settings_are_read_to_an_end(content):
    for key, value in gitconfig.parsed(content):
        assert "." in key
        assert isinstance(value, str)


# Tracked files


def indexed(tree, *ways, hash_size=20):
    """Add some files, ignored ones among them, and return what git says is tracked."""
    write(tree / ".gitignore", "*.log\nbuild/\n")
    draw = random.Random(len(ways))
    for number in range(60):
        name = "/".join(draw.choice(["a", "build", "über", "x" * 70]) for _ in range(draw.randint(0, 3)))
        write(tree / name / f"{number}.{draw.choice(['log', 'py'])}", "")
    files = sorted(path for path in tree.rglob("*.*") if path.is_file() and ".git/" not in str(path))
    for way in ways[:-1]:
        git(tree, *way.split())
    git(tree, "add", "-f", *map(str, files[::2]))
    git(tree, *ways[-1].split())
    write(tree / "later.log", "")
    git(tree, "add", "-f", "later.log")
    return files, {tree / os.fsdecode(each) for each in git(tree, "ls-files", "-z").split(b"\0") if each}


@needs_git
@pytest.mark.parametrize(
    "ways",
    [
        ("status",),
        ("update-index --index-version=2", "status"),
        ("update-index --index-version=4", "status"),
        ("status", "update-index --split-index"),
        ("update-index --index-version=4", "update-index --split-index"),
        ("status", "add -f -N ."),
    ],
)
def test_a_tracked_file_is_not_ignored(tree, ways):
    files, tracked = indexed(tree, *ways)
    ignore = Ignore([tree])
    hidden = {path for path in files if path.suffix == ".log" or "build" in path.parts}
    assert hidden & tracked
    assert {path for path in files if ignore.reason(path)} == hidden - tracked
    late = write(tree / "last.log", "")
    assert ignore.reason(late) == "it is ignored by .gitignore"
    git(tree, "add", "-f", "last.log")
    assert ignore.reason(late) == ""


@needs_git
def test_an_index_of_longer_hashes_is_read(tmp_path, home):
    folder = tmp_path / "tree"
    folder.mkdir()
    git(folder, "init", "-q", "--object-format=sha256", ".")
    files, tracked = indexed(folder, "update-index --split-index")
    assert gitindex.parsed((folder / ".git" / "index").read_bytes(), 32).base
    ignore = Ignore([folder])
    assert not any(ignore.reason(path) for path in tracked)
    assert any(ignore.reason(path) for path in files)


@needs_git
def test_a_worktree_has_an_index_of_its_own(tmp_path, tree):
    git(tree, "commit", "-q", "--allow-empty", "-m", "a")
    other = tmp_path / "other"
    git(tree, "worktree", "add", "-q", str(other))
    for folder in (tree, other):
        write(folder / ".gitignore", "*.md")
        write(folder / "notes.md", "")
    git(other, "add", "-f", "notes.md")
    assert Ignore([tree]).reason(tree / "notes.md") == "it is ignored by .gitignore"
    assert Ignore([other]).reason(other / "notes.md") == ""


@needs_git
@pytest.mark.parametrize(
    "spoil", [b"", b"DIRC", b"DIRC\0\0\0\x05\0\0\0\1", b"DIRC\0\0\0\2\xff\xff\xff\xff", b"x" * 500]
)
def test_an_index_that_cannot_be_read_tracks_nothing(tree, spoil):
    write(tree / ".gitignore", "*.md")
    (tree / ".git" / "index").write_bytes(spoil)
    assert Ignore([tree]).reason(tree / "notes.md") == "it is ignored by .gitignore"


@given(st.binary(max_size=300), st.sampled_from([2, 3, 4]), st.integers(0, 3))
def test_any_index_is_read_to_an_end(content, version, count):
    data = b"DIRC" + version.to_bytes(4) + count.to_bytes(4) + content
    with suppress(ValueError):
        gitindex.parsed(data)


def test_names_that_grow_without_end_are_refused():
    entry = bytes(40 + 20 + 2) + b"\0" + b"a" * 100 + b"\0"
    with pytest.raises(ValueError, match="too long"):
        gitindex.parsed(b"DIRC" + (4).to_bytes(4) + (100_000).to_bytes(4) + entry * 100)
