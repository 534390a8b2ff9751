"""Say which file the tests of a file belong into, by the habits of its language; reads nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class Habit:
    """The habits of a language. names: of test files, the most usual first; `{}` is the name of the file without its suffix.

    folders: of tests, the most usual first; the only one that a new file makes is the first. sources: folders of code that
    those of tests stand beside. suffixes: of tests, where it is not that of the file. beside: a new one stands next to the
    file. mirrored: it lies as deep as the file.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("src", "lib")
    suffix: str = ""
    beside: bool = False
    mirrored: bool = False


_SCRIPT = Habit(("{}.test", "{}.spec"), ("__tests__", "tests", "test"), beside=True)
_JAVA = ("src/main/java", "src/main/kotlin", "src")
_C = Habit(("test_{}", "{}_test", "{}_unittest"), ("tests", "test"), ("src", "source", "lib", "include"))
HABITS = {
    "python": Habit(("test_{}", "{}_test"), ("tests", "test")),
    **dict.fromkeys(("javascript", "javascriptreact", "typescript", "typescriptreact"), _SCRIPT),
    "go": Habit(("{}_test",), beside=True),
    "rust": Habit(("{}", "{}_test", "test_{}"), ("tests",)),
    "java": Habit(("{}Test", "{}Tests", "Test{}"), ("src/test/java", "test"), _JAVA, mirrored=True),
    "kotlin": Habit(("{}Test", "{}Tests"), ("src/test/kotlin", "src/test/java", "test"), _JAVA, mirrored=True),
    "c": _C,
    "cpp": _C,
    "ruby": Habit(("{}_spec", "{}_test", "test_{}"), ("spec", "test"), ("lib", "app"), mirrored=True),
    "php": Habit(("{}Test",), ("tests",), mirrored=True),
}
_IN_FOLDER = {("ruby", "test"): ("{}_test", "test_{}"), ("ruby", "spec"): ("{}_spec",)}
_HEADERS = {".h": ".c", ".hh": ".cc", ".hpp": ".cpp", ".hxx": ".cxx", ".pyi": ".py"}
_CRATE = ("lib", "main", "mod")  # of Rust: these are called as their folder


def holds_tests(path: str, language: str) -> bool:
    """Return whether a file is one of tests itself. path: with slashes, from the folder of the workspace."""
    habit, pure = HABITS.get(language), PurePosixPath(path)
    if habit is None:
        return False
    named = any(name != "{}" and fnmatchcase(pure.stem, name.replace("{}", "?*")) for name in habit.names)
    return named or (language == "rust" and "tests" in pure.parts[:-1])


def file_of_tests(path: str, language: str, exists: Callable[[str], bool]) -> tuple[str, bool] | None:
    """Return the file that tests of another belong into, and whether it is new; None if the language has no known habits.

    path: of the file, with slashes, from the folder of the workspace. exists: says whether a file is there, or a folder,
    which ends in a slash. A file of tests that is there already is taken; the nearest one, if there are several.
    """
    habit = HABITS.get(language)
    if habit is None:
        return None
    pure = PurePosixPath(path)
    stem, suffix = pure.stem, _HEADERS.get(pure.suffix, pure.suffix)
    if language == "rust" and stem in _CRATE and pure.parent.name not in ("", "src"):
        stem = pure.parent.name
    places = list(_places(pure.parent, habit))
    for place in ([] if language == "rust" else [_Place(pure.parent)]) + places:
        for name in _names(habit, language, place):
            found = str(place.folder / f"{name.format(stem)}{suffix}")
            if exists(found):
                return found, False
    made = _made(pure.parent, habit, places, exists)
    return str(made.folder / f"{_names(habit, language, made)[0].format(stem)}{suffix}"), True


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder where tests may be: `root`, which the habits name, or one below it."""

    folder: PurePosixPath
    root: PurePosixPath | None = None
    named: str = ""


def _places(parent: PurePosixPath, habit: Habit) -> Iterator[_Place]:
    """Yield the folders where tests may be, the nearest first; in each, the one as deep as the file first."""
    for base in (parent, *parent.parents) if parent.parts else (parent,):
        below = parent.relative_to(base)
        for named in habit.folders:
            root = base / named
            for rest in dict.fromkeys(_below(below, habit)):
                yield _Place(root / rest, root, named)


def _below(below: PurePosixPath, habit: Habit) -> Iterator[PurePosixPath]:
    """Yield what of a path is the same among the tests: without the folder of sources, and without the package."""
    sources = next((source for source in map(PurePosixPath, habit.sources) if below.is_relative_to(source)), None)
    inner = below.relative_to(sources) if sources else below
    yield inner
    yield below
    if inner.parts:
        yield PurePosixPath(*inner.parts[1:])
    yield PurePosixPath()


def _names(habit: Habit, language: str, place: _Place) -> tuple[str, ...]:
    return _IN_FOLDER.get((language, place.named), habit.names)


def _made(parent: PurePosixPath, habit: Habit, places: list[_Place], exists: Callable[[str], bool]) -> _Place:
    """Return where a new file of tests goes."""
    here = _Place(parent)
    if habit.beside:
        near = (place for place in places if place.folder == parent / "__tests__")
        return next((place for place in near if exists(f"{place.folder}/")), here)
    roots = [place for place in places if place.root is not None and exists(f"{place.root}/")]
    if roots:
        same = [place for place in roots if place.root == roots[0].root]
        return same[0] if habit.mirrored else next(place for place in same if exists(f"{place.folder}/"))
    source = next((each for each in habit.sources if f"/{each}/" in f"/{parent}/"), "")
    before, _, after = f"/{parent}/".partition(f"/{source}/") if source else ("", "", str(parent))
    base, named = PurePosixPath(before.strip("/")), habit.folders[0]
    rest = PurePosixPath(after.strip("/")) if habit.mirrored else PurePosixPath()
    return _Place(base / named / rest, base / named, named)
