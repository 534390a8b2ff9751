"""A server opens nothing that depends on the folder it runs in: that is the folder of somebody's repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from palimpsest_engine import Endpoint, EngineSettings, PalimpsestError
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.cli.serve import choosing

REFUSED = {
    "a model": (EngineSettings("./weights"), "The model ./weights depends on the folder"),
    "above": (EngineSettings("../weights.gguf"), "The model ../weights.gguf depends"),
    "a home that is none": (EngineSettings("~nobody-has-this-name/x"), "The model ~nobody-has-this-name/x depends"),
    "a model for edits": (EngineSettings(edit="./weights"), "The model ./weights depends"),
    "an adapter": (EngineSettings(adapter="tuned"), "The adapter tuned depends"),
    "an adapter with dots": (EngineSettings(adapter="./tuned"), "The adapter ./tuned depends"),
    "a key": (EngineSettings(endpoint=Endpoint("http://localhost", key_file="key")), "The keyFile of the endpoint key"),
}
OPENED = {
    "names": EngineSettings("google/diffusiongemma-26B-A4B-it", adapter="none", edit="embedded"),
    "absolute": EngineSettings("/m", adapter="/a", edit="/e", endpoint=Endpoint("http://localhost", key_file="/k")),
    "from home": EngineSettings(
        "~/m", adapter="~/a", edit="~/e", endpoint=Endpoint("http://localhost", key_file="~/k")
    ),
    "nothing": EngineSettings(),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_relative_path_is_refused_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    settings, said = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    for name in ("weights", "tuned"):
        shutil.copytree(EMBEDDED, tmp_path / name)
    with pytest.raises(PalimpsestError, match=said) as refused:
        choosing(lambda each: ScriptedEngine([]), None, None, None)(settings)
    assert str(refused.value).endswith("write the absolute path, or one that begins with ~.")


@pytest.mark.parametrize("case", OPENED)
def test_names_and_whole_paths_are_taken(case: str) -> None:
    opened = []

    def factory(settings: EngineSettings) -> ScriptedEngine:
        opened.append(settings)
        return ScriptedEngine([])

    choosing(factory, None, None, None)(OPENED[case])
    assert opened == [OPENED[case]]


def test_the_options_of_the_command_are_no_exception() -> None:
    for chosen in (("./weights", None), (None, "tuned")):
        with pytest.raises(PalimpsestError, match="depends on the folder"):
            choosing(lambda each: ScriptedEngine([]), *chosen, None)(EngineSettings())
