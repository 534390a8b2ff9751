"""Find secrets in a text: private keys, tokens, passwords; knows text alone."""

from __future__ import annotations

import re

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


def looks_secret(text: str) -> bool:
    """Return whether a text has a private key in it, so that nothing of its file may be shown."""
    return _PRIVATE_KEY.search(text) is not None


def redacted(text: str) -> str:
    """Replace tokens, keys, and values that are assigned to names like `password` or `api_key` with `<redacted>`.

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
