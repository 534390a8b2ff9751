"""Find secrets in a text: private keys, tokens, passwords; knows text alone.

Every pattern takes time that grows as the text does: repetitions are bounded, or cannot give back what they took.
"""

from __future__ import annotations

import re
from collections.abc import Callable

REDACTED = "<redacted>"
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_KEY_BLOCK = re.compile(_PRIVATE_KEY.pattern + r"[^-]*+(?:-----END [A-Z0-9 ]{0,40}-----)?")

# Tokens that say what they are, and their beginnings.
_TOKENS = (
    *(
        "akia",
        "asia",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "gldt-",
        "glrt-",
        "glcbt-",
        "glptt-",
        "glft-",
    ),
    *(
        "glagent-",
        "xox",
        "xapp-",
        "sk_",
        "pk_",
        "rk_",
        "whsec_",
        "sk-",
        "aiza",
        "ya29.",
        "gocspx-",
        "npm_",
        "pypi-",
        "hf_",
        "dapi",
    ),
    *("hvs.", "dop_v1_", "doo_v1_", "dor_v1_", "shpat_", "shpca_", "shppa_", "shpss_", "sq0", "atatt3", "sg.", "key-"),
    *("age-secret-key-1", "lin_api_"),
)
_TOKEN = re.compile(
    r"""\b(?:
        (?:AKIA|ASIA)[0-9A-Z]{16}\b
      | gh[pousr]_[A-Za-z0-9]{30,255} | github_pat_\w{30,255} | gl(?:pat|dt|rt|cbt|ptt|ft|agent)-[\w-]{20,255}
      | xox[abeprs]-[A-Za-z0-9-]{10,255} | xapp-[A-Za-z0-9-]{10,255}
      | (?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,255} | whsec_[A-Za-z0-9+/=]{20,255} | sk-(?:[a-z]{1,16}-)?[\w-]{32,255}
      | AIza[\w-]{35} | ya29\.[\w-]{20,1024} | GOCSPX-[\w-]{20,64}
      | npm_[A-Za-z0-9]{36} | pypi-[\w-]{50,512} | hf_[A-Za-z0-9]{30,64} | dapi[0-9a-f]{32} | hvs\.[\w-]{20,255}
      | do[opr]_v1_[0-9a-f]{64} | shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32} | sq0[a-z]{3}-[\w-]{22,64} | ATATT3[\w=-]{50,512}
      | SG\.[\w-]{16,64}\.[\w-]{16,64} | key-[0-9a-f]{32}\b | AGE-SECRET-KEY-1[0-9A-Z]{50,64} | lin_api_\w{32,64}
    )""",
    re.VERBOSE,
)
_JWT = re.compile(r"(?<![\w.-])eyJ[\w-]{10,4096}+\.eyJ[\w-]{10,8192}+\.[\w-]{10,2048}")
_TELEGRAM = re.compile(r"\b\d{8,10}:AA[\w-]{33}(?![\w-])")
_DISCORD = re.compile(r"(?<![\w.-])[MNO][A-Za-z\d_-]{23,27}\.[\w-]{6}\.[\w-]{27,38}(?![\w-])")
_WEBHOOK = re.compile(
    r"""(?x)(?<=://)(
        hooks\.slack\.com/(?:services|workflows|triggers)/ | (?:ptb\.|canary\.)?discord(?:app)?\.com/api/webhooks/
      | hooks\.zapier\.com/hooks/catch/ | [\w.-]{1,64}\.webhook\.office\.com/webhookb2/ | api\.telegram\.org/bot
    )[^\s"'`<>)\\]{8,512}"""
)
_URL = re.compile(r"(?<=://)([\w.%+~-]{0,64}:)(?![{<%$])([^\s/@'\"<>]{2,200})(?=@)")
_KEY_OF_CONNECTION = re.compile(
    r"""(?xi)\b((?:account|sharedaccess|primary|secondary)key[ \t]{0,4}=[ \t]{0,4}|[?&]sig=|sharedaccesssignature=)
      [\w+/%=-]{20,512}
    | (?<=;)([ \t]{0,4}(?:password|pwd)[ \t]{0,4}=[ \t]{0,4})(?![{<%$])[^;"'`\s][^;"'`\r\n]{0,200}"""
)
_HEADER = re.compile(
    r"""(?xi)\b(
        authorization["'`]?[ \t]{0,4}(?:[:=,]|=>)[ \t]{0,4}["'`]?(?:(?:bearer|basic|token|apikey|key|digest)[ \t]{1,4})?
      )(?![{<%$])([\w.~+/=-]{6,4096}+)(?![\w(\[.]) | \b((?:bearer|basic)[ \t]{1,4})([\w.~+/=-]{16,4096})"""
)
_ELEMENT = re.compile(r"(?i)(<[\w:.-]{0,40}(?:password|passwd|secret|token|apikey)>)(?![{<%$])[^<>\r\n]{1,200}(?=</)")

