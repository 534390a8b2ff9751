"""The replays of the repository show what the docs say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from palimpsest_canvas import recording
from palimpsest_canvas.recording import Outcome

REPLAYS = Path(__file__).parents[2] / "docs" / "replays"


@pytest.mark.parametrize("name", ["interval", "settings", "number"])
def test_a_replay_holds_a_fill_that_the_gate_let_through(name: str) -> None:
    page = (REPLAYS / f"{name}.html").read_text("utf-8")
    [inside] = re.findall(r'<script type="application/json" id="recording">(.*?)</script>', page, re.DOTALL)
    whole = recording.read(inside.encode())
    assert len(whole.frames) > 5
    assert isinstance(whole.outcome, Outcome)
    assert whole.outcome.verdict.status == "valid"
    assert any(whole.outcome.texts)
    assert (whole.beside is None) == (name == "settings")
    assert "http:" not in page.replace("http://www.w3.org/", "")
