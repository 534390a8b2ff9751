"""Find the grammar of a document, and load tree-sitter grammars; knows nothing of holes.

Every grammar comes from a wheel of its own and is imported when the first document of its language is parsed.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING

from palimpsest_engine.errors import GrammarMissing

if TYPE_CHECKING:
    from tree_sitter import Language

# canonical name: (further LSP ids, file extensions, whole file names)
_GRAMMARS: dict[str, tuple[str, str, str]] = {
    "bash": (
        "shellscript sh",
        "sh bash bats ebuild",
        ".bashrc .bash_profile .bash_aliases .bash_logout .profile .envrc PKGBUILD APKBUILD",
    ),
    "c": ("", "c", ""),
    "cpp": ("c++", "cpp cc cxx c++ h hpp hh hxx h++ ipp tpp inl", ""),
    "csharp": ("c# cs c_sharp", "cs csx", ""),
    "css": ("", "css", ""),
    "go": ("golang", "go", ""),
    "html": ("", "html htm xhtml", ""),
    "java": ("", "java", ""),
    "javascript": ("javascriptreact js jsx", "js mjs cjs jsx", ""),
    "json": (
        "jsonc",
        "json jsonc webmanifest geojson ipynb jsonl ndjson",
        "composer.lock Pipfile.lock flake.lock .babelrc .jshintrc",
    ),
    "kotlin": ("", "kt kts", ""),
    "lua": ("", "lua rockspec", ".luacheckrc"),
    "markdown": ("", "md markdown mdown mkd", ""),
    "php": ("", "php phtml php5 phps", ""),
    "python": ("py", "py pyi pyw", "SConstruct SConscript wscript"),
    "ruby": (
        "",
        "rb rake gemspec ru podspec jbuilder",
        "Gemfile Rakefile Podfile Vagrantfile Brewfile Guardfile Fastfile Capfile Dangerfile",
    ),
    "rust": ("", "rs", ""),
    "scala": ("", "scala sc sbt", ""),
    "sql": ("", "sql ddl dml", ""),
    "swift": ("", "swift", ""),
    "toml": ("", "toml", "Cargo.lock poetry.lock uv.lock pdm.lock Pipfile"),
    "tsx": ("typescriptreact", "tsx", ""),
    "typescript": ("ts", "ts mts cts", ""),
    "yaml": (
        "yml dockercompose github-actions-workflow",
        "yaml yml cff",
        ".clang-format .clang-tidy .clangd .yamllint",
    ),
    "zig": ("", "zig zon", ""),
}
_WHEELS = {  # (module, function) of those that are not named after the language
    "csharp": ("tree_sitter_c_sharp", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
}
_BY_ID = {name: name for name in _GRAMMARS}
_BY_EXTENSION: dict[str, str] = {}
_BY_FILE_NAME: dict[str, str] = {}
for _name, (_ids, _extensions, _files) in _GRAMMARS.items():
    _BY_ID.update(dict.fromkeys(_ids.split(), _name))
    _BY_EXTENSION.update(dict.fromkeys(_extensions.split(), _name))
    _BY_FILE_NAME.update(dict.fromkeys(_files.split(), _name))


def languages() -> tuple[str, ...]:
    """Return the canonical names of all grammars, sorted."""
    return tuple(_GRAMMARS)


def language_of(path: str | None, language: str | None) -> str | None:
    """Return the canonical grammar name of a document, or None if there is no grammar for it.

    language: an LSP language id or a canonical name, in any case. If given, it decides alone, because the editor knows
    better than a file name: an id without a grammar is None. path: a path or URI, never opened; the whole file name
    decides if it is a known one, else its extension.
    """
    if language:
        return _BY_ID.get(language.lower())
    name = PurePath((path or "").replace("\\", "/")).name
    return _BY_FILE_NAME.get(name) or _BY_EXTENSION.get(PurePath(name).suffix[1:].lower())


@cache
def load(name: str) -> Language:
    """Return the grammar with this canonical name; import its wheel on first use.

    Raises GrammarMissing if no grammar has this name, or its wheel is not installed or is built for another tree-sitter.
    """
    from tree_sitter import Language

    if name not in _GRAMMARS:
        raise GrammarMissing(f"there is no grammar for {name!r}")
    module, function = _WHEELS.get(name, (f"tree_sitter_{name}", "language"))
    try:
        return Language(getattr(importlib.import_module(module), function)())
    except (ImportError, AttributeError, ValueError) as error:
        raise GrammarMissing(f"the grammar for {name} cannot be loaded: {error}") from error
