"""Imports after a change: one that nothing uses any more goes, one that is needed comes, and in doubt nothing happens."""

from __future__ import annotations

import pytest

from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument
from palimpsest_engine.syntax.next_edit.follow_up import follow_ups
from palimpsest_engine.syntax.next_edit.imports import imports

OTHER = "from shop.orders import Order\nimport json\n\nOrder(json)\n"


def offered(text: str, before: str, after: str, language: str, path: str = "/p/a", other: str = "") -> list[str]:
    """Return the text with each edit of the import finder; before, after: the line that has changed."""
    start = text.index(after) if after else text.index("@")
    text = text.replace("@", "")
    documents = [OpenDocument(f"file://{path}", text, language, path)]
    if other:
        documents.append(OpenDocument("file:///p/other.py", other, language, "/p/other.py"))
    change = Change(documents[0].name, start, before, after)
    question = NextEditQuestion(tuple(documents), (change,), start, budget_ms=60_000)
    found = follow_ups(question, (imports,)).edits
    return [text[: each.span.start] + each.text + text[each.span.end :] for each in found]


@pytest.mark.parametrize(
    ("language", "imported", "left", "use"),
    [
        ("python", "import os\n", "", "os.getcwd()\n"),
        ("python", "import numpy as os\n", "", "os.x\n"),
        ("python", "from a import os\n", "", "os()\n"),
        ("python", "from a import b, os\nb()\n", "from a import b\nb()\n", "os()\n"),
        ("python", "from a import os, b\nb()\n", "from a import b\nb()\n", "os()\n"),
        ("python", "from a import (\n    os,\n    b,\n)\nb()\n", "from a import (\n    b,\n)\nb()\n", "os()\n"),
        ("python", "import os, sys\nsys.x\n", "import sys\nsys.x\n", "os.x\n"),
        ("typescript", 'import os from "os";\n', "", "os();\n"),
        ("typescript", 'import * as os from "os";\n', "", "os.x();\n"),
        ("typescript", 'import { os, b } from "os";\nb();\n', 'import { b } from "os";\nb();\n', "os();\n"),
        ("tsx", 'import { b, type os } from "os";\nb();\n', 'import { b } from "os";\nb();\n', "let x: os;\n"),
        ("java", "import a.os;\n\nclass C {}\n", "\nclass C {}\n", "//\nclass D { os x; }\n"),
        ("go", 'package p\n\nimport (\n\t"fmt"\n\t"a/os"\n)\n\nvar y = fmt.X\n', None, "var x = os.X\n"),
        ("go", 'package p\n\nimport "os"\n', "package p\n\n", "var x = os.X\n"),
        ("rust", "use a::os;\n", "", "fn f() { os(); }\n"),
        ("rust", "use a::{b, os};\nfn g() { b(); }\n", "use a::{b};\nfn g() { b(); }\n", "fn f() { os(); }\n"),
    ],
)
def test_an_import_without_a_use_goes(language: str, imported: str, left: str | None, use: str) -> None:
    left = imported.replace('\t"a/os"\n', "") if left is None else left
    assert offered(f"{imported}@", use, "", language) == [left]


@pytest.mark.parametrize(
    ("language", "text", "before", "path"),
    [
        pytest.param("python", "import os\nx = os\n@", "os.y\n", "/p/a", id="it is used elsewhere"),
        pytest.param("python", "import os\n__all__ = ['os']\n@", "os.y\n", "/p/a", id="it is exported by its name"),
        pytest.param("python", "import os  # os is patched in tests\n@", "os.y\n", "/p/a", id="a comment tells of it"),
        pytest.param("python", "import os\n@", "os.y\n", "/p/__init__.py", id="it is for others"),
        pytest.param("python", "from __future__ import os\n@", "os.y\n", "/p/a", id="it is no name"),
        pytest.param("python", "try:\n    import os\nexcept E:\n    pass\n@", "os.y\n", "/p/a", id="it is tried"),
        pytest.param("python", "import os\n@", "x = 1\n", "/p/a", id="the change was about something else"),
        pytest.param("typescript", 'import "os";\n@', "os();\n", "/p/a", id="it is for its side effects"),
        pytest.param(
            "typescript", 'import a, { os } from "os";\na();\n@', "os();\n", "/p/a", id="braces would be empty"
        ),
        pytest.param("java", "import a.*;\n@", "class D { os x; }\n", "/p/a", id="all of a package"),
        pytest.param("rust", "pub use a::os;\n@", "fn f() { os(); }\n", "/p/a", id="it is public"),
        pytest.param(
            "go", 'package p\n\nimport _ "os"\n@', "var x = os.X\n", "/p/a", id="it is for its side effects, too"
        ),
    ],
)
def test_in_doubt_an_import_stays(language: str, text: str, before: str, path: str) -> None:
    assert offered(text, before, "", language, path) == []


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        pytest.param("import os\n\nos.x\n", "json.loads(1)\n", "import json\nimport os\n", id="in order"),
        pytest.param(
            "import os\nimport abc\n\nos.x\n", "json.loads(1)\n", "import os\nimport abc\nimport json\n", id="last"
        ),
        pytest.param(
            "from a import b\n\n", "Order()\n", "from a import b\nfrom shop.orders import Order\n", id="as elsewhere"
        ),
    ],
)
def test_a_name_that_another_document_imports_is_imported(text: str, after: str, expected: str) -> None:
    (found,) = offered(text + after, "\n", after, "python", other=OTHER)
    assert found.startswith(expected)
    assert found.endswith(after)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("import os\ndef json(): ...\n", "json.loads(1)\n"),
        ("import os\njson = 1\n", "json.loads(1)\n"),
        ("import os\n", "x.json.loads(1)\n"),
        ("import os\n", "wholly_new.loads(1)\n"),
        ("", "json.loads(1)\n"),
    ],
)
def test_a_name_that_may_be_something_else_is_not_imported(text: str, after: str) -> None:
    other = OTHER if "json" not in after or "def" in text else ""
    assert offered(text + after, "\n", after, "python", other=other) == []
