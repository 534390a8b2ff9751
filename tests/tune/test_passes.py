"""The served model is the trained one: LoRA in the packed pass, in the class and merged into the weights gives one result."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.adapter import merge, read_adapter
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.locate import weight_files
from palimpsest_engine.errors import UnsupportedCheckpoint
from palimpsest_engine.model.forward import head
from palimpsest_engine.prompt.pieces import Keep
from palimpsest_train.model import packed_forward
from palimpsest_train.tokenizer import EOS, FILLER
from palimpsest_tune import lora, passes
from palimpsest_tune.code import Source, prepared
from palimpsest_tune.passes import Apart, Packed, pass_for
from palimpsest_tune.run import Recipe, Tuning

from .conftest import module, write_checkpoint


@pytest.fixture
def code(checkpoint):
    return prepared([Source(module(seed), "python") for seed in range(12)], checkpoint.tokenizer, 0, "here")


def stirred(model):
    """The model with LoRA matrices that do something."""
    tuned = lora.wrapped(model, rank=4, seed=1)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return tuned


def tensors(batch):
    return {name: torch.from_numpy(getattr(batch, name)) for name in batch.__dataclass_fields__}


@contextmanager
def as_the_class_is(model):
    """Run with the library's own attention, which makes its own masks; the engine's must be given them."""
    ours = model.config._attn_implementation
    model.set_attn_implementation("eager")
    yield
    model.set_attn_implementation(ours)


def class_logits(model, batch, row, canvas, length):
    """Return the class's own logits for one canvas: its encoder over the context, then its decoder."""
    start = int(batch["starts"][row, canvas])
    with as_the_class_is(model):
        out = model(
            input_ids=batch["context"][row : row + 1, :start],
            decoder_input_ids=batch["noised"][row : row + 1, canvas * length : (canvas + 1) * length],
        )
    return out.logits[0]


def packed_logits(model, batch):
    soft = torch.zeros(*batch["noised"].shape, model.config.get_text_config().hidden_size)
    hidden = packed_forward(model, batch["context"], batch["noised"], batch["positions"], batch["starts"], soft)
    return head(model, hidden)


