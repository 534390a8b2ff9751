"""Find the workspace's files that a module specifier names; pure over a `Tree`.

Knows how six families of languages find modules, on paths alone. Reads nothing itself but a `go.mod`, never names a file
outside the workspace folders, takes no build tool's settings into account, and leaves out all that it cannot place.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

_MOST = 16  # files of one specifier; a Go package may have hundreds
_JS = (".ts", ".tsx", ".d.ts", ".js", ".jsx", ".mts", ".cts", ".mjs", ".cjs")
_COMPILED = {".js": (".ts", ".tsx"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}
_JVM = (".java", ".kt", ".scala")
_JVM_ROOTS = ("", "src", *(f"src/{part}/{kind}" for part in ("main", "test") for kind in ("java", "kotlin", "scala")))
_C_ROOTS = ("", "include", "src", "inc")
_RUST_ROOTS = ("lib.rs", "main.rs")


class Tree(Protocol):
    """The files there are. Paths are absolute and written with `/`."""

    def exists(self, path: str) -> bool:
        """Return whether a path is a file."""

    def names(self, folder: str) -> Sequence[str]:
        """Return the names in a folder; none if there is no such folder."""

    def read(self, path: str) -> str:
        """Return the text of a file, "" if it may not be read."""


@dataclass(frozen=True, slots=True)
class Importer:
    """The file that imports.

    path: its own. folders: the workspace's; only those that hold the file count. names: identifiers that may be
    submodules, as `models` is in `from shop import models`.
    """

    path: str
    language: str
    folders: Sequence[str]
    names: Collection[str] = ()

    @property
    def folder(self) -> str:
        """Return the folder of the file."""
        return posixpath.dirname(self.path)

    def upwards(self) -> Iterator[str]:
        """Yield its folder and those above, up to and with a workspace folder; nothing for a file outside all of them."""
        folder = self.folder
        while inside(folder, self.folders):
            yield folder
            if folder == posixpath.dirname(folder):
                return
            folder = posixpath.dirname(folder)


def inside(path: str, folders: Iterable[str]) -> bool:
    """Return whether a path, in its shortest form, is one of the folders or in one."""
    path = posixpath.normpath(path)
    roots = (posixpath.normpath(folder) for folder in folders)
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def resolve(specifier: str, importer: Importer, tree: Tree) -> tuple[str, ...]:
    """Return the files that a specifier names, the likeliest first; () if it is not one of the workspace's own."""
    rule = _RULES.get(importer.language)
    return _kept(rule(specifier.strip(), importer, tree), importer) if rule else ()


def neighbours(importer: Importer, tree: Tree) -> tuple[str, ...]:
    """Return the files that are in scope without an import: those of the same package, where a package is a folder."""
    endings = {"go": (".go",), "java": (".java",), "kotlin": (".kt",), "scala": (".scala",)}.get(importer.language)
    return _kept(_folder(importer.folder, endings, tree), importer) if endings else ()


def _kept(paths: Iterable[str], importer: Importer) -> tuple[str, ...]:
    found = (posixpath.normpath(path) for path in paths)
    folders = {posixpath.normpath(folder) for folder in importer.folders}
    fit = (path for path in found if path != importer.path and path not in folders and inside(path, importer.folders))
    return tuple(islice(dict.fromkeys(fit), _MOST))


def _folder(folder: str, endings: tuple[str, ...], tree: Tree) -> Iterator[str]:
    for name in sorted(tree.names(folder)):
        if name.endswith(endings) and not name.endswith("_test.go"):
            yield f"{folder}/{name}"


def _python(specifier: str, importer: Importer, tree: Tree) -> Iterator[str]:
    dots = len(specifier) - len(specifier.lstrip("."))
    parts = [part for part in specifier[dots:].split(".") if part]
    if not all(part.isidentifier() for part in parts) or not (parts or dots):
        return
    if dots:
        bases = [posixpath.normpath(posixpath.join(importer.folder, *[".."] * (dots - 1)))]
    else:
        bases = [base for folder in importer.upwards() for base in (folder, f"{folder}/src")]
    for base in bases:
        # `import shop.models.Order` is written as if a name were a module: without its last part it may be one.
        for known in (parts, parts[:-1])[: 2 if len(parts) > 1 else 1]:
            if found := list(_python_module(posixpath.join(base, *known), importer.names, tree)):
                yield from found
                return


def _python_module(stem: str, names: Collection[str], tree: Tree) -> Iterator[str]:
    for file in (f"{stem}.py", f"{stem}.pyi"):
        if tree.exists(file):
            yield file
            return
    package = [file for ending in ("py", "pyi") if tree.exists(file := f"{stem}/__init__.{ending}")]
    # A folder without `__init__` is a package, too; its modules are those that the importer names.
    modules = {name.removesuffix(".py") for name in tree.names(stem) if name.endswith(".py")}
    yield from (f"{stem}/{name}.py" for name in sorted(modules & set(names)))
    yield from package[:1]


