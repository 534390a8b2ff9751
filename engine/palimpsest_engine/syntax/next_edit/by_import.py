"""Follow a renamed definition to where other documents import it by name, or reach it through its module."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from palimpsest_engine.changes import Certainty
from palimpsest_engine.syntax.next_edit.pair import Followed, Pair, Side, is_gone
from palimpsest_engine.syntax.next_edit.scopes import Occurrence
from palimpsest_engine.syntax.tree import Range

if TYPE_CHECKING:
    from tree_sitter import Node

_Means = Callable[[str], bool]  # whether a module is the renamed definition's document, as it is written there

_SCRIPTS = (".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx")


def _follow(
    pair: Pair, means: _Means, modules: Callable[[Side, Range], Iterator[str]], certainty: Certainty
) -> Followed:
    """Yield the imports of a name from a module that `means` the document, what they bind, and members of the module."""
    there = pair.there
    imports = [
        each
        for each in pair.named()
        if each.other is not None and _is_import(each) and means(_unquoted(there.text(each.other)))
    ]
    own = {each for each in imports if each.role == "definition"}
    if own and not _is_free(pair, own):
        imports = [each for each in imports if each not in own]
        own = set()
    for each in imports:
        yield each, "likely" if _is_passed_on(there, each) else certainty
    for each in pair.named():
        through = modules(there, each.other) if each.role == "member" and each.other is not None else ()
        if any(map(means, through)) or (each.role == "reference" and own & set(there.scopes.resolve(each))):
            yield each, certainty


def _is_import(use: Occurrence) -> bool:
    return use.role == "imported" or (use.role == "definition" and use.kind == "import")


def _is_passed_on(side: Side, use: Occurrence) -> bool:
    """Return whether it is exported again, where the old name may be kept for others."""
    node = side.node(use.place)
    return node is not None and node.parent is not None and node.parent.type == "export_specifier"


def _is_free(pair: Pair, own: set[Occurrence]) -> bool:
    """Return whether nothing there has the new name, and nothing else the old one in the same scope."""
    scopes = pair.there.scopes
    if any(len(scopes.definitions(each.name, each.scope)) > 1 for each in own):
        return False
    return not any(each.role in ("definition", "reference", "unsure") for each in scopes.of(pair.renamed.new))


def _unquoted(text: str) -> str:
    return text.strip("\"'`")


def _imports_of(side: Side, first: Range) -> list[Node]:
    """Return the names that are bound by imports where one is used; none if something else binds it, too."""
    use = side.scopes.at(first)
    bound = side.scopes.resolve(use) if use is not None and use.role == "reference" else ()
    if any(each.kind != "import" for each in bound):
        return []
    return [node for each in bound if (node := side.node(each.place)) is not None]


# Python


def python(pair: Pair) -> Followed:
    """Yield what follows in a module of Python: a module's name may fit two files, so none of it is sure."""
    source, target = pair.here.path, pair.there.path
    if source is None or not is_gone(pair):
        return

    def means(module: str) -> bool:
        others = [each.path for each in pair.others if each.path is not None]
        return _is_file(module, source, target) and not any(_is_file(module, each, target) for each in others)

    yield from _follow(pair, means, _python_modules, "likely")


def _is_file(module: str, path: PurePosixPath, target: PurePosixPath | None) -> bool:
    """Return whether a dotted name ends a path; with dots before it, it is one from the folder of the target on."""
    parts = tuple(each for each in module.split(".") if each)
    own = path.with_suffix("").parts
    own = own[:-1] if own[-1:] == ("__init__",) else own
    dots = len(module) - len(module.lstrip("."))
    if dots:
        return target is not None and dots <= len(target.parts) and target.parts[:-dots] + parts == own
    return bool(parts) and own[-len(parts) :] == parts


def _python_modules(side: Side, place: Range) -> Iterator[str]:
    """Yield the modules that the object of a member may be."""
    text = side.text(place)
    first = text.partition(".")[0]
    for name in _imports_of(side, (place[0], place[0] + len(first.encode()))):
        item = name.parent
        statement = None if item is None else item.parent
        if item is None or statement is None:
            continue
        module = statement.child_by_field_name("module_name")
        plain = item.child_by_field_name("name") if item.type == "aliased_import" else item
        dotted = side.text(plain.byte_range) if plain is not None else ""
        if statement.type == "import_statement":
            if text == (first if item.type == "aliased_import" else dotted):
                yield dotted
        elif module is not None and text == first:
            prefix = side.text(module.byte_range)
            yield prefix + dotted if prefix.endswith(".") else f"{prefix}.{dotted}"


