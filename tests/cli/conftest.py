"""The command line in this process, with an engine that answers from a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from palimpsest_engine import EngineSettings
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.cli import main

Run = Callable[..., Result]


class Palimpsest:
    """Runs commands; `script` and `script_settings` make the engine, `opened` has what it was opened with."""

    def __init__(self) -> None:
        self.script: list[str] = ["return 1"]
        self.script_settings: dict[str, Any] = {}
        self.opened: list[EngineSettings] = []
        self.engines: list[ScriptedEngine] = []

    def open_engine(self, settings: EngineSettings) -> ScriptedEngine:
        self.opened.append(settings)
        self.engines.append(ScriptedEngine(self.script, **self.script_settings))
        return self.engines[-1]

    def __call__(self, *arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(each) for each in arguments], obj=self.open_engine)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result


@pytest.fixture
def palimpsest() -> Palimpsest:
    return Palimpsest()
