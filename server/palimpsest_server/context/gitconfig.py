"""Read git's configuration as far as it decides on what is ignored; runs no git and follows includes of few kinds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from palimpsest_server.context.wildmatch import matcher

__all__ = ["Config", "Setting", "config_of", "parsed"]

_DEPTH = 10  # of files that include each other, as in git
_MOST = 64  # files
_SECTION = re.compile(r'\[\s*([-.\w]+)\s*(?:"((?:\\.|[^"\\])*)")?\s*\]')
_KEY = re.compile(r"([A-Za-z][-\w]*)[ \t]*(?:=[ \t]*)?")
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b"}
_TRUE = ("true", "yes", "on", "1", "")

# A key with its section in lower case, and the text behind the equals sign.
Setting = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Config:
    """excludes: the user's own file of patterns. fold: names match in any case. hash_size: of objects, in bytes."""

    excludes: Path | None = None
    fold: bool = False
    hash_size: int = 20


def config_of(top: Path, git: Path, common: Path, read: Callable[[Path], tuple[Setting, ...]]) -> Config:
    """Return what holds in a repository.

    top: of its working tree. git, common: its own folder, and that which its worktrees share. read: returns the settings in a
    file, none if there is no such file.
    """
    files = [*_files(), common / "config", git / "config.worktree"]
    left = iter(range(_MOST))
    found = {key: value for file in files for key, value in _included(file, git, read, _DEPTH, left)}
    named = found.get("core.excludesfile")
    excludes = _home() / "ignore" if named is None else _path(named, top) if named else None
    size = 32 if found.get("extensions.objectformat", "").lower() == "sha256" else 20
    return Config(excludes, found.get("core.ignorecase", "no").lower() in _TRUE, size)


def _files() -> Iterator[Path]:
    """Yield the files that hold for all repositories, the strongest last."""
    environment = os.environ
    if environment.get("GIT_CONFIG_NOSYSTEM", "").lower() not in _TRUE[:-1]:
        yield Path(environment.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig")
    if "GIT_CONFIG_GLOBAL" in environment:
        yield Path(environment["GIT_CONFIG_GLOBAL"])
        return
    yield _home() / "config"
    yield Path(os.path.expanduser("~"), ".gitconfig")


def _home() -> Path:
    """Return git's folder in the user's configuration."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config"), "git")


def _path(value: str, folder: Path) -> Path:
    return folder / os.path.expanduser(value.removeprefix(":(optional)"))


def _included(
    file: Path, git: Path, read: Callable[[Path], tuple[Setting, ...]], depth: int, left: Iterator[int]
) -> Iterator[Setting]:
    """Yield the settings in a file, with those of the files that it includes in their places."""
    if next(left, None) is None:
        return
    for key, value in read(file):
        yield key, value
        if depth and _includes(key, file, git):
            yield from _included(_path(value, file.parent), git, read, depth - 1, left)


def _includes(key: str, file: Path, git: Path) -> bool:
    """Return whether a setting includes a file: always, or in repositories whose folder matches."""
    if key == "include.path":
        return True
    found = re.fullmatch(r"includeif\.gitdir(/i)?:(.*)\.path", key, re.DOTALL)
    if found is None:
        return False
    pattern = os.path.expanduser(found[2])
    if pattern.startswith("./"):
        pattern = str(file.parent) + pattern[1:]
    elif not os.path.isabs(pattern):
        pattern = f"**/{pattern}"
    if pattern.endswith("/"):
        pattern += "**"
    fold = found[1] is not None
    try:
        matches = matcher(os.fsencode(pattern.lstrip("/")), name_only=False, fold=fold)
    except ValueError:
        return False
    names = [os.fsencode(str(each).lstrip("/")) for each in (git, Path(os.path.realpath(git)))]
    names = [name.lower() for name in names] if fold else names
    return any(name == matches if isinstance(matches, bytes) else matches.fullmatch(name) for name in names)


def parsed(content: bytes) -> tuple[Setting, ...]:
    """Return the settings in a file in their order. What cannot be read is left out, and so is all that follows it."""
    text = content.decode("utf-8", "surrogateescape").removeprefix("\ufeff").replace("\r\n", "\n")
    found: list[Setting] = []
    section, at = "", 0
    while at < len(text):
        if text[at] in " \t\n":
            at += 1
        elif text[at] in "#;":
            at = _line_end(text, at)
        elif head := _SECTION.match(text, at):
            below = re.sub(r"\\(.)", r"\1", head[2], flags=re.DOTALL) if head[2] is not None else None
            section = head[1].lower() + ("" if below is None else f".{below}")
            at = head.end()
        elif section and (key := _KEY.match(text, at)):
            value, at = _value(text, key.end())
            found.append((f"{section}.{key[1].lower()}", value))
        else:
            break
    return tuple(found)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _value(text: str, at: int) -> tuple[str, int]:
    """Read a value to the end of its line, or of the lines that it goes on in. Returns the place behind it."""
    out: list[str] = []
    quoted, bare = False, 0  # blanks at the end count in quotes alone
    while at < len(text) and text[at] != "\n":
        char = text[at]
        if char == "\\":
            following = text[at + 1 : at + 2]
            at += 2
            if following != "\n":
                out.append(_ESCAPES.get(following, following))
                bare = len(out)
            continue
        if char == '"':
            quoted = not quoted
        elif char in "#;" and not quoted:
            at = _line_end(text, at)
            break
        else:
            out.append(char)
        if quoted or not char.isspace():
            bare = len(out)
        at += 1
    return "".join(out[:bare]), at