# JavaScript and TypeScript


def ecma(pair: Pair) -> Followed:
    """Yield what follows in a module of JavaScript or TypeScript that names the document by a relative path."""
    source, target = pair.here.path, pair.there.path
    if source is None or target is None or not is_gone(pair) or not _is_exported(pair):
        return

    def means(module: str) -> bool:
        others = [each.path for each in pair.others if each.path is not None]
        return _leads_to(module, source, target) and not any(_leads_to(module, each, target) for each in others)

    yield from _follow(pair, means, _ecma_modules, "sure")


def _leads_to(module: str, path: PurePosixPath, target: PurePosixPath) -> bool:
    if module not in (".", "..") and not module.startswith(("./", "../")):
        return False
    found = PurePosixPath(posixpath.normpath(target.parent / module))
    found = found.with_suffix("") if found.suffix in _SCRIPTS else found
    own = path.with_suffix("")
    return found == own or (own.name == "index" and found == own.parent)


def _is_exported(pair: Pair) -> bool:
    """Return whether the definition is exported under its name, and not as the default."""
    node = pair.here.node(pair.renamed.role.place)
    while node is not None and node.type not in ("export_statement", "statement_block", "program"):
        node = node.parent
    if node is not None and node.type == "export_statement":
        return not any(each.type == "default" for each in node.children)
    named = [*pair.here.scopes.of(pair.renamed.new), *pair.here.scopes.of(pair.renamed.old)]
    return any(_is_export(pair.here, each) for each in named)


def _is_export(side: Side, use: Occurrence) -> bool:
    node = side.node(use.place)
    item = None if node is None else node.parent
    if item is None or item.type != "export_specifier" or item.child_by_field_name("alias") is not None:
        return False
    statement = item.parent.parent if item.parent is not None else None
    return statement is not None and statement.child_by_field_name("source") is None


def _ecma_modules(side: Side, place: Range) -> Iterator[str]:
    for name in _imports_of(side, place):
        clause = name.parent
        if clause is not None and clause.type == "namespace_import":
            statement = clause.parent.parent if clause.parent is not None else None
            source = None if statement is None else statement.child_by_field_name("source")
            if source is not None:
                yield _unquoted(side.text(source.byte_range))


# Rust


def rust(pair: Pair) -> Followed:
    """Yield what follows in a module of Rust: paths from `crate`, `self` or `super` on, and what they bind."""
    if pair.here.path is None or not is_gone(pair):
        return
    wanted = _rust_module(pair.here.path)
    paths = [each for each in pair.named() if _rust_path(pair.there, each.place) == wanted]
    own = {each for each in paths if each.role == "definition"}
    if own and not _is_free(pair, own):
        paths, own = [each for each in paths if each not in own], set()
    for each in paths:
        yield each, "likely"
    for each in pair.named():
        if each.role == "reference" and each not in paths and own & set(pair.there.scopes.resolve(each)):
            yield each, "likely"


def _rust_module(path: PurePosixPath) -> tuple[str, ...]:
    """Return the path of a file's module in its crate."""
    parts = path.with_suffix("").parts
    if "src" in parts:
        parts = parts[len(parts) - parts[::-1].index("src") :]
    return parts[:-1] if parts[-1:] in (("mod",), ("lib",), ("main",)) else parts


def _rust_path(side: Side, place: Range) -> tuple[str, ...] | None:
    """Return the module that a path takes its last name from; None unless it is one from `crate` on."""
    node, found = side.node(place), list[str]()
    at = None if node is None else node.parent
    if at is None or node is None or (at.type == "use_list" and side.text(node.byte_range) in ("self", "*")):
        return None
    if at.type in ("scoped_identifier", "scoped_type_identifier"):
        if at.child_by_field_name("name") != node:
            return None
        found, at = _segments(side, at), at.parent
    while at is not None and at.type in ("use_list", "scoped_use_list", "use_as_clause"):
        found = [*(_segments(side, at) if at.type == "scoped_use_list" else ()), *found]
        at = at.parent
    if side.path is None or not found:
        return None
    own = _rust_module(side.path)
    if found[0] == "crate":
        return tuple(found[1:])
    if found[0] == "self":
        return (*own, *found[1:])
    ups = next((i for i, each in enumerate(found) if each != "super"), len(found))
    return (*own[: len(own) - ups], *found[ups:]) if 0 < ups <= len(own) else None


def _segments(side: Side, node: Node) -> list[str]:
    path = node.child_by_field_name("path")
    return [] if path is None else "".join(side.text(path.byte_range).split()).split("::")
