"""The folder that a document lies in, and the globs that cover it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_server.documents import folders
from palimpsest_server.documents.folders import covering, innermost, of_document
from palimpsest_server.documents.uris import path_of

NAMES = st.lists(st.sampled_from(["a", "b", "ab", "a.b"]), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("glob", "path", "covers"),
    [
        ("/code/secret", "/code/secret/deep/a.py", True),
        ("/code/secret/", "/code/secret/a.py", True),
        ("/code/secret", "/code/secrets/a.py", False),
        ("/code/secret", "/home/code/secret/a.py", False),
        ("vendor", "/code/x/vendor/lib/a.py", True),
        ("vendor", "/code/x/vendored/a.py", False),
        ("build/generated", "/x/build/generated/a.py", True),
        ("build/generated", "/x/build/src/generated/a.py", False),
        ("/code/*/secret", "/code/x/secret/a.py", True),
        ("/code/*/secret", "/code/x/y/secret/a.py", False),
        ("/code/**/secret", "/code/x/y/secret/a.py", True),
        ("/code/**/secret", "/code/secret/a.py", True),
        ("**/**/secret", "/code/secret/a.py", True),
        ("*.egg-info", "/code/x.egg-info/a.py", True),
        ("[ab]?", "/code/bz/a.py", True),
        ("/", "/a.py", True),
        ("~nobody-of-this-name/x", "/a.py", False),
    ],
)
def test_a_glob_covers_a_folder_and_all_that_is_in_it(glob, path, covers):
    assert covering([glob], Path(path)) == (glob if covers else "")


def test_a_glob_may_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert covering(["other", "~/secret"], Path("/home/me/secret/a.py")) == "~/secret"
    assert covering(["~/secret"], Path("/home/you/secret/a.py")) == ""


HERE = (Path("/code/my [app]"), Path("/code/lib"))


@pytest.mark.parametrize(
    ("glob", "path", "covers"),
    [
        ("file:///code/secret", "/code/secret/a.py", True),
        ("file:///code/my%20secret/", "/code/my secret/a.py", True),
        ("file:///code/secret", "/code/x/secret/a.py", False),
        ("${workspaceFolder}", "/code/my [app]/a.py", True),
        ("${workspaceFolder}/private", "/code/lib/private/a.py", True),
        ("${workspaceFolder}/private", "/code/my [app]/private/a.py", True),
        ("${workspaceFolder}/private", "/code/my a/private/a.py", False),
        ("${workspaceFolder}/private", "/else/private/a.py", False),
        ("${workspaceFolder}/**/x", "/code/lib/b/c/x/a.py", True),
        ("${workspaceFolder:lib}/private", "/code/lib/private/a.py", True),
        ("${workspaceFolder:lib}/private", "/code/my [app]/private/a.py", False),
        ("${workspaceRoot}/private", "/code/lib/private/a.py", True),
        ("${userHome}/x", "/home/me/x/a.py", True),
        ("${env:PLACE}/x", "/some/place/x/a.py", True),
        ("${env:PLACE_THAT_IS_NOT}/x", "/x/a.py", False),
        ("${nothing}/x", "/x/a.py", False),
        ("/code/./lib/../lib/private", "/code/lib/private/a.py", True),
        ("untitled:x", "/x", False),
    ],
)
def test_a_folder_may_be_a_uri_or_begin_with_a_variable(monkeypatch, glob, path, covers):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLACE", "/some/place")
    folders._spelled.cache_clear()
    assert covering([glob], Path(path), HERE) == (glob if covers else "")


def test_a_document_without_a_path_is_covered_by_nothing():
    assert covering(["/", "**"], None) == ""


@given(names=NAMES, at=st.integers(0, 6))
def test_every_folder_above_covers_a_path(names, at):
    folder = "/" + "/".join(names[:at])
    assert covering([folder], Path("/", *names)) == folder


@given(names=NAMES, glob=st.lists(st.sampled_from(["**", "a", "b", "*", "ab"]), min_size=1, max_size=5))
def test_globs_match_as_a_search_of_all_ways_does(names, glob):
    def fits(pattern, parts):
        if not pattern:
            return True
        if pattern[0] == "**":
            return any(fits(pattern[1:], parts[at:]) for at in range(len(parts) + 1))
        return bool(parts) and pattern[0] in (parts[0], "*") and fits(pattern[1:], parts[1:])

    text = "/" + "/".join(glob)
    assert bool(covering([text], Path("/", *names))) == fits(glob, names)


def test_no_glob_costs_much():
    assert covering(["/" + "**/a/" * 200 + "b"], Path("/" + "a/" * 300)) == ""


FOLDERS = {"file:///code": 1, "file:///code/x%20y/": 2, "untitled:z": 3}


@pytest.mark.parametrize(
    ("uri", "folder", "value"),
    [
        ("file:///code/a.py", "file:///code", 1),
        ("file:///code/x%20y/deep/a.py", "file:///code/x%20y/", 2),
        ("file:///code/x%20yz/a.py", "file:///code", 1),
        ("file:///codeshop/a.py", "", 0),
        ("untitled:Untitled-1", "", 0),
        ("vscode-notebook-cell:/code/a.ipynb#c1", "file:///code", 1),
    ],
)
def test_the_innermost_folder_holds(uri, folder, value):
    assert innermost(path_of(uri), FOLDERS) == folder
    assert of_document(path_of(uri), FOLDERS, 0) == value
