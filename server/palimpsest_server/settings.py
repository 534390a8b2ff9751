"""What a user may set, parsed once at the edge into a frozen value; knows JSON, nothing of LSP or tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from palimpsest_engine import EngineSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """The section `palimpsest`; `docs/settings.md` says what each key means."""

    enable: bool = True
    checkpoint: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int | None = None
    answer_within_ms: int = 250  # leaves the event loop and the wire their share of 300
    max_lines: int | None = None
    seed: int = 0
    drafts: bool = False
    disabled_languages: tuple[str, ...] = ()

    @property
    def engine(self) -> EngineSettings:
        """The part that only a new engine can take up."""
        return EngineSettings(self.checkpoint, self.device, self.dtype, self.threads)


@dataclass(frozen=True, slots=True)
class _Key:
    """One key of the section: the field it sets, what it must be (in words and as a test)."""

    field: str
    expected: str
    accepts: Callable[[Any], bool]


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _switch(value: Any) -> bool:
    return isinstance(value, bool)


_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")

KEYS: Mapping[str, _Key] = {
    "enable": _Key("enable", "true or false", _switch),
    "checkpoint": _Key(
        "checkpoint",
        "a folder, the name of a downloaded checkpoint, or null",
        lambda v: isinstance(v, str) and v != "",
    ),
    "device": _Key(
        "device",
        '"auto", "cpu", "cuda" or "cuda:N"',
        lambda v: isinstance(v, str) and _DEVICE.fullmatch(v) is not None,
    ),
    "dtype": _Key("dtype", '"auto", "float32" or "bfloat16"', lambda v: v in ("auto", "float32", "bfloat16")),
    "threads": _Key("threads", "a whole number from 1 to 1024, or null", _whole(1, 1024)),
    "answerWithinMs": _Key("answer_within_ms", "a whole number from 0 to 60000", _whole(0, 60_000)),
    "maxLines": _Key("max_lines", "a whole number from 1 to 1000, or null", _whole(1, 1000)),
    "seed": _Key("seed", "a whole number from 0 to 4294967295", _whole(0, 2**32 - 1)),
    "drafts": _Key("drafts", "true or false", _switch),
    "disabledLanguages": _Key(
        "disabled_languages",
        "a list of language ids",
        lambda v: isinstance(v, list) and all(isinstance(each, str) for each in v),
    ),
}


def parse(*sections: object) -> tuple[Settings, tuple[str, ...]]:
    """Settings from the section `palimpsest` of each source, later ones first in rank, and what is wrong
    with them.

    A null section or a null value means "not set". Whatever is wrong is named in one sentence each and
    leaves that key as it was; nothing is dropped in silence and nothing raises.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for section in sections:
        if section is None:
            continue
        if not isinstance(section, Mapping):
            problems.append(f"palimpsest: expected an object, not {_shown(section)}; ignored")
            continue
        for name, value in section.items():
            key = KEYS.get(name)
            if key is None:
                problems.append(f"palimpsest.{name}: no such setting; expected one of {', '.join(KEYS)}")
            elif value is None:
                values.pop(key.field, None)
            elif not key.accepts(value := _integral(value)):
                problems.append(f"palimpsest.{name}: expected {key.expected}, not {_shown(value)}; ignored")
            else:
                values[key.field] = tuple(value) if isinstance(value, list) else value
    return Settings(**values), tuple(dict.fromkeys(problems))


def section_of(options: object) -> tuple[object, tuple[str, ...]]:
    """The section `palimpsest` of initialization options, and what else was in there."""
    if not isinstance(options, Mapping):
        return None, () if options is None else (f"expected an object with the key palimpsest, not {_shown(options)}",)
    strange = tuple(f"{name}: no such setting; expected palimpsest" for name in options if name != "palimpsest")
    return options.get("palimpsest"), strange


def _integral(value: Any) -> Any:
    """Some clients write every number with a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
