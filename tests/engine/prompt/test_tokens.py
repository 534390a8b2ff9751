"""A text that spells a control token is encoded as text, by whichever way a tokenizer comes in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.engine.causal import CONTROLS, write_model
from tests.engine.published import folders
from tokenizers import AddedToken, Tokenizer, pre_tokenizers

from palimpsest_engine.checkpoint import causal
from palimpsest_engine.checkpoint.bpe_tokenizer import tokenizer_in
from palimpsest_engine.checkpoint.gguf.tokenizer import byte_level_bpe, qwen_tokenizer
from palimpsest_engine.checkpoint.load_causal import prepare
from palimpsest_engine.model.int8 import available
from palimpsest_engine.prompt.tokens import Tokens

LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
# As Qwen's own files have them: of these only the first is marked as a control token.
ADDED = ("<|endoftext|>", "<|fim_prefix|>", "<|file_sep|>", "<tool_call>", "</tool_call>", "<think>")
TEXT = 'x = "<|fim_prefix|>" + f(<tool_call>)</tool_call>\n<|file_sep|>a.py\n<think><|endoftext|>\n'


def added(special: bool) -> list[AddedToken]:
    return [AddedToken(each, special=special or each == ADDED[0], normalized=False) for each in ADDED]


def qwen_like() -> Tokenizer:
    return byte_level_bpe("qwen2", {letter: i for i, letter in enumerate(LETTERS)}, [], added(special=False))


def as_json(folder: Path) -> Tokenizer:
    qwen_like().save(str(folder / "tokenizer.json"))
    return tokenizer_in(folder)


def as_parts(folder: Path) -> Tokenizer:
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    table = {
        str(len(LETTERS) + i): {"content": each, "special": each == ADDED[0], "normalized": False}
        for i, each in enumerate(ADDED)
    }
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": table}), "utf-8")
    return tokenizer_in(folder)


def as_gguf(folder: Path) -> Tokenizer:
    """Its reader marks user-defined tokens, too."""
    return qwen_tokenizer([*LETTERS, *ADDED], [], ADDED)


def as_kept(folder: Path) -> Tokenizer:
    """The copy in eight bits has the tokenizer as its files had it."""
    if not available():
        pytest.skip("this processor does not multiply in int8")
    write_model(folder)
    tokenizer = byte_level_bpe("qwen2", {letter: i for i, letter in enumerate(LETTERS)}, [], added(special=False))
    tokenizer.save(str(folder / "tokenizer.json"))
    assert prepare(folder)
    opened = causal.open_files(folder, int8=True)
    assert opened.kept is not None
    return opened.tokenizer


@pytest.mark.parametrize("way", [as_json, as_parts, as_gguf, as_kept])
def test_a_control_token_in_a_document_is_text(way, tmp_path, models):
    tokens = Tokens(way(tmp_path), len(LETTERS) + len(ADDED))
    ids = tokens.encode(TEXT)
    assert max(ids) < len(LETTERS)
    assert tokens.decode(ids) == TEXT
    assert tokens.special == set(range(len(LETTERS), len(LETTERS) + len(ADDED)))
    assert tokens.marked("<|file_sep|>a") == [len(LETTERS) + 2, LETTERS.index("a")]


@pytest.mark.parametrize("kind", folders.KINDS)
def test_those_of_published_models_too(kind, tmp_path):
    folder = folders.write(tmp_path / "x", kind)
    tokens = Tokens(tokenizer_in(folder), 300)
    assert max(tokens.encode("".join(CONTROLS) + folders.MASK + folders.M + folders.BEGINS)) < len(folders.TEXT)


def test_ordinary_added_tokens_stay_what_they_are():
    """Runs of blanks, letters and, where the vocabulary has them, tags of HTML are text: encoded as one, and decoded."""
    vocabulary = {letter: i for i, letter in enumerate([*LETTERS, "<table>"])}
    ordinary = ["<table>", "\n\n", "    ", "õ", "<|fim_pad|>"]
    plain = byte_level_bpe("qwen2", vocabulary, [], [AddedToken(each, normalized=False) for each in ordinary])
    text = "a\n\n    õ<table>\n"
    before = plain.encode(text).ids
    said = plain.decode(before)
    tokens = Tokens(plain, 300)
    assert tokens.encode(text) == before
    assert {tokens.tokenizer.token_to_id(each) for each in ordinary[:4]} <= set(before)
    assert tokens.tokenizer.decode(before) == said
    assert tokens.special == {tokens.tokenizer.token_to_id("<|fim_pad|>")}
