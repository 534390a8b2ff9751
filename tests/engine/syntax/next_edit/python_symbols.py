"""An oracle for renames: what Python's own symbol tables say of each local variable. Knows no tree-sitter."""

from __future__ import annotations

import ast
import symtable
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

Place = tuple[int, int]  # a line from 1 on, and a column in bytes

_COMPREHENSIONS = {
    ast.ListComp: "listcomp",
    ast.SetComp: "setcomp",
    ast.DictComp: "dictcomp",
    ast.GeneratorExp: "genexpr",
}


@dataclass
class Symbol:
    """A local variable or parameter. places: all its names in order; known: whether each of them has a place."""

    name: str
    places: list[Place] = field(default_factory=list)
    known: bool = True
    defined_first: bool = False


class Symbols(ast.NodeVisitor):
    """Find the local variables of all functions of a text."""

    def __init__(self, text: str) -> None:
        self._tables = [symtable.symtable(text, "a.py", "exec")]
        self._left: dict[tuple[int, str, int], list[symtable.SymbolTable]] = defaultdict(list)
        self._found: dict[tuple[int, str], Symbol] = {}
        self._list(self._tables[0])
        self.visit(ast.parse(text))

    def __iter__(self) -> Iterator[Symbol]:
        for symbol in self._found.values():
            symbol.places.sort()
            yield symbol

    def _list(self, table: symtable.SymbolTable) -> None:
        for child in table.get_children():
            self._left[table.get_id(), child.get_name(), child.get_lineno()].append(child)
            self._list(child)

    def _name(self, name: str, place: Place | None, *, defines: bool) -> None:
        for depth in range(len(self._tables) - 1, 0, -1):
            table = self._tables[depth]
            if name not in table.get_identifiers():
                continue
            said = table.lookup(name)
            if said.is_global():
                return
            if said.is_local() and table.get_type() == "function":
                symbol = self._found.setdefault((table.get_id(), name), Symbol(name))
                if place is None or said.is_imported() or said.is_namespace():
                    symbol.known = False
                elif not symbol.places or place < min(symbol.places):
                    symbol.defined_first = defines
                if place is not None:
                    symbol.places.append(place)
                return
            if said.is_local():
                return

    def _inside(self, name: str, node: ast.AST, parts: list[ast.AST]) -> None:
        tables = self._left[self._tables[-1].get_id(), name, node.lineno]  # type: ignore[attr-defined]
        self._tables.append(tables.pop(0))
        for part in parts:
            self.visit(part)
        self._tables.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._name(node.name, None, defines=True)
        for part in (*node.args.defaults, *(each for each in node.args.kw_defaults if each), *_annotations(node)):
            self.visit(part)
        for part in node.decorator_list:
            self.visit(part)
        self._inside(node.name, node, [*_arguments(node.args), *node.body])

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in (*node.args.defaults, *(each for each in node.args.kw_defaults if each)):
            self.visit(part)
        self._inside("lambda", node, [*_arguments(node.args), node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._name(node.name, None, defines=True)
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        self._inside(node.name, node, list(node.body))

    def generic_visit(self, node: ast.AST) -> None:
        if type(node) not in _COMPREHENSIONS:
            return super().generic_visit(node)
        first, *others = node.generators  # type: ignore[attr-defined]
        self.visit(first.iter)
        results = [getattr(node, each) for each in ("key", "value", "elt") if hasattr(node, each)]
        parts = [first.target, *first.ifs, *others, *results]
        self._inside(_COMPREHENSIONS[type(node)], node, parts)

    def visit_Name(self, node: ast.Name) -> None:
        self._name(node.id, (node.lineno, node.col_offset), defines=isinstance(node.ctx, ast.Store))

    def visit_arg(self, node: ast.arg) -> None:
        self._name(node.arg, (node.lineno, node.col_offset), defines=True)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._name(node.target.id, (node.target.lineno, node.target.col_offset), defines=False)
        else:
            self.visit(node.target)
        self.visit(node.value)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._name(node.name, None, defines=True)
        super().generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self._name(node.name, None, defines=True)
        super().generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self._name(node.name, None, defines=True)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        for name in node.names:
            self._name(name, None, defines=False)

    def visit_alias(self, node: ast.alias) -> None:
        self._name((node.asname or node.name).split(".")[0], None, defines=True)


def _arguments(arguments: ast.arguments) -> list[ast.AST]:
    each = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [one for one in each if one is not None]


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.AST]:
    said = [each.annotation for each in _arguments(node.args) if isinstance(each, ast.arg)]
    return [each for each in (*said, node.returns) if each is not None]
