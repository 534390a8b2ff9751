"""Which files the model never sees: secrets, what git ignores, what the user excludes; and secrets within other texts.

Knows paths and text, nothing of documents or settings. Reads no files but `.gitignore` and git's own exclude files.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

from palimpsest_server.documents.folders import covering

if TYPE_CHECKING:
    from _typeshed import StrPath

# A name, or with `/**` a folder and all that is in it; in lower case.
SECRETS: tuple[str, ...] = (
    *(
        ".env",
        ".env.*",
        "*.env",
        ".envrc",
        ".netrc",
        "_netrc",
        ".npmrc",
        ".pypirc",
        ".pgpass",
        ".htpasswd",
        ".git-credentials",
    ),
    *("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.kdb", "*.ppk", "*.asc", "*.gpg"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *(
        "credentials",
        "credentials.*",
        "*credentials.json",
        "*credentials.xml",
        "secrets.*",
        "*.secrets",
        "*secret.json",
    ),
    *("service-account*.json", "*.tfstate", "*.tfstate.*", "*.tfvars", "*.tfvars.json", "*.ovpn", "*.mobileprovision"),
    *(".aws/**", ".ssh/**", ".gnupg/**", ".kube/**", ".azure/**", ".config/gcloud/**", ".docker/config.json"),
)
_NO_SECRETS = ("*.example", "*.sample", "*.template", "*.dist", "*.pub", "*.example.*", "*.sample.*", "*.template.*")
# `credentials.py` is about credentials; `secrets.py` often is the place for them.
_CODE_SUFFIXES = (
    *(".c", ".cc", ".cpp", ".cs", ".go", ".h", ".java", ".js", ".jsx", ".kt", ".md", ".php", ".py", ".rb", ".rs"),
    *(".scala", ".swift", ".ts", ".tsx"),
)

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

REDACTED = "<redacted>"
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BLOCK = re.compile(_PRIVATE_KEY.pattern + r"[^-]*(?:-----END [A-Z0-9 ]{0,40}-----)?")
_TOKEN = re.compile(
    r"""\b(?:
        (?:AKIA|ASIA)[0-9A-Z]{16}\b
        | gh[pousr]_[A-Za-z0-9]{30,} | github_pat_\w{30,} | glpat-[\w-]{20,}
        | xox[abeprs]-[A-Za-z0-9-]{10,}
        | (?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,} | sk-(?:[a-z]+-)?[A-Za-z0-9_-]{32,}
        | AIza[\w-]{35} | ya29\.[\w-]{20,} | npm_[A-Za-z0-9]{36} | pypi-[\w-]{50,} | hf_[A-Za-z0-9]{30,}
        | SG\.[\w-]{16,}\.[\w-]{16,}
        | eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}
    )""",
    re.VERBOSE,
)
_URL = re.compile(r"(?<=://)([\w.%+-]{1,64}:)[^\s:/@'\"<>{}$]{3,200}(?=@)")
_ASSIGNED = re.compile(
    r"""(?i)
    (?P<name> (?P<password> passw(?:or)?d | passphrase | \bpwd)
      | secret | token | credential | api[_-]?key | access[_-]?key | private[_-]?key | auth[_-]?key | encryption[_-]?key )
    [\w-]{0,40} ["']?\]? [ \t]{0,20} (?: : [ \t]{0,4} [\w\[\]., |]{1,40} [ \t]{0,4} = | :=|=>|[=:] ) [ \t]{0,20}
    (?: (?P<quote>["'`]) (?P<value> [^"'`\s<>{}$]{6,512} ) (?P=quote)
      | (?P<bare> [A-Za-z0-9+/_=-]{16,512} ) (?=[ \t]*(?:[\r\n]|$)) )
    """,
    re.VERBOSE,
)


class Ignore:
    """What to keep from the model in some workspace folders. What git ignores is cached by the files' times."""

    def __init__(
        self, folders: Sequence[StrPath], secret_globs: Sequence[str] = SECRETS, extra_globs: Sequence[str] = ()
    ) -> None:
        """folders: of the workspace. extra_globs: the user's, as in `palimpsest.ignore`."""
        self._folders = tuple(Path(os.path.abspath(folder)) for folder in folders)
        self._real_folders = tuple(Path(os.path.realpath(folder)) for folder in self._folders)
        self._secrets = tuple(secret_globs)
        self._extra = tuple(extra_globs)
        self._files: dict[str, tuple[tuple[int, int, int], tuple[_Rule, ...]]] = {}

    def reason(self, path: StrPath) -> str:
        """Why a file is not for the model, or "". A link is judged by its own name and by where it leads.

        Never raises. A file outside of all folders may be judged, too; a link from inside of them to there is refused.
        """
        try:
            lexical, real = Path(os.path.abspath(path)), Path(os.path.realpath(path))
        except (OSError, ValueError):
            return "its path cannot be read"
        for each in dict.fromkeys((lexical, real)):
            if found := self._secret(each) or self._excluded(each):
                return found
        if _inside(lexical, self._folders) and not _inside(real, (*self._folders, *self._real_folders)):
            return "it lies outside of the workspace"
        return next((found for each in dict.fromkeys((lexical, real)) if (found := self._ignored(each))), "")

    def _secret(self, path: Path) -> str:
        name, parents = path.name.lower(), "/".join(path.parent.parts).lower()
        harmless = any(fnmatchcase(name, glob) for glob in _NO_SECRETS)
        code = name.startswith("credentials.") and path.suffix.lower() in _CODE_SUFFIXES
        for glob in self._secrets:
            folder, slash, last = glob.rpartition("/")
            if slash and last == "**":
                hit = f"/{folder}/" in f"{parents}/"
            elif slash:
                hit = f"{parents}/{name}".endswith(f"/{glob}")
            else:
                hit = not harmless and not code and fnmatchcase(name, glob)
            if hit:
                return f"its name says that it holds secrets ({glob})"
        return ""

    def _excluded(self, path: Path) -> str:
        glob = covering(self._extra, path)
        return f"palimpsest.ignore has {glob}" if glob else ""

    # git

    def _ignored(self, path: Path) -> str:
        """What git says: of each folder on the way down, then of the file, the last rule of the nearest file decides."""
        folder = next((each for each in (*self._folders, *self._real_folders) if path.is_relative_to(each)), None)
        repository = _repository(path.parent)
        if repository is None and folder is None:
            return ""
        top = repository if repository is not None else folder
        assert top is not None
        if (
            folder is not None
            and folder.is_relative_to(top)
            and folder != top
            and self._first(top, folder, path.parent)
        ):
            top = folder  # who opens an ignored folder wants to work in it
        return self._first(top, path, path.parent)

    def _first(self, top: Path, path: Path, parent: Path) -> str:
        """Why the path, or the first folder on the way to it from the top, is ignored."""
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
                    return "it is ignored by .gitignore"
                if verdict is not None:
                    break
        return ""

    def _rules(self, file: Path) -> tuple[_Rule, ...]:
        """The rules in a file, none if it cannot be read. git follows no links here, and neither does this."""
        try:
            found = os.lstat(file)
            if not stat.S_ISREG(found.st_mode):
                return ()
            key = (found.st_mtime_ns, found.st_size, found.st_ino)
            kept = self._files.get(str(file))
            if kept is None or kept[0] != key:
                with open(file, "rb") as stream:
                    kept = key, _parsed(stream.read(_LARGEST))
                if len(self._files) >= _MOST_FILES:
                    self._files.clear()
                self._files[str(file)] = kept
            return kept[1]
        except (OSError, ValueError):
            return ()


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line of a .gitignore. anywhere: it looks at the last name only. folders: it is about folders only."""

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
    """A pattern without what the library, or a regular expression, would choke on.

    With many stars in one name, matching takes for ever. Where the pattern is not kept exactly, more is ignored, not less.
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
    """What the last rule that is about this very path says; None if no rule is."""
    for rule in reversed(rules):
        if rule.folders and not folder:
            continue
        subject = path.rpartition("/")[2] if rule.anywhere else path
        subject += "/" if rule.folders else ""
        match = rule.regex.search(subject)
        if match is None:
            continue
        # The library takes what is in a folder for the folder, too; its mark is the slash after the folder's name.
        mark = match.start("ps_d") if "ps_d" in rule.regex.groupindex else -1
        if mark in (-1, len(subject) - 1):
            return rule.ignores
    return None


def _repository(folder: Path) -> Path | None:
    """The nearest folder upwards with a `.git` in it."""
    return next((each for each in (folder, *folder.parents) if os.path.lexists(each / ".git")), None)


def _exclude_file(repository: Path) -> Path:
    """git's own exclude file; a worktree's is the one of the repository that it belongs to."""
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


def _inside(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


# Text


def looks_secret(text: str) -> bool:
    """A text with a private key in it: a file of which nothing is to be shown."""
    return _PRIVATE_KEY.search(text) is not None


def redacted(text: str) -> str:
    """The text with `<redacted>` for tokens, keys, and what is assigned to names such as `password` and `api_key`.

    Names, quotes and line ends around them stay. Redacting twice changes nothing more.
    """
    text = _KEY_BLOCK.sub(REDACTED, text)
    text = _TOKEN.sub(REDACTED, text)
    text = _URL.sub(rf"\1{REDACTED}", text)
    return _ASSIGNED.sub(_without_value, text)


def _without_value(match: re.Match[str]) -> str:
    group = "value" if match["value"] is not None else "bare"
    value = match[group]
    digits, letters = (any(map(test, value)) for test in (str.isdigit, str.isalpha))
    if group == "bare":
        telling = sum(map(str.isdigit, value)) >= 3 and letters and len(value) >= 20
    else:
        telling = match["password"] is not None or (len(value) >= 16 and digits and letters)
    start, end = match.start(group) - match.start(), match.end(group) - match.start()
    return match[0][:start] + REDACTED + match[0][end:] if telling else match[0]
