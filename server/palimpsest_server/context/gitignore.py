"""Find out whether git ignores a file: by its files of patterns, its configuration and its index. Runs no git."""

from __future__ import annotations

import codecs
import logging
import os
import re
import sys
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from palimpsest_server.context import gitconfig, gitindex
from palimpsest_server.context.kept_files import KeptFiles
from palimpsest_server.context.wildmatch import LONGEST, MOST_STARS, matcher
from palimpsest_server.documents.latest import Latest

logger = logging.getLogger(__name__)

_LARGEST = 256 * 1024  # of a .gitignore, the rest is not read
_MOST_LINES = 5_000
_MOST_FILES = 1_024
_MOST_INDEXES = 4
_MOMENT_SECONDS = 1.0


class GitIgnore:
    """The rules for some workspace folders, cached by the files' times."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._files = KeptFiles(_MOST_FILES, _LARGEST)
        self._repositories = Latest[Path, tuple[float, _Repository]](_MOST_FILES)
        self._indexes = KeptFiles(_MOST_INDEXES, gitindex.LARGEST, whole=True)

    def ignorer(self, path: Path) -> str:
        """Return the file that has git ignore a path, as people name it; "" if git does not.

        The folders on the way down are asked first, then the file; of the rules about each the last one in the nearest file
        decides. A tracked file is never ignored.
        """
        folder = next((each for each in self._folders if path.is_relative_to(each)), None)
        repository = self._repository(path.parent)
        top = repository.top if repository else folder
        if top is None:
            return ""
        inner = folder is not None and folder != top and folder.is_relative_to(top)
        if inner and folder is not None and self._first(top, folder, path.parent, repository):
            top = folder  # the user opened an ignored folder to work in it
        found = self._first(top, path, path.parent, repository)
        return "" if found and repository and self._tracks(repository, path) else found

    def _first(self, top: Path, path: Path, parent: Path, repository: _Repository | None) -> str:
        """Return the name of the file that ignores the path, or a folder on the way to it from the top; "" if none does."""
        config = repository.config if repository else gitconfig.Config()
        levels: list[tuple[Path, str | Path, tuple[_Rule, ...]]] = []
        if repository and top == repository.top:
            if config.excludes is not None:
                levels.append((top, _shown(config.excludes), self._rules(config.excludes, config.fold, follow=True)))
            own = repository.common / "info" / "exclude"
            levels.append((top, ".git/info/exclude", self._rules(own, config.fold, follow=True)))
        at = top
        names = path.relative_to(top).parts
        for depth, name in enumerate(names):
            file = at / ".gitignore"
            levels.append((at, file, self._rules(file, config.fold)))
            at = at / name
            folder = depth < len(names) - 1 or at == parent or parent.is_relative_to(at)
            for place, title, rules in reversed(levels):
                if not rules:
                    continue
                below = _name(at, place)
                verdict = _verdict(rules, below.lower() if config.fold else below, folder)
                if verdict:
                    return title if isinstance(title, str) else title.relative_to(top).as_posix()
                if verdict is not None:
                    break
        return ""

    def _rules(self, file: Path, fold: bool, *, follow: bool = False) -> tuple[_Rule, ...]:
        """Return the rules in a file, none if it cannot be read. As git does, follow no link in the working tree."""
        return self._files.made(file, partial(_parsed, file=str(file), fold=fold), fold, follow=follow) or ()

    def _repository(self, folder: Path) -> _Repository | None:
        """Return the repository that a folder lies in. Its configuration is looked at again after a moment."""
        top = next((each for each in (folder, *folder.parents) if os.path.lexists(each / ".git")), None)
        if top is None:
            return None

        def read(file: Path) -> tuple[gitconfig.Setting, ...]:
            return self._files.made(file, gitconfig.parsed, "config", follow=True) or ()

        kept, now = self._repositories.get(top), monotonic()
        if kept is None or now - kept[0] > _MOMENT_SECONDS:
            git, common = _git_folders(top)
            kept = now, _Repository(top, git, common, gitconfig.config_of(top, git, common, read))
            self._repositories[top] = kept
        return kept[1]

    def _tracks(self, repository: _Repository, path: Path) -> bool:
        """Return whether the index of a repository has a path in it; no, if it cannot be read or is too large."""
        git, size = repository.git, repository.config.hash_size
        parse = partial(gitindex.parsed, hash_size=size)
        name = _name(path, repository.top)
        index = self._indexes.made(git / "index", parse, size, follow=True) or gitindex.Index()
        base = self._indexes.made(git / index.base, parse, size) if index.base else None
        return name in index.names or (base is not None and name in base.names)


def _name(path: Path, folder: Path) -> bytes:
    """Return the name of a path below a folder as git spells it, which composes letters and their marks on macOS."""
    name = path.relative_to(folder).as_posix()
    return os.fsencode(unicodedata.normalize("NFC", name) if sys.platform == "darwin" else name)


@dataclass(frozen=True, slots=True)
class _Repository:
    """top: of the working tree. git: its own folder. common: that which all working trees of the repository share."""

    top: Path
    git: Path
    common: Path
    config: gitconfig.Config


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line of a .gitignore. matches: the whole of a path, or its last name if `anywhere`. folders: it is about those."""

    matches: bytes | re.Pattern[bytes]
    ignores: bool
    anywhere: bool
    folders: bool


