"""Every command that opens an engine takes an adapter, and so does the server; a workspace does not choose it."""

from __future__ import annotations

import pytest

from palimpsest_engine import EngineSettings
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.cli.serve import choosing

from .conftest import Palimpsest


@pytest.mark.parametrize("given", [(), ("--adapter", "some/folder")])
def test_the_adapter_reaches_the_engine(palimpsest: Palimpsest, tmp_path, given) -> None:
    file, data = tmp_path / "a.py", tmp_path / "rows.jsonl"
    file.write_text("x = \n")
    data.write_text('{"task_id": 1, "prompt": "x = ", "suffix": ""}\n')
    for command in (
        ("fill", file, "--at", "1:5"),
        ("infill", "--data", data, "--out", tmp_path / "out.jsonl"),
        ("doctor",),
    ):
        palimpsest(*command, "--device", "cpu", *given)
        assert palimpsest.opened.pop() == EngineSettings(None, "cpu", adapter=given[1] if given else None)


def test_the_servers_own_option_ranks_above_the_settings() -> None:
    opened = []

    def factory(settings: EngineSettings) -> ScriptedEngine:
        opened.append(settings)
        return ScriptedEngine([])

    for adapter in (None, "/mine"):
        choosing(factory, None, adapter, None)(EngineSettings(adapter="/theirs"))
    assert [settings.adapter for settings in opened] == ["/theirs", "/mine"]


def test_live_opens_no_adapter(palimpsest: Palimpsest) -> None:
    assert palimpsest("doctor", "--live", "--adapter", "x").exit_code == 2