def test_the_packed_pass_with_lora_equals_the_class_with_lora_shared_and_merged(checkpoint, folder, code, tmp_path):
    at = pass_for(checkpoint)
    assert isinstance(at, Packed)
    model, shape = checkpoint.model, at.shape
    batch = tensors(at.rows(code.train, 3).batch(2))
    with torch.no_grad():
        plain = packed_logits(model, batch)
        tuned = stirred(model)
        packed = packed_logits(model, batch)
        assert (packed - plain).abs().max() > 0.1
        pairs = [(row, canvas) for row in range(2) for canvas in range(shape.canvases)]
        with lora.shared(model):
            through_class = [class_logits(model, batch, *pair, shape.canvas) for pair in pairs]
        lora.save(tuned, tmp_path, "tiny")
        tuned.unload()
        torch.testing.assert_close(packed_logits(model, batch), plain, atol=0, rtol=0)
        write_note(checkpoint, tmp_path, code)
        merge(model, read_adapter(str(tmp_path), folder, checkpoint.spec, weight_files(folder)))
        merged = packed_logits(model, batch)
        for (row, canvas), logits in zip(pairs, through_class, strict=True):
            where = slice(shape.context + canvas * shape.canvas, shape.context + (canvas + 1) * shape.canvas)
            torch.testing.assert_close(packed[row, where], logits, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(packed[row, where], class_logits(model, batch, row, canvas, shape.canvas),
                                       atol=1e-4, rtol=1e-4)  # fmt: skip
        torch.testing.assert_close(packed, merged, atol=1e-4, rtol=1e-4)


def write_note(checkpoint, folder, code):
    """The note of an adapter whose matrices are there, by the very function that writes it."""
    tuning = Tuning(checkpoint, code, Recipe(lines=0, held_out_rows=8))
    before = tuning.measure()
    weights = {name: parameter.clone() for name, parameter in checkpoint.model.named_parameters()}
    tuning.finish(folder, before)
    with torch.no_grad():
        for name, parameter in checkpoint.model.named_parameters():
            parameter.copy_(weights[name])


def test_only_the_matrices_are_trained_and_the_tied_modules_have_them_once(checkpoint):
    model = checkpoint.model
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    tuned = lora.wrapped(model, rank=4, seed=1)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    projections = sum(layer.self_attn.v_proj is not None for layer in model.model.decoder.layers) + 3 * 6
    assert len(trained) == 2 * projections
    assert all("lora_" in name and ".decoder.layers." in name for name in trained)
    theirs = model.model.encoder.language_model.layers[0].self_attn
    ours = model.model.decoder.layers[0].self_attn
    own = theirs.q_proj
    with lora.shared(model):
        assert theirs.q_proj is ours.q_proj
    assert theirs.q_proj is own
    assert theirs.q_proj.weight is ours.q_proj.base_layer.weight
    tuned.unload()
    assert {name: parameter.shape for name, parameter in model.named_parameters()} == {
        name: parameter.shape for name, parameter in before.items()
    }
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_another_seed_begins_elsewhere_and_the_same_one_does_not(folder):
    drawn = []
    for seed in (1, 1, 2):
        model = load(EngineSettings(str(folder), device="cpu", dtype="float32"), trainable=True).model
        lora.wrapped(model, 4, seed)
        drawn.append(torch.cat([p.flatten() for n, p in model.named_parameters() if "lora_A" in n]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_question_is_what_the_engine_would_ask(checkpoint, code):
    """Its context and canvas, read as text without filler, are the document around the hole."""
    questions = passes.Questions(checkpoint, code.train, 5)
    tokens, spec = questions.tokens, checkpoint.spec
    texts = [source.text for source in code.train.sources]
    fillers = 0
    for question in questions.batch(60):
        hole = question.clean[: len(question.weight)]
        fillers += hole.count(FILLER)
        assert len(question.context) <= spec.context
        assert len(question.clean) == len(question.noised) <= spec.canvas
        assert question.clean[len(hole) :] == question.noised[len(hole) :]
        assert FILLER not in question.clean[len(hole) :]
        middle = tokens.decode([token for token in question.clean if token not in (FILLER, EOS)])
        prefix = tokens.decode(question.context[question.context.index(spec.prefix_id) + 1 :])
        assert any(prefix[-40:] + middle in text for text in texts)
        assert sum(question.weight) == pytest.approx(len(hole) - hole.count(FILLER) + (FILLER in hole))
    assert fillers


def test_the_class_pass_agrees_with_the_class(checkpoint, code):
    at = Apart(checkpoint)
    model = checkpoint.model
    question = at.rows(code.train, 3).question()
    with torch.no_grad():
        causal, diffusion = at.losses([question], None)
        conditioned = at.losses([question], 0.7)
    with torch.no_grad(), as_the_class_is(model):
        out = model(input_ids=torch.tensor([question.context]), decoder_input_ids=torch.tensor([question.noised]))
        hole = len(question.weight)
        weight = torch.tensor(question.weight)
        each = torch.nn.functional.cross_entropy(
            out.logits[0, :hole], torch.tensor(question.clean[:hole]), reduction="none"
        )
        torch.testing.assert_close(diffusion, (each * weight).sum() / weight.sum(), atol=1e-4, rtol=1e-4)
        encoded = model.model.encoder(input_ids=torch.tensor([question.context])).last_hidden_state
        said = head(model, encoded[0, :-1])
        expected = torch.nn.functional.cross_entropy(said, torch.tensor(question.context[1:]))
        torch.testing.assert_close(causal, expected, atol=1e-4, rtol=1e-4)
        assert not torch.equal(conditioned[1], diffusion)
        torch.testing.assert_close(conditioned[0], causal)


def test_packed_and_class_pass_agree_on_self_conditioning(checkpoint, code):
    """One canvas of a packed row, asked as a question of its own."""
    packed, apart = Packed(checkpoint), Apart(checkpoint)
    batch = packed.rows(code.train, 4).batch(1)
    at, length = batch.at[0].reshape(packed.shape.canvases, -1), packed.shape.canvas
    for canvas in range(packed.shape.canvases):
        span = slice(canvas * length, (canvas + 1) * length)
        if not batch.is_hole[0][span].all() and batch.is_hole[0][span][0]:
            holes = int(batch.is_hole[0][span].sum())
            if batch.is_hole[0][span][:holes].all():
                break
    else:
        pytest.fail("no canvas begins with its one hole")
    weight = np.zeros(holes, dtype=np.float32)
    counted = batch.weight[0].reshape(packed.shape.canvases, -1)[canvas]
    np.add.at(weight, at[canvas][counted > 0] - span.start, counted[counted > 0])
    question = passes.Question(
        batch.context[0][: batch.starts[0][canvas]].tolist(),
        batch.clean[0][span].tolist(),
        batch.noised[0][span].tolist(),
        weight.tolist(),
    )
    only = type(batch)(**{name: getattr(batch, name).copy() for name in batch.__dataclass_fields__})
    only.weight[:] = 0
    only.weight[0].reshape(packed.shape.canvases, -1)[canvas] = counted
    with torch.no_grad():
        for temperature in (None, 0.6):
            torch.testing.assert_close(
                packed.losses(only, temperature)[1], apart.losses([question], temperature)[1], atol=2e-4, rtol=2e-4
            )


def test_many_experts_or_the_chat_dialect_go_through_the_class(checkpoint, folder, tmp_path):
    assert isinstance(pass_for(checkpoint), Packed)
    changed = write_checkpoint(tmp_path / "narrow", context=2048)  # its windows are narrower
    assert isinstance(
        pass_for(load(EngineSettings(str(changed), device="cpu", dtype="float32"), trainable=True)), Apart
    )


def test_the_left_to_right_control_is_not_tuned(tmp_path):
    folder = write_checkpoint(tmp_path / "control", left_to_right=True)
    with pytest.raises(UnsupportedCheckpoint, match="left to right"):
        pass_for(load(EngineSettings(str(folder), device="cpu", dtype="float32"), trainable=True))


def test_no_hole_is_blank(checkpoint, code):
    questions = passes.Questions(checkpoint, code.train, 1)
    for source in code.train.sources[:3]:
        for _ in range(50):
            start, end = questions.hole(source.text)
            assert source.text[start:end].strip()
            assert Keep(source.text[:start]).text + source.text[start:] == source.text
