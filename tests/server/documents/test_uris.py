"""Paths and names of URIs, and their spellings."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from palimpsest_server.documents.store import Documents
from palimpsest_server.documents.uris import name_of, path_of, spelled_alike

ALIKE = [
    [
        "file:///c:/My%20Code/a.py",
        "file:///C:/My%20Code/a.py",
        "file:///c%3A/My%20Code/a.py",
        "file:///C%3a/My Code/a.py",
        "file:/c:/My%20Code/a.py",
        "FILE:///c:/My%20Code/a%2Epy",
        "file://localhost/c:/My%20Code/a.py",
        "file:///c:/My%20Code//./x/../a.py",
        "file:c:/My%20Code/a.py",
        "C:\\My Code\\a.py",
    ],
    [
        "file:///code/%C3%A9.py",
        "file:///code/e%CC%81.py",
        "file:///code/\u00e9.py",
        "file:///code/e\u0301.py",
        "/code/\u00e9.py",
    ],
    ["file:///a%23b.py", "file:///a#b.py"],
    ["untitled:Untitled-1", "UNTITLED:Untitled%2D1"],
    ["vscode-vfs://github/a/b%2Bc.py", "vscode-vfs://github/a/b+c.py"],
]
DIFFERENT = [
    *("file:///code/a.py", "file:///code/A.py", "file:///Code/a.py", "file:///d:/code/a.py", "file://host/code/a.py"),
    *("untitled:/code/a.py", "vscode-notebook-cell:/code/a.ipynb#W0", "vscode-notebook-cell:/code/a.ipynb#W1", "", ":"),
    *("file:///a%2525", "file:///a%25", "file:///%FF", "file:///%FE", "git:/code/a.py?x", "http://["),
]


def opened(*uris):
    documents = Documents()
    for uri in uris:
        documents.open(types.TextDocumentItem(uri, "python", 1, uri))
    return documents


@pytest.mark.parametrize("uris", ALIKE)
def test_a_document_is_found_by_every_spelling_of_its_uri(uris):
    for uri in uris:
        documents = opened(uri, *DIFFERENT)
        assert {documents.snapshot(each).uri for each in uris} == {uri}
        for number, each in enumerate(uris, 2):
            documents.change(each, number, [types.TextDocumentContentChangeWholeDocument(f"{number}")])
            assert documents.snapshot(uri).text == f"{number}"


def test_different_documents_stay_apart():
    names = {spelled_alike(uri) for uri in DIFFERENT}
    assert len(names) == len(DIFFERENT)
    documents = opened(*DIFFERENT)
    assert [documents.snapshot(uri).text for uri in DIFFERENT] == DIFFERENT


def test_a_document_that_is_not_open_is_called_by_those_that_it_resembles():
    one, other = "file:///c:/a.py", "file:///C:/a.py"
    assert opened().why_not_open(one) == "the document is not open"
    assert opened("file:///b.py").why_not_open(one) == "the document is not open"
    assert opened("file:///C:/A.py").why_not_open(one) == "the document is not open; file:///C:/A.py is"
    both = opened(one, other)
    assert both.snapshot("file:///c%3A/a.py") is None
    assert both.why_not_open("file:///c%3A/a.py") == f"the document is not open; {one} and {other} are"
    assert both.snapshot(one).uri == one


def test_a_change_that_cannot_be_read_is_about_the_document_under_any_spelling():
    documents = opened("file:///c:/a.py")
    assert documents.lose("file:///C%3A/a.py") == ("file:///c:/a.py",)
    assert documents.lost("file:///c:/a.py")


@given(st.text(st.sampled_from(":/\\%.#?aCé\u0301[] 25"), max_size=20))
def test_any_text_has_a_spelling_a_name_and_perhaps_a_path(uri):
    assert isinstance(spelled_alike(uri), str)
    assert "/" not in name_of(uri) or "%2F" in uri.upper()
    assert path_of(uri) is None or isinstance(path_of(uri), Path)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("file:///code/a%20b.py", "a b.py"),
        ("untitled:/x/a.py", "a.py"),
        ("untitled:Untitled-1", "Untitled-1"),
        ("git:/x/a.py?%7B%7D", "a.py"),
        ("vscode-notebook-cell:/x/a.ipynb#W0", ""),
        ("file:///x/a.ipynb#W0", ""),
    ],
)
def test_the_name_of_a_uri(uri, name):
    assert name_of(uri) == name
