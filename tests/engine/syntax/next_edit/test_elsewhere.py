"""Renaming across documents: step by step, and where paths are odd, or missing: nothing of that is an error."""

from __future__ import annotations

from itertools import product
from pathlib import PurePosixPath

import pytest

from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument
from palimpsest_engine.syntax.next_edit.elsewhere import elsewhere
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups
from palimpsest_engine.syntax.next_edit.pair import path_of
from palimpsest_engine.syntax.next_edit.scene import Scene

_SOURCES = {
    "typescript": (
        "export function grab() {}\n",
        "export function take() {}\n",
        "import { take } from './orders';\ntake();\n",
    ),
    "python": ("def grab(): ...\n", "def take(): ...\n", "from .orders import take\ntake()\n"),
    "go": ("package a; func grab() {}\n", "package a; func take() {}\n", "package a\nvar x = take()\n"),
    "java": ("package a; class Grab {}\n", "package a; class Take {}\n", "package a;\nclass B { Take a; }\n"),
    "c": ("int grab(int a);\n", "int take(int a);\n", '#include "orders.ts"\nint take(int a) { return a; }\n'),
    "rust": ("pub fn grab() {}\n", "pub fn take() {}\n", "use super::orders::take;\n"),
}
_NAMES = (
    "untitled:Untitled-1",
    "file:///c%3A/a/orders.ts",
    "file://[/",
    "",
    "/",
    "vscode-remote://wsl%2Bubuntu/a/b.py",
    "x:",
    "..",
)


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("file:///home/a%20b/orders.ts", None, "/home/a b/orders.ts"),
        ("file:///c%3A/a/orders.ts", None, "/c:/a/orders.ts"),
        ("file:///C:/a/orders.ts", "C:\\a\\orders.ts", "C:/a/orders.ts"),
        ("x", "\\\\host\\share\\orders.ts", "//host/share/orders.ts"),
        ("shop/../orders.ts", None, "orders.ts"),
        ("a\\b.ts", None, "a\\b.ts"),
        ("untitled:Untitled-1", None, None),
        ("vscode-remote://host/a/orders.ts", None, None),
        ("", None, None),
    ],
)
def test_the_path_of_a_document(name: str, path: str | None, expected: str | None) -> None:
    found = path_of(OpenDocument(name, "", None, path))
    assert found == (None if expected is None else PurePosixPath(expected))


@pytest.mark.parametrize("language", _SOURCES)
def test_no_name_of_a_document_is_an_error(language: str) -> None:
    now, before, other = _SOURCES[language]
    for one, two in product(_NAMES, _NAMES):
        for path in (None, two):
            documents = (OpenDocument(one, now, language), OpenDocument(f"{two}2", other, language, path))
            question = NextEditQuestion(documents, (Change(one, 0, before, now),), 0, budget_ms=60_000)
            assert all(each.document == f"{two}2" for each in elsewhere(Scene(question)))


def test_a_path_of_windows_is_followed() -> None:
    now, before, other = _SOURCES["typescript"]
    documents = (
        OpenDocument("file:///c%3A/shop/orders.ts", now, "typescript", "c:\\shop\\orders.ts"),
        OpenDocument("file:///c%3A/shop/basket.ts", other, "typescript", "c:\\shop\\basket.ts"),
    )
    question = NextEditQuestion(documents, (Change(documents[0].name, 0, before, now),), 0, budget_ms=60_000)
    found = list(elsewhere(Scene(question)))
    assert [(each.text, each.certainty) for each in found] == [("grab", "sure")] * 2
    assert found[0].reason == "`take` was renamed to `grab` in orders.ts"


_CHAINS = {
    "go": (
        ("shop/orders.go", "package shop\n\nfunc grab() {}\n", "package shop\n\nfunc take() {}\n"),
        ("shop/basket.go", "package shop\n\nfunc f() {\n\ttake()\n\ttake()\n}\n\nvar x = take\n"),
    ),
    "typescript": (
        ("shop/orders.ts", "export function grab() {}\n", "export function take() {}\n"),
        ("shop/basket.ts", "import { take } from './orders';\ntake();\nf({ x: take });\n"),
    ),
    "c": (
        ("shop/orders.h", "int grab(int a);\n", "int take(int a);\n"),
        (
            "shop/orders.c",
            '#include "orders.h"\nint take(int a);\nint f(void) { return take(1); }\nint take(int a) { return a; }\n',
        ),
    ),
    "rust": (
        ("src/orders.rs", "pub fn grab() {}\n", "pub fn take() {}\n"),
        ("src/basket.rs", "use crate::orders::take;\nfn f() {\n    take();\n    take();\n}\n"),
    ),
}


@pytest.mark.parametrize("language", _CHAINS)
def test_edits_that_are_accepted_one_by_one_lead_to_the_last(language: str) -> None:
    (source, now, before), (target, text) = _CHAINS[language]
    changes = [Change(source, 0, before, now)]
    for _ in range(text.count("take")):
        documents = (OpenDocument(target, text, language, target), OpenDocument(source, now, language, source))
        edits = follow_ups(NextEditQuestion(documents, tuple(changes), 0, budget_ms=60_000)).edits
        edit = next(each for each in edits if each.document == target)
        start, end = text.rfind("\n", 0, edit.span.start) + 1, text.index("\n", edit.span.end) + 1
        line = text[start : edit.span.start] + edit.text + text[edit.span.end : end]
        changes.insert(0, Change(target, start, text[start:end], line))
        text = text[:start] + line + text[end:]
    assert "take" not in text