# Values that are given to names. What is quoted may have blanks in it; what is not ends with its line.
_ASSIGNED = re.compile(
    r"""(?xi)
    (?P<name> (?P<password> passw(?:or)?d | passphrase | passwort | \bpwd | (?:\b|_)pass(?![a-z]) )
      | secret | token(?!i[sz]) | credential | api[_-]?key | access[_-]?key | account[_-]?key | private[_-]?key | auth[_-]?key
      | encryption[_-]?key | signing[_-]?key | master[_-]?key )
    (?P<rest> [\w-]{0,40}+ ) ["'`]?\]? [ \t]{0,20}
    (?P<sign> : [ \t]{0,4} [\w\[\]., |]{1,40} [ \t]{0,4} = (?!=) | :=|=>|[=!]={1,2}|[=:] ) (?P<gap> [ \t]{0,20} )
    (?: [a-z]{0,2} (?: " (?P<double> (?:[^"\\\r\n]|\\.){1,512} ) " | ' (?P<single> (?:[^'\\\r\n]|\\.){1,512} ) '
      | ` (?P<back> [^`\r\n]{1,512} ) ` )
      | (?P<bare> [^\s"'`\#,;(\[{<][^\s\#]{3,511}+ ) (?= [ \t]{0,20} (?: [\r\n] | $ | \#) )
    )
    """
)
# Names about a password, not of one; in snake case and in camel case.
_ABOUT = re.compile(
    r"(?:[_-]|(?<=[a-z])(?=[A-Z]))(?i:about|age|algorithm|attempt|changed?|char|confirm[a-z]*|count|dialog|error|expir[a-z]*"
    r"|field|file|form|(?P<hash>hash(?:ed)?)|help|hint|input|invalid|label|len|length|max|message|min|mode|mismatch|msg|name|path"
    r"|pattern|placeholder|policy|prompt|regexp?|required|reset|rule|strength|text|title|type|ur[il]|valid[a-z]*|link|page|view"
    r"|button|screen|endpoint|kind|class|tab|column|header|manager|service|provider|store|env|var|option|flag|scheme|format)s?"
    r"(?![a-z])"
)
_PLACEHOLDER = re.compile(
    r"""(?xi)
      \$\{|\$\(|\{\{|\{[\w.!:\[\]]{0,40}\}|%\(|%[sdr]\b|\#\{ | ://[^/]{0,200}/
    | ^(?: <.*> | \$\w+ | %\w+% | \[.*\] | \*+ | x+ | \.+ | -+ | _+ )$
    | ^(?:none|null|nil|true|false|yes|no|undefined|optional|required|string|str|text|bytes|redacted|<redacted>|changeme)$
    | ^(?:your|enter|insert|change|replace)[ _-]?(?:me|this|it|your|own)?[ _-] | ^(?:/|~/|\./|\.\./)
    """
)
# What stands without quotes in code: calls, members, types with a number, the beginnings and ends of expressions.
_CODE = re.compile(
    r"""(?x)
      [,;({\[\\|:]$ | ^[\w.$:>?-]{1,200}+[(\[{<] | ^[)\]}>=|&] | => | :=
    | ^[&*@!~\#]{0,2}[A-Za-z_$][\w$]*+(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*+)+[)\]!?*]*$
    | ^(?:u?int|float|fixed|bytes|bits|string|n?varchar|char|utf|sha|md|base|vec|mat|[iuf])_?\d+(?:\W|_|$)
    """
)
_REFERENCE = re.compile(r"(?i)passw|passphrase|pwd|secret|token|cred|key|hash|value|input|param|config|settings|field")
_INNER = re.compile(r"\w[!@#^~$]+\w|\$\$")
_WORD = re.compile(r"[A-Za-z_$][\w$]*\Z")


def looks_secret(text: str) -> bool:
    """Return whether a text has a private key in it, so that nothing of its file may be shown."""
    return _PRIVATE_KEY.search(text) is not None


def redacted(text: str) -> str:
    """Replace tokens, keys, and values that are given to names like `password` or `api_key` with `<redacted>`.

    Names, quotes and line ends around them stay. Redacting twice changes nothing more.
    """
    for words, pattern, replacement in _RULES:
        lowered = text.lower()
        if any(word in lowered for word in words):
            text = pattern.sub(replacement, text)
    return text


def _of_url(found: re.Match[str]) -> str:
    return found[0] if _PLACEHOLDER.search(found[2]) else f"{found[1]}{REDACTED}"


