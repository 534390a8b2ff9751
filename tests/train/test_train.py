"""The trainer: the packed pass equals the model class, rows are what inference asks for, a resumed run is the same run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint import load
from palimpsest_engine.spec import Sampling
from palimpsest_train import corpus as corpora
from palimpsest_train.data import Rows, RowShape
from palimpsest_train.export import export
from palimpsest_train.model import Shape, build, logits_of, packed_forward
from palimpsest_train.tokenizer import EOS, FILLER, PREFIX, encode_corpus, new_tokenizer
from palimpsest_train.train import Recipe, Run, tensors

ROOT = Path(__file__).parents[2]
ROW = RowShape(context=96, canvases=4, canvas=48, losses=16)
SHAPE = Shape(hidden=32, layers=3, heads=2, kv_heads=1, head_dim=16, mlp=48, expert=16, positions=512)
SMOKE = Recipe(steps=6, rows=2, warmup=2, compile=False, log_every=1, save_every=3, held_out_every=3, held_out_rows=2,
               threads=1, shape=SHAPE, row=ROW)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """This project's own source as a corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    files = sorted((ROOT / "engine").rglob("*.py"))
    for split, chosen in (("train", files[:-4]), ("held_out", files[-4:])):
        rows = [json.dumps({"package": "palimpsest", "path": str(f), "text": f.read_text("utf-8")}) for f in chosen]
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    tokenizer = new_tokenizer([f.read_text("utf-8") for f in files], 512)
    tokenizer.save(str(folder / "tokenizer.json"))
    for split in ("train", "held_out"):
        array, starts = encode_corpus(tokenizer, folder, split)
        np.save(folder / f"{split}.npy", array)
        np.save(folder / f"{split}.starts.npy", starts)
    return folder


@pytest.fixture(scope="module")
def rows(corpus):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(corpus / "tokenizer.json"))
    return Rows(np.load(corpus / "train.npy"), np.load(corpus / "train.starts.npy"), tokenizer, ROW, seed=3)