def _javascript(specifier: str, importer: Importer, tree: Tree) -> Iterator[str]:
    if not specifier.startswith(("./", "../")) and specifier not in (".", ".."):
        return
    stem = posixpath.normpath(posixpath.join(importer.folder, specifier.split("?")[0]))
    plain, ending = posixpath.splitext(stem)
    candidates = [
        *(plain + other for other in _COMPILED.get(ending, ())),  # the source rather than what it is compiled to
        *([stem] if ending else ()),
        *(stem + other for other in _JS),
        *(f"{stem}/index{other}" for other in _JS),
    ]
    yield from islice((path for path in candidates if tree.exists(path)), 1)


def _go(specifier: str, importer: Importer, tree: Tree) -> Iterator[str]:
    for folder in importer.upwards():
        if not tree.exists(f"{folder}/go.mod"):
            continue
        declared = re.search(r"^\s*module\s+\"?([^\s\"]+)", tree.read(f"{folder}/go.mod"), re.M)
        if declared and f"{specifier}/".startswith(f"{declared[1]}/"):
            yield from _folder(posixpath.join(folder, specifier[len(declared[1]) + 1 :]).rstrip("/"), (".go",), tree)
        return


def _rust(specifier: str, importer: Importer, tree: Tree) -> Iterator[str]:
    path = re.sub(r"\s+as\s+\w+|\{.*|;|\s|^(pub)?\s*mod\s", "", specifier, flags=re.S)
    parts = [part for part in path.split("::") if part and part != "*"]
    if not parts or not all(part.isidentifier() for part in parts):
        return
    crate = next((f for f in importer.upwards() if any(tree.exists(f"{f}/{root}") for root in _RUST_ROOTS)), None)
    # `a/b.rs` has its children in `a/b/`; `mod.rs` and the crate's root have theirs beside them.
    stem = posixpath.splitext(importer.path)[0]
    own = importer.folder if posixpath.basename(importer.path) in (*_RUST_ROOTS, "mod.rs") else stem
    base = own
    if parts[0] == "crate":
        if crate is None:
            return
        base, parts = crate, parts[1:]
    elif parts[0] == "self":
        parts = parts[1:]
    while parts and parts[0] == "super":
        base, parts = posixpath.dirname(base), parts[1:]
    for length in range(len(parts), -1, -1):
        folder = posixpath.join(base, *parts[:length])
        if not length and (folder == own or specifier.lstrip(":").split("::")[0] not in ("crate", "super")):
            return  # a name of this file, or of another crate
        files = [f"{folder}.rs", f"{folder}/mod.rs"]
        if folder == crate:
            files += [f"{folder}/{root}" for root in _RUST_ROOTS]
        if found := [file for file in files if tree.exists(file)]:
            yield found[0]
            return


def _c(specifier: str, importer: Importer, tree: Tree) -> Iterator[str]:
    if specifier.startswith("<"):
        return
    name = specifier.strip('"')
    if not name or name.startswith("/"):
        return
    for folder in importer.upwards():
        for root in _C_ROOTS:
            if tree.exists(path := posixpath.normpath(posixpath.join(folder, root, name))):
                yield path
                return


def _jvm(specifier: str, importer: Importer, tree: Tree) -> Iterator[str]:
    path = re.sub(r"^(import\s+)?(static\s+)?|\s+as\s+\w+|;|\s", "", specifier)
    parts = path.replace("._", ".*").split(".")
    if len(parts) < 2:
        return
    for folder in importer.upwards():
        for root in _JVM_ROOTS:
            base = posixpath.join(folder, root).rstrip("/")
            if parts[-1] == "*" and (package := list(_folder(posixpath.join(base, *parts[:-1]), _JVM, tree))):
                yield from package
                return
            # A nested class or a static member lies in the file of the class around it.
            for length in range(len(parts), max(1, len(parts) - 3), -1):
                stem = posixpath.join(base, *parts[:length])
                if found := [stem + ending for ending in _JVM if tree.exists(stem + ending)]:
                    yield found[0]
                    return


_Rule = Callable[[str, Importer, Tree], Iterator[str]]
_RULES: dict[str, _Rule] = {
    "python": _python,
    "go": _go,
    "rust": _rust,
    **dict.fromkeys(("javascript", "javascriptreact", "typescript", "typescriptreact"), _javascript),
    **dict.fromkeys(("c", "cpp", "objective-c", "cuda-cpp"), _c),
    **dict.fromkeys(("java", "kotlin", "scala"), _jvm),
}
LANGUAGES = frozenset(_RULES)
