"""Parse the user's settings once, at the edge, into a frozen value; knows JSON, nothing of LSP or tensors.

A workspace may have written what a client calls its configuration. So that opening a folder chooses no model and
gives nothing away, some keys count only where the user's own editor set-up has them: in `initializationOptions`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from palimpsest_engine import Endpoint, EndpointProtocol, EngineSettings, Quantization
from palimpsest_server.sections import SECTION, doubt, is_named, undotted

LogLevel = Literal["error", "warning", "info", "debug"]
Eagerness = Literal["low", "medium", "high"]
NextEditEagerness = Literal["off", "low", "medium", "high"]
Sharing = Literal["shared", "own"]
ContextSource = Literal["documents", "imports", "edits", "diagnostics"]


@dataclass(frozen=True, slots=True)
class Models:
    """The model for what is typed, and the one for edits; None for the chosen one, and for the same."""

    complete: str | None = None
    edit: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The section `palimpsest`; `docs/settings.md` explains each key."""

    enable: bool = True
    model: Models = Models()
    adapter: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int | None = None
    quantization: Quantization = "none"
    profile: Literal["fast", "balanced", "thorough"] = "balanced"
    fallback: bool = False
    answer_within_ms: int = 250  # leaves the event loop and the wire their share of 300
    debounce_ms: int | None = None
    deadline_ms: int = 30_000
    speculate: bool = True
    completion: Literal["auto", "on", "off"] = "auto"
    eagerness: Eagerness = "medium"
    next_edit: NextEditEagerness = "medium"
    candidates: int = 3
    max_lines: int | None = None
    in_comments: bool = False
    seed: int = 0
    drafts: bool = False
    context_sources: tuple[ContextSource, ...] | None = None
    context_files: int = 12
    ignore: tuple[str, ...] = ()
    disabled_languages: tuple[str, ...] = ()
    disabled_folders: tuple[str, ...] = ()
    log_level: LogLevel = "warning"
    log_text: bool = False
    statistics: bool = True
    trust_workspace: bool = False
    endpoint: Endpoint | None = None
    sharing: Sharing = "shared"

    @property
    def engine(self) -> EngineSettings:
        """Return the part that takes effect only in a new engine."""
        return EngineSettings(
            self.model.complete,
            self.device,
            self.dtype,
            self.threads,
            self.adapter,
            self.quantization,
            self.fallback,
            self.endpoint,
            self.model.edit,
            self.profile,
            self.sharing == "shared",
        )


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of the section: its field, and the values that it takes (in words and as a test).

    own: only the user's own set-up may choose it. adds: a source adds to the values of those below it. folder: it may differ
    between the folders of a workspace. read: makes the field's value of a plain one, or returns what it cannot read. doubt:
    says what cannot take effect in a value that is taken, or "".
    """

    field: str
    expected: str
    accepts: Callable[[Any], bool]
    own: bool = False
    adds: bool = False
    folder: bool = False
    read: Callable[[Any], Any] = lambda value: value
    doubt: Callable[[Any], str] = lambda value: ""


def _models(value: Any) -> Any:
    """Return the models that a name, or an object of names by role, stands for; anything else unchanged."""
    given = {"complete": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not given.keys() <= {"complete", "edit"}:
        return value
    names = {role: name for role, name in given.items() if name is not None}
    return Models(**names) if all(isinstance(name, str) and name for name in names.values()) else value


def _endpoint(value: Any) -> Any:
    """Return the endpoint that a URL, or an object with the key url, stands for; anything else unchanged."""
    given = {"url": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not given.keys() <= _ENDPOINT.keys():
        return value
    chosen: dict[str, Any] = {_ENDPOINT[name]: each for name, each in given.items() if each is not None}
    if not all(isinstance(each, str) and each for each in chosen.values()) or not _URL.match(chosen.get("url", "")):
        return value
    return Endpoint(**chosen) if chosen.get("protocol", "auto") in get_args(EndpointProtocol) else value


_URL = re.compile(r"https?://\S+\Z")
_ENDPOINT = {
    "url": "url",
    "protocol": "protocol",
    "model": "model",
    "keyEnv": "key_env",
    "keyFile": "key_file",
    "dialect": "dialect",
}


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None


def _one_of(*names: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


def _texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, str) and each for each in value)


def _switch(value: Any) -> bool:
    return isinstance(value, bool)


_SWITCH = "true or false"
_SOURCES = ("documents", "imports", "edits", "diagnostics")
LOG_LEVELS: tuple[LogLevel, ...] = ("error", "warning", "info", "debug")

KEYS: Mapping[str, _Key] = {
    "enable": _Key("enable", _SWITCH, _switch, folder=True),
    "model": _Key(
        "model",
        "the name of an installed model, a folder, a GGUF file, an object with the keys complete and edit, or null",
        lambda value: isinstance(value, Models),
        own=True,
        read=_models,
    ),
    "adapter": _Key("adapter", "a folder that `palimpsest tune` wrote, or null", _matches(r".+"), own=True),
    "device": _Key("device", '"auto", "cpu", "cuda" or "cuda:N"', _matches(r"auto|cpu|cuda(:\d+)?"), own=True),
    "dtype": _Key("dtype", '"auto", "float32" or "bfloat16"', _one_of("auto", "float32", "bfloat16"), own=True),
    "threads": _Key("threads", "a whole number from 1 to 1024, or null", _whole(1, 1024), own=True),
    "quantization": _Key(
        "quantization",
        '"none", "int8", "fp8", "int4-fine", "int4" or "int4-small"',
        _one_of(*get_args(Quantization)),
        own=True,
    ),
    "profile": _Key("profile", '"fast", "balanced" or "thorough"', _one_of("fast", "balanced", "thorough"), own=True),
    "fallback": _Key("fallback", _SWITCH, _switch, own=True),
    "engine": _Key("sharing", '"shared" or "own"', _one_of(*get_args(Sharing)), own=True),
    "endpoint": _Key(
        "endpoint",
        f"a URL, an object with the keys {', '.join(_ENDPOINT)}, or null",
        lambda value: isinstance(value, Endpoint),
        own=True,
        read=_endpoint,
    ),
    "answerWithinMs": _Key("answer_within_ms", "a whole number from 0 to 60000", _whole(0, 60_000)),
    "debounceMs": _Key("debounce_ms", "a whole number from 0 to 2000, or null", _whole(0, 2000)),
    "deadlineMs": _Key("deadline_ms", "a whole number from 1000 to 600000", _whole(1000, 600_000)),
    "speculate": _Key("speculate", _SWITCH, _switch),
    "completion": _Key("completion", '"auto", "on" or "off"', _one_of("auto", "on", "off")),
    "eagerness": _Key("eagerness", '"low", "medium" or "high"', _one_of("low", "medium", "high"), folder=True),
    "nextEdit": _Key(
        "next_edit", '"off", "low", "medium" or "high"', _one_of(*get_args(NextEditEagerness)), folder=True
    ),
    "candidates": _Key("candidates", "a whole number from 1 to 8", _whole(1, 8), folder=True),
    "maxLines": _Key("max_lines", "a whole number from 1 to 1000, or null", _whole(1, 1000), folder=True),
    "inComments": _Key("in_comments", _SWITCH, _switch, folder=True),
    "seed": _Key("seed", "a whole number from 0 to 4294967295", _whole(0, 2**32 - 1), folder=True),
    "drafts": _Key("drafts", _SWITCH, _switch),
    "contextSources": _Key(
        "context_sources",
        f"a list of {', '.join(_SOURCES)}, or null",
        lambda v: isinstance(v, tuple) and all(_one_of(*_SOURCES)(each) for each in v),
        folder=True,
    ),
    "contextFiles": _Key("context_files", "a whole number from 0 to 64", _whole(0, 64), folder=True),
    "ignore": _Key("ignore", "a list of globs", _texts, adds=True, folder=True, doubt=doubt),
    "disabledLanguages": _Key("disabled_languages", "a list of language ids", _texts, folder=True),
    "disabledFolders": _Key(
        "disabled_folders", "a list of folders or globs", _texts, adds=True, folder=True, doubt=doubt
    ),
    "logLevel": _Key("log_level", '"error", "warning", "info" or "debug"', _one_of(*LOG_LEVELS)),
    "logText": _Key("log_text", _SWITCH, _switch, own=True),
    "statistics": _Key("statistics", _SWITCH, _switch, own=True),
    "trustWorkspace": _Key("trust_workspace", _SWITCH, _switch, own=True),
}


def parse(initial: object = None, configured: object = None, folder: object = None) -> tuple[Settings, tuple[str, ...]]:
    """Parse the section `palimpsest` of each source, later ones first in rank; return the settings and all problems.

    initial: of `initializationOptions`, written by the user. configured: of the client's configuration, which the workspace
    may have written: it cannot set the keys that are the user's own, unless `initial` has `trustWorkspace`. folder: of the
    configuration of one workspace folder; it cannot set the keys that hold for all folders.

    A null section or a null value means "not set". Each problem is one sentence and leaves its key as it was; nothing is
    dropped in silence and nothing raises.
    """
    values: dict[str, Any] = {}
    problems = _take(values, initial, lambda key: True)[1]
    trusted = values.get("trust_workspace", False)
    untrusted, more = _take(values, configured, lambda key: trusted or not key.own)
    problems += more
    if untrusted:
        problems.append(
            f"{_listed(untrusted)} ignored: a workspace may have written the client's configuration; set "
            f"{'it' if len(untrusted) == 1 else 'them'} in initializationOptions, or allow it there with trustWorkspace: true"
        )
    common, more = _take(values, folder, lambda key: key.folder)
    problems += more
    if common:
        problems.append(f"{_listed(common)} ignored: the same for all folders of a workspace")
    return Settings(**values), tuple(dict.fromkeys(problems))


def _take(values: dict[str, Any], section: object, may: Callable[[_Key], bool]) -> tuple[list[str], list[str]]:
    """Take a section into `values`; return the keys that it tried to change and may not, and its problems."""
    if section is None:
        return [], []
    if not isinstance(section, Mapping):
        return [], [f"palimpsest: expected an object, not {_shown(section)}; ignored"]
    barred: list[str] = []
    problems: list[str] = []
    for name, given in undotted(section).items():
        key = KEYS.get(name)
        value = _plain(given) if key is None else key.read(_plain(given))
        if key is None:
            problems.append(f"palimpsest.{name}: no such setting; expected one of {', '.join(KEYS)}")
        elif not may(key):
            # Clients send defaults along, and null for them; a value that changes nothing is worth no warning.
            if value is not None and value != values.get(key.field, getattr(_DEFAULT, key.field)):
                barred.append(name)
        elif value is None:
            if not key.adds:
                values.pop(key.field, None)
        elif not key.accepts(value):
            problems.append(f"palimpsest.{name}: expected {key.expected}, not {_shown(given)}; ignored")
        else:
            if said := key.doubt(value):
                problems.append(f"palimpsest.{name}: {said}")
            values[key.field] = tuple(dict.fromkeys((*values.get(key.field, ()), *value))) if key.adds else value
    return barred, problems


# What clients say of themselves among the initialization options, no settings; `session/abilities.py` reads `client`.
_ABOUT_CLIENTS = frozenset({"client", "editorInfo", "editorPluginInfo", "networkProxy"})


def section_of(options: object) -> tuple[object, tuple[str, ...]]:
    """Return the section `palimpsest` of what a client sent, in any spelling, and the problems of all else in there.

    Its keys may be dotted (`palimpsest.enable`), or stand there without the section, if they are all there is.
    """
    if not isinstance(options, Mapping):
        return None, () if options is None else (f"expected an object with the key palimpsest, not {_shown(options)}",)
    options = {name: value for name, value in options.items() if name not in _ABOUT_CLIENTS}
    named = {name: value for name, value in options.items() if is_named(name)}
    if options and not named and all(name.partition(".")[0] in KEYS for name in options):
        return options, ()
    strange = tuple(f"{name}: no such setting; expected palimpsest" for name in options if name not in named)
    return named.get(SECTION) if set(named) <= {SECTION} else undotted(named), strange


_DEFAULT = Settings()


def _plain(value: Any) -> Any:
    """Freeze lists, and make whole numbers of those that some clients write with a decimal point."""
    if isinstance(value, list):
        return tuple(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _listed(names: list[str]) -> str:
    names = [f"palimpsest.{name}" for name in names]
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
