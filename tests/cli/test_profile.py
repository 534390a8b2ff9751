"""The commands that fill take a profile, and so does the server; a wrong one is a usage error."""

from __future__ import annotations

import pytest

from palimpsest_engine import EngineSettings
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.cli.serve import choosing

from .conftest import Palimpsest


@pytest.mark.parametrize("given", [(), ("--profile", "fast"), ("--profile", "thorough")])
def test_the_profile_reaches_the_engine(palimpsest: Palimpsest, tmp_path, given) -> None:
    file, data = tmp_path / "a.py", tmp_path / "rows.jsonl"
    file.write_text("x = \n")
    data.write_text('{"task_id": 1, "prompt": "x = ", "suffix": ""}\n')
    for command in (("fill", file, "--at", "1:5"), ("infill", "--data", data, "--out", tmp_path / "out.jsonl")):
        palimpsest(*command, "--device", "cpu", *given)
        assert palimpsest.opened.pop() == EngineSettings(None, "cpu", profile=given[1] if given else "balanced")


def test_the_servers_own_option_ranks_above_the_settings() -> None:
    opened = []

    def factory(settings: EngineSettings) -> ScriptedEngine:
        opened.append(settings)
        return ScriptedEngine([])

    for profile in (None, "fast"):
        choosing(factory, None, None, None, profile=profile)(EngineSettings(profile="thorough"))
    assert [settings.profile for settings in opened] == ["thorough", "fast"]


@pytest.mark.parametrize("command", ["fill", "infill", "serve", "eval sweep"])
def test_another_profile_is_a_usage_error(palimpsest: Palimpsest, command: str) -> None:
    result = palimpsest(*command.split(), "--profile", "slow")
    assert result.exit_code == 2
    assert "'slow' is not one of 'fast', 'balanced', 'thorough'" in result.stderr
    assert not palimpsest.opened
