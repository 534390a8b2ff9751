"""The template of editors/jetbrains as LSP4IJ reads it: commands in words, settings with dots, languages by file name."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parents[2] / "editors" / "jetbrains"


@dataclass
class Template:
    """The folder that the user imports."""

    description: dict[str, Any]
    initialization: dict[str, Any]
    settings: dict[str, Any]
    mappings: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path = TEMPLATE) -> Template:
        """Files that are not there are empty objects, but for template.json."""

        def load(name: str) -> dict[str, Any]:
            path = folder / f"{name}.json"
            return json.loads(path.read_text("utf-8")) if path.exists() else {}

        description = json.loads((folder / "template.json").read_text("utf-8"))
        mappings = [
            (pattern, each["languageId"])
            for each in description["fileTypeMappings"]
            for pattern in each["fileType"].get("patterns", ())
        ]
        return cls(description, load("initializationOptions"), load("settings"), mappings)

    def command(self, system: str = "unix") -> list[str]:
        """The command of the Server tab in its words; quotes keep blanks together."""
        arguments = self.description["programArgs"]
        return words(arguments.get(system, arguments["default"]))

    def language(self, name: str) -> str | None:
        """The language id of a file, if the server is for it."""
        return next((language for pattern, language in self.mappings if fnmatch.fnmatch(name, pattern)), None)


def words(command: str) -> list[str]:
    """A command line in its words: blanks part them, double quotes keep blanks and are dropped."""
    found, word, quoted = [], "", False
    for c in command:
        if c == '"':
            quoted = not quoted
        elif c == " " and not quoted:
            found.append(word)
            word = ""
        else:
            word += c
    return [each.strip() for each in [*found, word] if each.strip()]


def expanded(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with keys such as `palimpsest.seed` made into objects, for `expandConfiguration`."""
    if not any("." in key for key in settings):
        return settings
    root: dict[str, Any] = {}

    def put(path: list[str], value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                put([*path, *key.split(".")], each)
            return
        inner = root
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        inner[path[-1]] = value

    put([], settings)
    return root


def section_of(settings: dict[str, Any], section: str | None) -> Any:
    """Return the part of the settings that answers a request for the section."""
    if not section:
        return settings
    found: Any = settings.get(section)
    if found is None:
        found = settings
        for part in section.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    return found
