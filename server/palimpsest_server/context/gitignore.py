"""Find out whether git ignores a file, by `.gitignore` and git's own exclude files; reads no others and runs no git."""

from __future__ import annotations

import codecs
import logging
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from palimpsest_server.context.wildmatch import LONGEST, MOST_STARS, matcher
from palimpsest_server.documents.latest import Latest

logger = logging.getLogger(__name__)

_LARGEST = 256 * 1024  # of a .gitignore, the rest is not read
_MOST_LINES = 5_000
_MOST_FILES = 1_024


class GitIgnore:
    """The rules for some workspace folders, cached by the files' times."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        self._files = Latest[str, tuple[tuple[int, int, int], tuple[_Rule, ...]]](_MOST_FILES)

    def ignores(self, path: Path) -> bool:
        """Return whether git ignores a file.

        The folders on the way down are asked first, then the file; of the rules about each the last one in the nearest file
        decides.
        """
        folder = next((each for each in self._folders if path.is_relative_to(each)), None)
        top = _repository(path.parent) or folder
        if top is None:
            return False
        inner = folder is not None and folder != top and folder.is_relative_to(top)
        if inner and folder is not None and self._first(top, folder, path.parent):
            top = folder  # the user opened an ignored folder to work in it
        return self._first(top, path, path.parent)

    def _first(self, top: Path, path: Path, parent: Path) -> bool:
        """Return whether the path, or a folder on the way to it from the top, is ignored."""
        levels = [self._rules(_exclude_file(top))] if (top / ".git").exists() else []
        base = [top] * len(levels)
        at = top
        names = path.relative_to(top).parts
        for depth, name in enumerate(names):
            levels.append(self._rules(at / ".gitignore"))
            base.append(at)
            at = at / name
            folder = depth < len(names) - 1 or at == parent or parent.is_relative_to(at)
            for place, rules in zip(reversed(base), reversed(levels), strict=True):
                verdict = _verdict(rules, at.relative_to(place).as_posix(), folder)
                if verdict:
                    return True
                if verdict is not None:
                    break
        return False

    def _rules(self, file: Path) -> tuple[_Rule, ...]:
        """Return the rules in a file, none if it cannot be read. As git does, follow no links."""
        try:
            found = os.lstat(file)
            if not stat.S_ISREG(found.st_mode):
                return ()
            key = (found.st_mtime_ns, found.st_size, found.st_ino)
            kept = self._files.get(str(file))
            if kept is None or kept[0] != key:
                with open(file, "rb") as stream:
                    kept = key, _parsed(stream.read(_LARGEST), str(file))
                self._files[str(file)] = kept
            return kept[1]
        except (OSError, ValueError):
            return ()


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line of a .gitignore. matches: the whole of a path, or its last name if `anywhere`. folders: it is about those."""

    matches: bytes | re.Pattern[bytes]
    ignores: bool
    anywhere: bool
    folders: bool


def _parsed(content: bytes, file: str = "a .gitignore") -> tuple[_Rule, ...]:
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
            found = matcher(pattern if anywhere else pattern.removeprefix(b"/"), name_only=anywhere)
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


def _verdict(rules: tuple[_Rule, ...], path: str, folder: bool) -> bool | None:
    """Return what the last rule about this very path says; None if no rule is about it."""
    whole = os.fsencode(path)
    name = whole.rpartition(b"/")[2]
    for rule in reversed(rules):
        if rule.folders and not folder:
            continue
        subject = name if rule.anywhere else whole
        if rule.matches == subject if isinstance(rule.matches, bytes) else rule.matches.fullmatch(subject):
            return rule.ignores
    return None


def _repository(folder: Path) -> Path | None:
    """Return the nearest folder upwards with a `.git` in it."""
    return next((each for each in (folder, *folder.parents) if os.path.lexists(each / ".git")), None)


def _exclude_file(repository: Path) -> Path:
    """Return git's own exclude file; a worktree's is the one of the repository that it belongs to."""
    git = repository / ".git"
    try:
        if git.is_file():
            with open(git, encoding="utf-8") as stream:
                git = repository / stream.read(4096).removeprefix("gitdir:").strip()
            common = git / "commondir"
            if common.is_file():
                with open(common, encoding="utf-8") as stream:
                    git = git / stream.read(4096).strip()
    except (OSError, ValueError):
        pass
    return git / "info" / "exclude"
