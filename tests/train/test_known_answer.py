"""The recorded answer of the embedded checkpoint is what the documented command records."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from palimpsest_engine.runtime.known_answers import FOLDER
from palimpsest_train.__main__ import main


@pytest.mark.timeout(600)  # ten seconds of work, for which a busy machine takes minutes
def test_the_recorded_answer_can_be_recorded_again(tmp_path):
    out = tmp_path / "again.json"
    result = CliRunner().invoke(main, ["known-answer", "--out", str(out), "--commit", "0000000"])
    assert result.exit_code == 0, result.output
    kept, again = (json.loads(path.read_text("utf-8")) for path in (FOLDER / "embedded.json", out))
    assert again["prompt_ids"] == kept["prompt_ids"]
    for old, new in zip(kept["answers"], again["answers"], strict=True):
        assert tables(new).keys() == tables(old).keys()
        for name, rows in tables(new).items():
            assert rows == [pytest.approx(row, abs=0.005) for row in tables(old)[name]]


def tables(answer):
    return {"as they are": answer["logits"], **answer["quantised"]}
