"""Keep the tokens of a team's users in a file: their SHA-256 only, replaced atomically.

A token is 256 random bits, so nothing slower than SHA-256 is needed to keep it from being guessed.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from palimpsest_engine import PalimpsestError

_PREFIX = "pal_"
_LARGEST = 16 * 2**20  # bytes of the file; some 100,000 tokens
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)


class TokensUnreadable(PalimpsestError):
    """The file of tokens cannot be used."""


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One user's token. id: to tell it from others, and no secret. sha256: of the token. created: a date."""

    id: str
    user: str
    sha256: str
    created: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    tokens: tuple[Token, ...]


def add(path: Path, user: str) -> str:
    """Write a new token of a user into the file, which is made if need be, and return it: it is shown nowhere else."""
    if not _USER.fullmatch(user):
        raise PalimpsestError(f"A user's name has 1 to 64 letters, digits, dots, dashes, and @ or +, unlike {user!r}.")
    secret = _PREFIX + secrets.token_urlsafe(32)
    digest = _digest(secret)
    token = Token(digest[:8], user, digest, time.strftime("%Y-%m-%d", time.gmtime()))
    with _locked(path):
        _write(path, (*(read(path) if path.exists() else ()), token))
    return secret


def revoke(path: Path, user: str) -> int:
    """Take all tokens of a user, or the one with that id, out of the file. Returns how many there were."""
    with _locked(path):
        tokens = read(path)
        kept = tuple(token for token in tokens if user not in (token.user, token.id))
        if len(kept) < len(tokens):
            _write(path, kept)
    return len(tokens) - len(kept)


def read(path: Path) -> tuple[Token, ...]:
    """Return what is in the file. Raises TokensUnreadable."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                raise TokensUnreadable(f"{path} is no file of tokens.")
            if sys.platform != "win32" and status.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                raise TokensUnreadable(f"Others than you can read or change {path}: `chmod 600` it.")
            packed = file.read(_LARGEST)
    except FileNotFoundError:
        raise TokensUnreadable(f"There is no {path}: `palimpsest team token add USER` makes it.") from None
    except OSError as error:
        raise TokensUnreadable(f"{path} cannot be read: {error.strerror}.") from None
    try:
        found = msgspec.json.decode(packed, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TokensUnreadable(f"{path} is no file of tokens: {error}") from None
    if found.version != 1:
        raise TokensUnreadable(f"{path} was written by a newer version of Palimpsest.")
    return found.tokens


class Tokens:
    """Says whose a token is; reads the file again whenever it has become another one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] = ()
        self._users: dict[str, str] = {}

    def user_of(self, token: str) -> str | None:
        """Return the user, or None if nobody has that token. Raises TokensUnreadable: then nobody is let in."""
        self._refresh()
        return self._users.get(_digest(token))

    def _refresh(self) -> None:
        try:
            status = os.stat(self.path)
        except OSError:
            self._seen, self._users = (), {}
            raise TokensUnreadable(f"{self.path} cannot be read.") from None
        now = (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode, status.st_dev)
        if now != self._seen:
            self._seen, self._users = (), {}
            self._users = {token.sha256: token.user for token in read(self.path)}
            self._seen = now


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _write(path: Path, tokens: tuple[Token, ...]) -> None:
    packed = msgspec.json.format(msgspec.json.encode(_File(1, tokens)), indent=1)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(packed + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time change the file."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sys.platform == "win32":  # Ray Serve does not run a team there
        yield
        return
    import fcntl

    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
