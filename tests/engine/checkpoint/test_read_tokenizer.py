"""A `tokenizer.json` is read so that each text is encoded whole, whatever the file says of truncation and padding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import palimpsest_engine
from palimpsest_engine.checkpoint import bpe_tokenizer
from palimpsest_engine.checkpoint.gguf.tokenizer import read_tokenizer
from palimpsest_engine.errors import CheckpointBroken

OURS = Path(palimpsest_engine.__file__).parent / "embedded" / "tokenizer.json"
TEXT = "def area(width, height):\n    return width * height\n" * 20
TRUNCATION = {"direction": "Right", "max_length": 23, "strategy": "LongestFirst", "stride": 0}
PADDING = {"strategy": {"Fixed": 900}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0}
CHANGES = {
    "truncation": {"truncation": TRUNCATION},
    "truncation that panics": {"truncation": TRUNCATION | {"max_length": 4, "stride": 4}},
    "padding": {"padding": PADDING | {"pad_token": "x"}},
    "both": {"truncation": TRUNCATION, "padding": PADDING | {"pad_token": "x"}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_text_is_encoded_whole(tmp_path, name):
    described = json.loads(OURS.read_text("utf-8")) | CHANGES[name]
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    expected = Tokenizer.from_file(str(OURS)).encode(TEXT).ids
    assert len(expected) > 100
    for found in (read_tokenizer(tmp_path / "tokenizer.json"), bpe_tokenizer.tokenizer_in(tmp_path)):
        assert found.encode(TEXT).ids == expected


def test_a_panic_in_rust_is_a_broken_checkpoint(monkeypatch, tmp_path):
    class Panic(BaseException):
        pass

    class Panicking:
        @staticmethod
        def from_file(path):
            raise Panic("index out of range")

    monkeypatch.setattr("palimpsest_engine.checkpoint.gguf.tokenizer.Tokenizer", Panicking)
    with pytest.raises(CheckpointBroken, match="index out of range"):
        read_tokenizer(tmp_path / "tokenizer.json")