def _of_header(found: re.Match[str]) -> str:
    """Redact what follows `Authorization:`, and behind a mere `Bearer` or `Basic` what no word looks like."""
    if found[1] is not None:
        words = {"bearer", "basic", "token", "digest", "apikey", "key", "none", "null", "string", "str"}
        return found[0] if found[2].lower() in words or not _has(found[2], str.isdigit) else found[1] + REDACTED
    return found[3] + REDACTED if _random(found[4]) else found[0]


def _of_name(found: re.Match[str]) -> str:
    group = next(name for name in ("double", "single", "back", "bare") if found[name] is not None)
    judge = _chosen_bare if group == "bare" else _chosen
    if not judge(found, found[group]):
        return found[0]
    start, end = found.start(group) - found.start(), found.end(group) - found.start()
    return found[0][:start] + REDACTED + found[0][end:]


def _chosen(found: re.Match[str], value: str) -> bool:
    """Return whether a quoted value is a secret that was chosen or handed out, by the name that it is given to."""
    if _PLACEHOLDER.search(value):
        return False
    about = _about(found)
    if about and not about["hash"]:
        return False
    if found["password"] is None or about:
        return not re.search(r"\s", value) and len(value) >= 16 and _random(value)
    if re.fullmatch(r"[\W\d_]*[A-Za-z_ :.,'’?!-]*", value) and re.search(r"(?i)passw|passphrase|pwd|_", value):
        return False  # a label, or a name
    if found["name"].lower().lstrip("_") in ("pass", "pwd"):
        return len(value) >= 6 and _mixed(value) and "/" not in value
    return len(value) >= 4


def _chosen_bare(found: re.Match[str], value: str) -> bool:
    """Return whether what is given without quotes is a secret: in code, that is an expression or a type."""
    if _PLACEHOLDER.search(value) or _about(found):
        return False
    name, tight = found["name"] + found["rest"], found["sign"] == "=" and not found["gap"]
    variable = tight and name.isupper()  # of an environment
    if found["sign"] not in ("=", ":") or (_CODE.search(value) and not (variable and _INNER.search(value))):
        return False
    if value[-1] in ")]}" and not variable:
        return False
    if found["password"] is None:
        if not re.fullmatch(r"[\w+/=.~-]{16,512}", value):
            return False
        if re.search(r"[+/=]", value):
            return len(value) >= 20 and all(_has(value, test) for test in (str.isdigit, str.isupper, str.islower))
        return len(value) >= 20 and sum(map(str.isdigit, value)) >= 3 and _has(value, str.isalpha)
    if found["name"].lower() == "pwd" and "/" in value:
        return False
    if variable:
        return True
    plain = value.strip("!?*&~#@")
    if _WORD.fullmatch(plain) and ((_REFERENCE.search(plain) and plain == value) or _camel(plain)):
        return False
    return len(value) >= 6 and (_mixed(plain) or _INNER.search(plain) is not None)


def _about(found: re.Match[str]) -> re.Match[str] | None:
    return _ABOUT.search(found.string, found.start("rest"), found.end("rest"))  # it looks at what is before, too


def _camel(word: str) -> bool:
    """Return whether a word is a name made of several, as types and variables are."""
    return re.search(r"[a-z0-9][A-Z]", word) is not None


def _has(value: str, test: Callable[[str], bool]) -> bool:
    return any(map(test, value))


def _mixed(value: str) -> bool:
    return _has(value, str.isdigit) and _has(value, str.isalpha)


def _random(value: str) -> bool:
    """Return whether a value has digits and letters, and is no name or address made of words."""
    return _mixed(value) and not re.fullmatch(r"[A-Za-z]+(?:[-_./ ][A-Za-z]+)*[-_./ ]?\d{0,4}", value)


# What is looked for, in this order, and with what it is replaced. Without one of its words, in lower case, nothing is found;
# most texts have none, and looking for them is a hundred times as fast.
_RULES: tuple[tuple[tuple[str, ...], re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (("private key",), _KEY_BLOCK, REDACTED),
    (_TOKENS, _TOKEN, REDACTED),
    (("eyj",), _JWT, REDACTED),
    ((":aa",), _TELEGRAM, REDACTED),
    ((".",), _DISCORD, REDACTED),
    (("hook", "api.telegram.org"), _WEBHOOK, rf"\1{REDACTED}"),
    (("://",), _URL, _of_url),
    (("key", "sig", "password", "pwd"), _KEY_OF_CONNECTION, lambda found: f"{found[1] or found[2]}{REDACTED}"),
    (("authorization", "bearer ", "basic "), _HEADER, _of_header),
    (("</",), _ELEMENT, rf"\1{REDACTED}"),
    (("pass", "pwd", "secret", "token", "credential", "key"), _ASSIGNED, _of_name),
)
