"""Read licences from package metadata as SPDX expressions and say which are permissive; fetches and writes nothing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email.parser import Parser


@dataclass(frozen=True, slots=True)
class Licence:
    """An SPDX expression, empty where nothing is clear, and the place it was read from."""

    spdx: str
    read_from: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The SPDX identifiers that are accepted, and the identifiers that free-text spellings mean."""

    permissive: frozenset[str]
    spellings: dict[str, str]

    def accepts(self, expression: str) -> bool:
        """Return whether every AND term of the expression has an OR alternative on the list (no WITH, no nesting beyond
        that)."""
        terms = re.split(r"\s+AND\s+", expression.replace("(", "").replace(")", ""))
        return bool(expression) and all(
            any(a.strip() in self.permissive for a in re.split(r"\s+OR\s+|/", t)) for t in terms
        )

    def spelled(self, text: str) -> str:
        """Return the SPDX identifier a free text means, or an empty string."""
        text = text.strip()
        return text if text in self.permissive else self.spellings.get(text, "")


def of_python_metadata(metadata: str, rules: Rules) -> Licence:
    """Return the licence a wheel's METADATA or an sdist's PKG-INFO names: the expression, else the classifiers, else the
    field."""
    fields = Parser().parsestr(metadata, headersonly=True)
    if expression := fields.get("License-Expression"):
        return Licence(expression, "License-Expression")
    found = [c.rsplit(" :: ", 1)[-1] for c in fields.get_all("Classifier", []) if c.startswith("License ::")]
    found = [name for name in found if name != "OSI Approved"]
    if found and all(name in rules.spellings for name in found):
        return Licence(" AND ".join(sorted({rules.spellings[name] for name in found})), "Classifier")
    text = (fields.get("License") or "").strip()
    if found or text in ("", "UNKNOWN"):  # a classifier that is not known outweighs a free text that is
        return Licence("", "Classifier" if found else "")
    spdx = rules.spelled(text.splitlines()[0])
    return Licence(spdx or (text if rules.accepts(text) else of_text(text)), "License")


# Sentences that only this licence has (lower case, single spaces), and ones that it must not have.
_TEXTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "MIT": (
        (
            "permission is hereby granted, free of charge, to any person obtaining a copy",
            "the above copyright notice and this permission notice shall be included in all",
        ),
        ("except as contained in this notice", "shall be used for good, not evil"),
    ),
    "ISC": (
        (
            "permission to use, copy, modify, and",
            "distribute this software for any purpose with or without fee is hereby",
        ),
        (),
    ),
    "BSD-3-Clause": (
        ("redistribution and use in source and binary forms", "neither the name", "endorse or promote products"),
        ("all advertising materials",),
    ),
    "BSD-2-Clause": (
        ("redistribution and use in source and binary forms", "redistributions of source code must retain"),
        ("all advertising materials", "neither the name", "endorse or promote", "redistributions in any form"),
    ),
    "Apache-2.0": (("apache license version 2.0, january 2004", "terms and conditions for use, reproduction"), ()),
    "Unlicense": (("this is free and unencumbered software released into the public domain",), ()),
    "Zlib": (
        ("this software is provided 'as-is', without any express or implied warranty", "altered source versions"),
        (),
    ),
}
_OTHERS = re.compile(
    r"general public licen[cs]e|mozilla public|commercial|non-?commercial|creative commons|eclipse public"
)


def of_text(text: str) -> str:
    """Return the SPDX identifier of a licence's own text; empty if it is none of the common ones, or several, or has
    additions."""
    flat = re.sub(r"[\s*#/]+", " ", text.lower())
    found = [
        spdx
        for spdx, (has, lacks) in _TEXTS.items()
        if all(sentence in flat for sentence in has) and not any(sentence in flat for sentence in lacks)
    ]
    others = _OTHERS.search(re.sub(r"commercial damages|commercial loss", "", flat))
    return found[0] if len(found) == 1 and (found == ["Apache-2.0"] or not others) else ""


def of_npm_manifest(package_json: str, rules: Rules) -> Licence:
    """Return the licence a package.json names; nothing where it is no JSON, or points to a file."""
    try:
        manifest = json.loads(package_json)
    except ValueError:
        return Licence("", "")
    stated = manifest.get("license", manifest.get("licenses")) if isinstance(manifest, dict) else None
    options = stated if isinstance(stated, list) else [stated]
    names = [str(option.get("type", "")) if isinstance(option, dict) else str(option or "") for option in options]
    if not any(names) or any(name.upper().startswith("SEE LICENSE") for name in names):
        return Licence("", "")
    return Licence(" OR ".join(rules.spelled(name) or name for name in names), "package.json")


class DebianCopyright:
    """The licence of each file of a source package, as its machine-readable `debian/copyright` tells it.

    Format: Debian's copyright-format 1.0; the last `Files` paragraph with a pattern that fits a path decides. A name that
    only this package uses ("Go") counts as what its text is.
    """

    def __init__(self, text: str, rules: Rules) -> None:
        self._patterns: list[tuple[re.Pattern[str], str]] = []
        paragraphs = [
            Parser().parsestr(paragraph.strip() + "\n", headersonly=True)
            for paragraph in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n"))
        ]
        stated = [(p.get("Files"), *p["License"].strip().partition("\n")[::2]) for p in paragraphs if p.get("License")]
        own = {name.strip(): of_text(body) for _, name, body in stated if body}
        names = Rules(rules.permissive, {name: spdx for name, spdx in own.items() if spdx} | rules.spellings)
        for files, name, _ in stated:
            self._patterns += [(_pattern(f), _from_debian(name, names)) for f in (files or "").split()]

    def spdx(self, path: str) -> str:
        """Return the SPDX expression of one file, by its path within the source; empty where nothing is said of it."""
        return next((spdx for pattern, spdx in reversed(self._patterns) if pattern.fullmatch(path)), "")


def _pattern(files: str) -> re.Pattern[str]:
    """Return a pattern in which `*` and `?` fit slashes, too; a backslash takes their meaning away."""
    wild = {"*": ".*", "?": "."}
    parts = re.findall(r"\\.|.", files.removeprefix("./"))
    return re.compile("".join(wild.get(part) or re.escape(part[-1]) for part in parts))


def _from_debian(short: str, rules: Rules) -> str:
    """Return a Debian short name, with its `or`, `and` and commas, as an SPDX expression; unknown names stay as they are."""
    terms = re.split(r",?\s+and\s+|,\s+(?!or)", short.strip())
    alternatives = [re.split(r",?\s+or\s+|\s*[/|]\s*", term) for term in terms]
    return " AND ".join(" OR ".join(rules.spelled(name) or name for name in names) for names in alternatives)
