"""Every grammar of the project is installed, parses, and is found by the names that editors and files give it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tree_sitter import Parser

from palimpsest_engine.errors import GrammarMissing
from palimpsest_engine.syntax.grammars import language_of, languages, load

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "fixtures" / "syntax"


@pytest.mark.parametrize("name", languages())
def test_a_hello_world_parses_without_errors(name):
    hello = tomllib.loads((FIXTURES / f"{name}.toml").read_text("utf-8"))["hello"]
    root = Parser(load(name)).parse(hello.encode()).root_node
    assert root.end_byte > 0
    assert not root.has_error, str(root)


@pytest.mark.parametrize("name", sorted({*languages()} - {"markdown"}))
def test_rubbish_does_not_parse(name):
    rubbish = {"html": "<p class='", "php": "<?php ((] 1 }", "yaml": "[1}"}.get(name, "((] <= { 1 ]]) '")
    assert Parser(load(name)).parse(rubbish.encode()).root_node.has_error


def test_the_wheels_in_pyproject_are_the_grammars():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    wheels = {match[1] for line in dependencies if (match := re.match(r"tree-sitter-([a-z-]+)>=", line))}
    wheels.remove("c-sharp")
    assert {*languages()} == wheels | {"csharp", "tsx"}


def test_language_names_are_sorted():
    assert list(languages()) == sorted(languages())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.py", "python"),
        ("src/lib.RS", "rust"),
        ("C:\\code\\Main.java", "java"),
        ("file:///home/a/app.tsx", "tsx"),
        ("a.b/c.d.ts", "typescript"),
        ("view.jsx", "javascript"),
        ("include/x.h", "cpp"),
        ("x.c", "c"),
        ("Program.cs", "csharp"),
        ("deploy.yml", "yaml"),
        ("Cargo.lock", "toml"),
        ("composer.lock", "json"),
        ("Gemfile", "ruby"),
        (".bashrc", "bash"),
        ("sub/PKGBUILD", "bash"),
        ("Makefile", None),
        ("Dockerfile", None),
        (".py", None),
        ("py", None),
        ("a.", None),
        ("a.unheard-of", None),
        ("folder.py/", "python"),
        ("", None),
        (None, None),
    ],
)
def test_a_path_decides_the_language(path, expected):
    assert language_of(path, None) == expected
    assert language_of(path, "") == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("python", "python"),
        ("Python", "python"),
        ("typescriptreact", "tsx"),
        ("javascriptreact", "javascript"),
        ("shellscript", "bash"),
        ("sh", "bash"),
        ("csharp", "csharp"),
        ("cs", "csharp"),
        ("jsonc", "json"),
        ("plaintext", None),
        ("vue", None),
    ],
)
def test_the_editors_language_id_wins_over_the_path(language, expected):
    assert language_of("a.go", language) == expected


@pytest.mark.parametrize("name", languages())
def test_canonical_names_are_ids(name):
    assert language_of(None, name) == name


def test_an_unknown_grammar_is_a_plain_error():
    with pytest.raises(GrammarMissing, match="no grammar for 'vue'"):
        load("vue")


def test_a_wheel_that_is_not_installed_is_a_plain_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "tree_sitter_zig", None)
    load.cache_clear()
    with pytest.raises(GrammarMissing, match="the grammar for zig cannot be loaded"):
        load("zig")


def test_grammars_are_imported_one_by_one_and_late():
    code = (
        "import sys, palimpsest_engine.syntax.gate, palimpsest_engine.syntax.grammars as g\n"
        "seen = lambda: sorted(name for name in sys.modules if name.startswith('tree_sitter'))\n"
        "assert not seen(), seen()\n"
        "g.load('go')\n"
        "assert 'tree_sitter_go' in seen() and 'tree_sitter_rust' not in seen(), seen()\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