def _parsed(content: bytes, file: str = "a .gitignore", fold: bool = False) -> tuple[_Rule, ...]:
    """Return the rules in a file. fold: names match in any case."""
    rules, left_out = [], []
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n")[:_MOST_LINES], 1):
        pattern = _trimmed(line.removesuffix(b"\r"))
        if not pattern or pattern.startswith(b"#"):
            continue
        ignores = not pattern.startswith(b"!")
        pattern = pattern[not ignores :]
        folders = pattern.endswith(b"/")
        pattern = pattern[: len(pattern) - folders]
        anywhere = b"/" not in pattern
        if len(pattern) > LONGEST or pattern.count(b"*") > MOST_STARS:
            left_out.append(number)
            continue
        with suppress(ValueError):  # nothing matches it
            found = matcher(pattern if anywhere else pattern.removeprefix(b"/"), name_only=anywhere, fold=fold)
            rules.append(_Rule(found, ignores, anywhere, folders))
    if left_out:
        logger.warning(
            "%s: line %d and %d others are left out, because they have more than %d bytes or %d stars",
            *(file, left_out[0], len(left_out) - 1, LONGEST, MOST_STARS),
        )
    return tuple(rules)


def _trimmed(line: bytes) -> bytes:
    """Return the line without the blanks at its end, unless a backslash is before them."""
    bare = line.rstrip(b" ")
    slashes = len(bare) - len(bare.rstrip(b"\\"))
    return line[: len(bare) + 1] if slashes % 2 else bare


def _verdict(rules: tuple[_Rule, ...], whole: bytes, folder: bool) -> bool | None:
    """Return what the last rule about this very path says; None if no rule is about it."""
    name = whole.rpartition(b"/")[2]
    for rule in reversed(rules):
        if rule.folders and not folder:
            continue
        subject = name if rule.anywhere else whole
        if rule.matches == subject if isinstance(rule.matches, bytes) else rule.matches.fullmatch(subject):
            return rule.ignores
    return None


def _git_folders(repository: Path) -> tuple[Path, Path]:
    """Return git's own folder of a working tree, and that which all working trees of the repository share."""
    git = repository / ".git"
    try:
        if git.is_file():
            with open(git, encoding="utf-8") as stream:
                git = repository / stream.read(4096).removeprefix("gitdir:").strip()
            shared = git / "commondir"
            if shared.is_file():
                with open(shared, encoding="utf-8") as stream:
                    return git, git / stream.read(4096).strip()
    except (OSError, ValueError):
        pass
    return git, git


def _shown(file: Path) -> str:
    """Return a path as the user would write it."""
    home = Path(os.path.expanduser("~"))
    return f"~/{file.relative_to(home).as_posix()}" if file.is_relative_to(home) else str(file)
