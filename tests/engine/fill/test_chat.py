"""Fills of an instruction-tuned checkpoint, by the template in its folder: a tiny random model that likes to end its turn."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from tests.engine.conftest import SAMPLES, tiny
from tokenizers import AddedToken

from palimpsest_engine import FillRequest, Span
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.errors import CheckpointBroken
from palimpsest_engine.fill.detokenize import Detokenizer
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.prompt.preview import seen
from palimpsest_train.tokenizer import new_tokenizer

TEMPLATE = "{{ bos_token }}<|turn>user\n{{ messages[0].content | trim }}<turn|>\n{{ '<|turn>model\\n' }}"
TEXT, AT = "def f(x):\n    y = \n    return y\n", 18


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "checkpoint"
    tokenizer = new_tokenizer([path.read_text("utf-8") for path in SAMPLES], 400)
    names = ["<bos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"]
    tokenizer.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in names])
    model = tiny(vocabulary=tokenizer.get_vocab_size(), canvas=24)
    with torch.no_grad():
        for name in ("<turn|>", "<eos>"):
            model.get_input_embeddings().weight[tokenizer.token_to_id(name)] *= 30
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    spec = {"context": 512, "suffix": 40, "canvas": 32, "pins": 8, "hole_sizes": [8, 16], "sampling": {"max_steps": 4}}
    (folder / "palimpsest.json").write_text(json.dumps({"name": "tiny chat", **spec}), "utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    return folder


def canvases(filler, request, monkeypatch):
    """Return the tokens of the holes of all candidates."""
    found, texts = [], Detokenizer.texts
    monkeypatch.setattr(
        Detokenizer,
        "texts",
        lambda self, each: found.append([each.tokens[list(span)].tolist() for span in each.spans]) or texts(self, each),
    )
    list(filler.fill(request, lambda: False))
    return [hole for candidate in found for hole in candidate]


@pytest.mark.parametrize("max_lines", [1, None])
@pytest.mark.parametrize("seed", range(4))
def test_no_hole_ends_the_turn_or_is_shorter_than_asked(folder, monkeypatch, max_lines, seed):
    filler = Filler(load(EngineSettings(str(folder), device="cpu", dtype="float32")))
    request = FillRequest(TEXT, (Span(AT, AT),), language="python", max_lines=max_lines, seed=seed)
    holes = canvases(filler, request, monkeypatch)
    assert {len(hole) for hole in holes} >= {8, 16}
    assert not {token for hole in holes for token in hole} & filler.resources.tokens.special
    nothing = torch.zeros_like(filler.resources.banned)
    filler.resources = replace(filler.resources, banned=nothing)
    control = filler.resources.tokens.special
    assert any(set(hole) & control for hole in canvases(filler, request, monkeypatch)), "the model would end its turn"


def test_the_prompt_is_the_templates(folder):
    shown = seen(EngineSettings(str(folder)), FillRequest(TEXT, (Span(AT, AT),), language="python"))
    assert shown.context.startswith("<bos><|turn>user\nWrite out the whole python file")
    assert "return y\n```<turn|>\n<|turn>model\n```python\ndef f(x):" in shown.context
    assert "<|channel>" not in shown.context


def test_a_checkpoint_with_a_broken_template_is_not_loaded(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "chat_template.jinja").write_text("{{ messages", "utf-8")
    with pytest.raises(CheckpointBroken, match=r"chat_template\.jinja cannot be used: .*\.$"):
        load(EngineSettings(str(tmp_path), device="cpu", dtype="float32"))
