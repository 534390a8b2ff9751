"""Match paths by git's patterns, in time that grows with path times pattern at most; bytes only, knows no files.

A pattern becomes a regular expression whose every choice is final: after a star, the first place where the next piece fits
serves as well as any later one, so the search for it is an atomic group.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

__all__ = ["LONGEST", "MOST_STARS", "matcher"]

LONGEST, MOST_STARS = 1_024, 32  # bytes and stars of a pattern
_SPECIAL = re.compile(rb"[*?\[\\]")
_NAME = "[^/]"
_NEVER = "(?!)"
_SPACE = b" \t\n\r"
_CLASSES: dict[bytes, bytes] = {
    b"alnum": (string.ascii_letters + string.digits).encode(),
    b"alpha": string.ascii_letters.encode(),
    b"blank": b" \t",
    b"cntrl": bytes([*range(32), 127]),
    b"digit": string.digits.encode(),
    b"graph": bytes(range(33, 127)),
    b"lower": string.ascii_lowercase.encode(),
    b"print": bytes(range(32, 127)),
    b"punct": string.punctuation.encode(),
    b"space": _SPACE,
    b"upper": string.ascii_uppercase.encode(),
    b"xdigit": string.hexdigits.encode(),
}
# A regular expression for one byte, or a star.
_Name: TypeAlias = list[str]
_STAR, _STARS, _END = "*", "**", "/"


def matcher(pattern: bytes, *, name_only: bool, fold: bool = False) -> bytes | re.Pattern[bytes]:
    """Return what matches the whole of a path, or of a name: the very bytes, or an expression for `fullmatch`.

    pattern: without `!` and the slash at its end. name_only: it has no slash. fold: the path is in lower case, and stands for
    that in any case. Raises ValueError if it has too many stars, is too long, or matches nothing.
    """
    if len(pattern) > LONGEST:
        raise ValueError(f"it has more than {LONGEST:,} bytes")
    if pattern.count(b"*") > MOST_STARS:
        raise ValueError(f"it has more than {MOST_STARS} stars")
    special = _SPECIAL.search(pattern)
    if special is None:
        return pattern.lower() if fold else pattern
    if name_only:
        return _compiled(_name([_STAR if each == _STARS else each for each in _tokens(pattern, fold)]))
    # As in git, two stars right after the plain beginning mean all folders, though no slash stands before them.
    start = special.start()
    plain, rest = pattern[:start], pattern[start:].lstrip(b"*")
    tokens = [*_tokens(pattern, fold)]
    if pattern.startswith(b"**", start) and plain and not plain.endswith(b"/") and rest[:1] in (b"", b"/"):
        before = "".join(map(_byte, plain.lower() if fold else plain))
        behind = _names(tokens[start + 2 :])  # what follows the slash behind the stars
        if not rest or all(each == [_STARS] for each in behind):
            return _compiled(before + ".*")
        return _compiled(f"{before}(?:{_path(behind)}|{_NAME}*/{_path([[_STARS], *behind])})")
    return _compiled(_path(_names(tokens)))


def _compiled(expression: str) -> re.Pattern[bytes]:
    return re.compile(expression.encode("latin-1"), re.DOTALL)


def _tokens(pattern: bytes, fold: bool) -> Iterator[str]:
    """Yield an expression for each byte that is to be matched, stars, and slashes. Raises ValueError: nothing matches.

    As in git, a capital letter behind a backslash is no small one.
    """
    at = 0
    while at < len(pattern):
        char = pattern[at : at + 1]
        at += 1
        if char == b"*":
            end = at
            while pattern[end : end + 1] == b"*":
                end += 1
            yield _STARS if end > at else _STAR
            at = end
        elif char == b"?":
            yield _NAME
        elif char == b"[":
            found, at = _set(pattern, at, fold)
            yield found
        else:
            if char == b"\\":
                char = pattern[at : at + 1]
                at += 1
                if not char:
                    raise ValueError("it ends with a backslash")
            elif fold:
                char = char.lower()
            yield _END if char == b"/" else _byte(char[0])


def _byte(byte: int) -> str:
    return f"\\x{byte:02x}"


def _set(pattern: bytes, at: int, fold: bool) -> tuple[str, int]:
    """Read a set from behind its bracket on, as git does. Returns an expression, and the place behind the set.

    As in git, case is folded in ranges and classes, and not in single letters.
    """
    negated = pattern[at : at + 1] in (b"!", b"^")
    at += negated
    found, last, first = set[int](), -1, True
    while first or pattern[at : at + 1] != b"]":
        first = False
        char = _at(pattern, at)
        if char == ord("\\"):
            at += 1
            last = _at(pattern, at)
            found.add(last)
        elif char == ord("-") and last >= 0 and pattern[at + 1 : at + 2] not in (b"", b"]"):
            at += 1
            if _at(pattern, at) == ord("\\"):
                at += 1
            found.update(_folded(range(last, _at(pattern, at) + 1), fold))
            last = -1
        elif pattern.startswith(b"[:", at):
            end = pattern.find(b"]", at + 2)
            if end < 0:
                raise ValueError("a set has no end")
            if end < at + 3 or pattern[end - 1 : end] != b":":  # a bracket like any other character
                found.add(char)
                last = char
            else:
                name = pattern[at + 2 : end - 1]
                if name not in _CLASSES:
                    raise ValueError("there is no such class of characters")
                found.update(_folded(_CLASSES[name], fold and name == b"upper"))
                at, last = end, -1
        else:
            found.add(char)
            last = char
        at += 1
    chosen = (set(range(256)) - found if negated else found) - {ord("/")}
    return f"[{''.join(map(_byte, sorted(chosen)))}]" if chosen else _NEVER, at + 1


def _folded(several: Iterable[int], fold: bool) -> Iterator[int]:
    """Yield bytes, and the small letters of capital ones."""
    for byte in several:
        yield byte
        if fold and ord("A") <= byte <= ord("Z"):
            yield byte + 32


def _at(pattern: bytes, at: int) -> int:
    if at >= len(pattern):
        raise ValueError("a set has no end")
    return pattern[at]


def _names(tokens: Sequence[str]) -> list[_Name]:
    """Split at the slashes; two stars are those only if they are alone between slashes."""
    names: list[_Name] = [[]]
    for each in tokens:
        if each == _END:
            names.append([])
        else:
            names[-1].append(each)
    return [each if each == [_STARS] else [_STAR if one == _STARS else one for one in each] for each in names]


def _path(names: Sequence[_Name]) -> str:
    """Return an expression for a path up to its end."""
    parts = [""]
    deep = [False]
    for i, each in enumerate(names):
        if each != [_STARS]:
            parts[-1] += _name(each) + ("/" if i < len(names) - 1 else r"\Z")
        elif i == len(names) - 1:
            parts[-1] += ".+"
        elif parts[-1] or not deep[-1]:
            parts.append("")
            deep.append(True)
    return "".join(
        f"(?>(?:{_NAME}+/)*?{part})" if anywhere else part for part, anywhere in zip(parts, deep, strict=True)
    )


def _name(tokens: _Name) -> str:
    """Return an expression for one name, from its start to its end. No name of a path is empty."""
    pieces = [""]
    for each in tokens:
        if each == _STAR:
            pieces.append("")
        else:
            pieces[-1] += each
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    inner = "".join(f"(?>{_NAME}*?{piece})" for piece in middle if piece)
    return f"(?>{first}{inner}{_NAME}*{last}(?!{_NAME}))"
