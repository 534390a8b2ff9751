"""A loaded checkpoint may write no control token, and no entry of its vocabulary that is no text."""

from __future__ import annotations

import json
from dataclasses import replace

import torch
from tokenizers import Tokenizer

from palimpsest_engine.decoding.canvas_state import State
from palimpsest_engine.decoding.denoise import Canvas
from palimpsest_engine.decoding.sampler import constrained
from palimpsest_engine.fill.resources import Resources


def with_junk(tokenizer: Tokenizer, name: str) -> tuple[Tokenizer, int]:
    """Return the tokenizer with its last piece called by another name, as an ordinary one."""
    file = json.loads(tokenizer.to_str())
    vocabulary = file["model"]["vocab"]
    piece = max(vocabulary, key=vocabulary.__getitem__)
    number = vocabulary.pop(piece)
    vocabulary[name] = number
    file["model"]["merges"] = [
        pair for pair in file["model"]["merges"] if "".join(pair) != piece and piece not in tuple(pair)
    ]
    return Tokenizer.from_str(json.dumps(file)), number


def test_an_unused_entry_that_is_called_ordinary_is_banned_from_the_canvas_and_from_its_conditioning(checkpoint):
    tokenizer, number = with_junk(checkpoint.tokenizer, "<unused49>")
    resources = Resources.of(replace(checkpoint, tokenizer=tokenizer), left_to_right=False, redraw=False)
    for banned in (resources.banned, resources.all_banned, resources.banned_but_ends):
        assert banned[number]
        assert not banned[tokenizer.token_to_id("e")]
    tokens = torch.full((1, 4), 1)
    canvas = Canvas(tokens, torch.ones_like(tokens, dtype=torch.bool), resources.banned, {})
    vocabulary = resources.tokens.vocabulary
    state = State.begin(canvas, vocabulary, checkpoint.spec.sampling, torch.Generator(), checkpoint.spec.denoising)
    logits = torch.zeros(4, vocabulary)
    logits[:, number] = 100.0
    assert (constrained(logits, state.forbidden, state.which).softmax(-1)[:, number] == 0).all()
