"""Find out whether git ignores a file, by `.gitignore` and git's own exclude files; reads no others and runs no git."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from palimpsest_server.documents.latest import Latest

_LARGEST = 256 * 1024  # of a .gitignore, the rest is not read
_MOST_LINES = 5_000
_MOST_FILES = 1_024
_POSIX = re.compile(r"\[:(\w{1,8}):\]")
_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
    "space": " ",
    "blank": " ",
    "punct": "!-,./:-@_`{-}^",
}
_ODD_SET = re.compile(r"\[[^\]]*(?:\[|--|&&|\|\||~~)[^\]]*\]")


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
                    kept = key, _parsed(stream.read(_LARGEST))
                self._files[str(file)] = kept
            return kept[1]
        except (OSError, ValueError):
            return ()


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line of a .gitignore. anywhere: it matches the last name only. folders: it matches folders only."""

    regex: re.Pattern[str]
    ignores: bool
    anywhere: bool
    folders: bool


def _parsed(content: bytes) -> tuple[_Rule, ...]:
    rules = []
    for line in content.decode("utf-8-sig", "surrogateescape").split("\n")[:_MOST_LINES]:
        line = line.removesuffix("\r")
        try:
            (pattern,) = GitIgnoreSpec.from_lines([_plain(line)]).patterns
        except (ValueError, re.error):
            continue  # git takes no notice of such lines, either
        regex: re.Pattern[str] | None = getattr(pattern, "regex", None)
        if pattern.include is not None and regex is not None:
            plain = line.rstrip().removeprefix("!")
            rules.append(_Rule(regex, pattern.include, "/" not in plain.rstrip("/"), plain.endswith("/")))
    return tuple(rules)


def _plain(line: str) -> str:
    """Take out of a pattern what the library, or a regular expression, cannot read.

    With many stars in one name, matching would take for ever. A pattern that is not kept exactly ignores more, not less.
    """
    line = _POSIX.sub(lambda found: _CLASSES.get(found[1], ""), line)
    negated = line.startswith("!")
    line = _ODD_SET.sub("" if negated else "?", line)
    names = line.split("/")
    for i, name in enumerate(names):
        if name.count("*") > 4 and name.strip("*"):
            names[i] = "" if negated else name[: name.index("*")] + name[name.rindex("*") :]
    return "/".join(names)


def _verdict(rules: tuple[_Rule, ...], path: str, folder: bool) -> bool | None:
    """Return what the last rule about this very path says; None if no rule is about it."""
    for rule in reversed(rules):
        if rule.folders and not folder:
            continue
        subject = path.rpartition("/")[2] if rule.anywhere else path
        subject += "/" if rule.folders else ""
        match = rule.regex.search(subject)
        if match is None:
            continue
        # The library matches the contents of a folder like the folder itself; its mark is the slash after the folder's name.
        mark = match.start("ps_d") if "ps_d" in rule.regex.groupindex else -1
        if mark in (-1, len(subject) - 1):
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