def test_the_packed_pass_equals_the_model_class(rows):
    batch = tensors(rows.batch(2))
    model = build(replace(SHAPE, vocabulary=rows.vocabulary), seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        soft = torch.zeros(2, ROW.canvases * ROW.canvas, SHAPE.hidden)
        args = (batch["context"], batch["noised"], batch["positions"], batch["starts"])
        hidden = packed_forward(model, *args, soft)
        packed = logits_of(model, hidden)
        encoder = model.model.encoder(input_ids=batch["context"]).last_hidden_state
        torch.testing.assert_close(hidden[:, : ROW.context], encoder, atol=1e-4, rtol=1e-4)
        for row in range(2):
            for i in range(ROW.canvases):
                canvas = slice(i * ROW.canvas, (i + 1) * ROW.canvas)
                start = int(batch["starts"][row, i])
                said = torch.randn(1, ROW.canvas, rows.vocabulary)
                for conditioning in (None, said):
                    out = model(
                        input_ids=batch["context"][row : row + 1, :start],
                        decoder_input_ids=batch["noised"][row : row + 1, canvas],
                        self_conditioning_logits=conditioning,
                    )
                    if conditioning is not None:
                        embed = model.model.decoder.embed_tokens
                        soft[row, canvas] = (said.softmax(-1) @ embed.weight * embed.embed_scale)[0]
                        packed = logits_of(model, packed_forward(model, *args, soft))
                    at = slice(ROW.context + canvas.start, ROW.context + canvas.stop)
                    torch.testing.assert_close(packed[row, at], out.logits[0], atol=1e-4, rtol=1e-4)


def test_rows_hold_what_they_promise(rows):
    for _ in range(60):
        batch = rows.batch(1)
        context, clean, noised, hole = batch.context[0], batch.clean[0], batch.noised[0], batch.is_hole[0]
        assert (noised[~hole] == clean[~hole]).all()
        assert FILLER not in clean[~hole]
        assert (batch.starts[0] >= 3).all()
        assert (batch.starts[0] <= ROW.context).all()
        targets = batch.targets[0]
        known = np.flatnonzero(targets >= 0)
        assert (targets[known] == context[known + 1]).all()
        for i in range(ROW.canvases):
            span = slice(i * ROW.canvas, (i + 1) * ROW.canvas)
            at = batch.at[0].reshape(ROW.canvases, -1)[i]
            weight = batch.weight[0].reshape(ROW.canvases, -1)[i]
            used = at[weight > 0]
            assert hole[used].all()
            assert ((used >= span.start) & (used < span.stop)).all()
            filler = clean[used] == FILLER
            assert weight[weight > 0][filler].sum() <= 1.0 + 1e-6
            assert hole[span].any()


def test_a_canvas_read_without_its_filler_is_the_document(rows):
    """Context before the start, then the canvas without filler: a stretch of the document, whatever kind of hole it is."""
    texts = rows.texts
    document = "".join(texts[t] for t in rows.tokens)
    for _ in range(100):
        batch = rows.batch(1)
        for i in range(ROW.canvases):
            start = int(batch.starts[0][i])
            clean = [t for t in batch.clean[0][i * ROW.canvas : (i + 1) * ROW.canvas] if t not in (FILLER, EOS)]
            first = batch.context[0].tolist().index(PREFIX) + 1
            before = "".join(texts[t] for t in batch.context[0][max(first, start - 6) : start])
            text = before + "".join(texts[t] for t in clean)
            if "" in (texts[t] for t in clean) or "\ufffd" in text:
                continue  # a piece of a character has no text of its own
            assert text in document


def test_a_resumed_run_is_the_same_run(corpus, tmp_path):
    whole = Run(tmp_path / "whole", corpus, SMOKE)
    whole.train()
    Run(tmp_path / "halves", corpus, SMOKE).train(until=3)
    second = Run(tmp_path / "halves", corpus, SMOKE)
    assert second.step == 3
    second.train()
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    losses = [[{k: v for k, v in json.loads(line).items() if "second" not in k}
               for line in (tmp_path / run / "curve.jsonl").read_text().splitlines()]
              for run in ("whole", "halves")]  # fmt: skip
    assert losses[0] == losses[1]


def test_training_learns(corpus, tmp_path):
    run = Run(tmp_path / "run", corpus, replace(SMOKE, steps=100, save_every=100, held_out_every=1000, warmup=10))
    before = run.held_out_losses()
    run.train()
    after = run.held_out_losses()
    assert after[0] < before[0] - 1
    assert after[1] < before[1] - 1


def test_an_exported_run_is_a_plain_checkpoint(corpus, tmp_path):
    from transformers import DiffusionGemmaForBlockDiffusion

    run = Run(tmp_path / "run", corpus, replace(SMOKE, steps=2))
    run.train()
    out = tmp_path / "out" / "checkpoint"
    export(tmp_path / "run", corpus, out, "smoke", Sampling(max_steps=3))
    assert not [p for p in out.iterdir() if p.suffix in (".bin", ".pt", ".py")]
    stock = DiffusionGemmaForBlockDiffusion.from_pretrained(out)
    assert stock.generation_config.max_denoising_steps == 3
    loaded = load(EngineSettings(str(out), device="cpu", dtype="float32"))
    ours = dict(loaded.model.named_parameters())
    for name, parameter in run.model.named_parameters():
        assert torch.equal(ours[name], parameter.to(torch.bfloat16).float()), name


LICENCES = [
    ("License-Expression: MIT\n", "MIT", True),
    ("License-Expression: Apache-2.0 OR GPL-3.0-only\n", "Apache-2.0 OR GPL-3.0-only", True),
    ("License-Expression: MIT AND LGPL-2.1-only\n", "MIT AND LGPL-2.1-only", False),
    ("License: BSD-3-Clause\n", "BSD-3-Clause", True),
    ("Classifier: License :: OSI Approved :: MIT License\n", "MIT", True),
    ("Classifier: License :: OSI Approved :: GNU General Public License (GPL)\n", "", False),
    ("License: see LICENSE\n", "", False),
    ("Name: nothing\n", "", False),
]


@pytest.mark.parametrize(("metadata", "expression", "permissive"), LICENCES)
def test_only_clear_and_permissive_licences_are_used(metadata, expression, permissive):
    rules = corpora.packages()
    found, _ = corpora.licence_of(metadata, rules)
    assert found == expression
    assert corpora.is_permissive(found, rules["permissive"]) is permissive


USABLE = [
    ("def f():\n    return 1\n" * 20, True),
    ("x = 1\n", False),
    ("# Generated by the protocol buffer compiler. DO NOT EDIT!\n" + "def f(): pass\n" * 40, False),
    ("def f(): return '" + "a" * 500 + "'\n" + "x = 1\n" * 50, False),
    ("def f(:\n" * 50, False),
    ("TABLE = [1, 2, 3]\n" * 40, False),
]


@pytest.mark.parametrize(("text", "usable"), USABLE)
def test_generated_minified_and_broken_files_are_left_out(text, usable):
    assert corpora.usable(text) is usable
