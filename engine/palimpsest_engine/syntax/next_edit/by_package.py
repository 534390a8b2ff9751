"""Follow a renamed definition through its package: bare names in its other files, and names behind imports of it."""

from __future__ import annotations

import re

from palimpsest_engine.changes import Certainty
from palimpsest_engine.syntax.next_edit.imports import imported
from palimpsest_engine.syntax.next_edit.pair import Followed, Pair, Side, is_gone
from palimpsest_engine.syntax.next_edit.scopes import Occurrence
from palimpsest_engine.syntax.tree import Parsed

_PACKAGE = re.compile(rb"^[ \t]*package\s+([\w.]+)", re.M)
_OF_ONE_BUILD = re.compile(rb"^//(?:go:build| *\+build)\b", re.M)
_OF_ONE_SYSTEM = re.compile(r"_(?:linux|windows|darwin|freebsd|openbsd|netbsd|unix|js|wasm|arm|arm64|amd64|386)\Z")
_PREDECLARED = re.compile(
    r"any|append|bool|byte|cap|clear|close|comparable|complex(?:64|128)?|copy|delete|error|false|float(?:32|64)|imag|init|iota|len|"
    r"main|make|max|min|new|nil|panic|print|println|real|recover|rune|string|true|u?int(?:8|16|32|64)?|uintptr"
)


def _package(side: Side) -> str:
    found = _PACKAGE.search(side.scopes.parsed.data)
    return "" if found is None else found[1].decode("utf-8", "replace")


def _imported_names(parsed: Parsed) -> set[str]:
    return {each.name for each in imported(parsed)} if parsed.tree is not None else set()


# Go


def go(pair: Pair) -> Followed:
    """Yield what follows in a file of the same folder and package, or in one that imports it."""
    there, names = pair.there, (pair.renamed.old, pair.renamed.new)
    if not is_gone(pair) or any(map(_PREDECLARED.fullmatch, names)):
        return
    if _package(there) != _package(pair.here):
        for each in pair.named():
            if _is_through_package(pair, each):
                yield each, "likely"
    elif there.folder == pair.here.folder and not _is_defined_beside(pair):
        if _imported_names(there.scopes.parsed).intersection(names):
            return
        certainty: Certainty = "likely" if _is_of_one_build(pair.here) else "sure"
        for each in pair.unresolved():
            yield each, certainty


def _is_defined_beside(pair: Pair) -> bool:
    """Return whether another open file of the package defines one of the names."""
    return any(
        each.folder == pair.here.folder and each.defines(name) and _package(each) == _package(pair.here)
        for each in pair.others
        for name in (pair.renamed.old, pair.renamed.new)
    )


def _is_of_one_build(side: Side) -> bool:
    """Return whether another file may define the same names for other systems."""
    named = side.path is not None and _OF_ONE_SYSTEM.search(side.path.stem)
    return bool(named) or _OF_ONE_BUILD.search(side.scopes.parsed.data) is not None


def _is_through_package(pair: Pair, use: Occurrence) -> bool:
    """Return whether a use stands behind the name of an import whose path ends with the folder of the definition."""
    there, folder = pair.there, pair.here.folder
    node = there.node(use.place)
    outer = None if node is None else node.parent
    if outer is None or folder is None or not pair.renamed.old[:1].isupper() or not pair.renamed.new[:1].isupper():
        return False
    package = outer.child_by_field_name("operand") or outer.child_by_field_name("package")
    if package is None or package == node or package.child_count:
        return False
    name = there.text(package.byte_range)
    at = there.scopes.at(package.byte_range)
    bound = there.scopes.resolve(at) if at is not None and at.role == "reference" else ()
    if any(each.kind != "import" for each in bound):
        return False
    for each in imported(there.scopes.parsed):
        path = there.text(each.item.byte_range).rpartition('"')[0].rpartition('"')[2]
        aliased = each.item.child_by_field_name("name") is not None
        if each.name == name and (aliased or name == _package(pair.here)):
            return bool(folder.name) and path.split("/")[-1] == folder.name
    return False


# Java


def java(pair: Pair) -> Followed:
    """Yield what follows in a file of the same package, or in one that imports the class."""
    old, new = pair.renamed.old, pair.renamed.new
    if pair.renamed.role.kind != "class" or not old[:1].isupper() or not is_gone(pair):
        return
    there, package = pair.there, _package(pair.here)
    imports = [each for each in pair.named() if _is_import_of(there, each, f"{package}.{old}")]
    bound = _imported_names(there.scopes.parsed)
    named = any(_is_alone(there, each) for each in imports)
    if (old in bound and not named) or new in bound or there.defines(new):
        return
    beside = package == _package(there) and (bool(package) or there.folder == pair.here.folder)
    every = re.search(rb"^import\s+" + re.escape(package.encode()) + rb"\.\*;", there.scopes.parsed.data, re.M)
    if beside and any(_package(each) == package and (each.defines(old) or each.defines(new)) for each in pair.others):
        return
    for each in imports:
        yield each, "sure"
    if named or beside or (every and package):
        for each in pair.unresolved():
            yield each, "sure" if named or beside else "likely"


def _is_import_of(side: Side, use: Occurrence, name: str) -> bool:
    """Return whether a use ends the name of a class in an import: of the class, or of something in it."""
    node = side.node(use.place)
    path = None if node is None else node.parent
    if path is None or path.type != "scoped_identifier" or path.child_by_field_name("name") != node:
        return False
    outer = path.parent
    while outer is not None and outer.type == "scoped_identifier":
        outer = outer.parent
    return outer is not None and outer.type == "import_declaration" and side.text(path.byte_range) == name


def _is_alone(side: Side, use: Occurrence) -> bool:
    """Return whether an import binds the name of the class itself."""
    node = side.node(use.place)
    statement = node.parent.parent if node is not None and node.parent is not None else None
    return statement is not None and statement.type == "import_declaration" and b"*" not in (statement.text or b"")
