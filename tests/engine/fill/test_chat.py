"""Fills of an instruction-tuned checkpoint, by the template in its folder: a tiny random model that likes to end its turn."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from tests.engine.conftest import SAMPLES, tiny
from tokenizers import AddedToken

from palimpsest_engine import FillRequest, Span
from palimpsest_engine.checkpoint.description import read_spec
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.spec import spec_of_chat
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.errors import CheckpointBroken
from palimpsest_engine.fill import candidates
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.detokenize import Detokenizer
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.fill.plan import plan_canvas
from palimpsest_engine.fill.ranking import Ranking
from palimpsest_engine.fill.writer import Writer
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


@pytest.fixture(scope="module")
def loaded(folder):
    return load(EngineSettings(str(folder), device="cpu", dtype="float32"))


@pytest.fixture
def filler(loaded):
    return Filler(loaded)


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
def test_no_hole_ends_the_turn_or_is_shorter_than_asked(filler, monkeypatch, max_lines, seed):
    request = FillRequest(TEXT, (Span(AT, AT),), language="python", max_lines=max_lines, seed=seed)
    holes = canvases(filler, request, monkeypatch)
    assert {len(hole) for hole in holes} >= {8, 16}
    assert not {token for hole in holes for token in hole} & filler.resources.tokens.special
    nothing = torch.zeros_like(filler.resources.banned)
    filler.resources = replace(filler.resources, banned=nothing)
    control = filler.resources.tokens.special
    assert any(set(hole) & control for hole in canvases(filler, request, monkeypatch)), "the model would end its turn"


def test_values_that_a_description_leaves_open_depend_on_the_device(folder, tmp_path):
    (tmp_path / "palimpsest.json").write_text('{"name": "a"}', "utf-8")
    assert replace(read_spec(tmp_path, "cuda:1"), name="b") == spec_of_chat("b", "cuda:0")
    gpu, cpu = read_spec(tmp_path, "cuda"), read_spec(tmp_path, "cpu")
    assert (gpu.canvas, gpu.whole_canvas, cpu.whole_canvas) == (256, True, False)
    for sizes in ("hole_sizes", "line_sizes"):
        assert len(getattr(gpu, sizes)) > len(getattr(cpu, sizes)), "rows cost more on a CPU"
    own = read_spec(folder, "cuda")
    assert (own.hole_sizes, own.line_sizes, own.canvas, own.pins) == ((8, 16), (), 32, 8), "it says so itself"


@pytest.mark.parametrize(
    ("near", "present", "sizes"),
    [
        ((), 0, (4, 8, 16)),
        ((), 10, (4, 8, 16)),
        ((), 20, (20,)),
        ((1.0, 0.75, 1.35), 0, (4, 8, 16)),
        ((1.0, 0.75, 1.35), 3, (4, 8, 16)),  # a placeholder says nothing of the length
        ((1.0, 0.75, 1.35), 4, (3, 4, 5)),
        ((1.0, 0.75), 10, (8, 10, 16)),
        ((1.0,), 14, (4, 8, 14)),
        ((1.0, 0.75, 1.35), 20, (15, 20, 27)),
        ((1.0,), 20, (20,)),
        ((1.0, 2.0), 20, (20,)),  # forty have no room
        ((1.0, 0.75), 40, (4, 8, 16)),  # after a whole canvas
    ],
)
def test_the_sizes_of_a_hole_are_near_the_length_of_the_text_it_replaces(filler, near, present, sizes):
    spec = replace(filler.spec, hole_sizes=(4, 8, 16), near=near)
    text = "".join("0123456789"[n % 10] for n in range(present))
    assert len(filler.tokens.encode(text)) == present
    request = FillRequest("a = " + text + "\n", (Span(4, 4 + present),))
    layout = CanvasFill(filler.resources, request, filler.prefix_cache("d")).layout
    plan = plan_canvas(request, spec, filler.tokens, layout)
    assert plan.sizes == sizes
    assert plan.blocks == (present > spec.canvas)


@pytest.mark.parametrize("whole", [False, True])
def test_a_whole_canvas_has_the_text_below_the_end_of_the_turn_and_then_what_follows_it(filler, monkeypatch, whole):
    filler.resources = replace(filler.resources, spec=replace(filler.spec, whole_canvas=whole, canvas=64))
    text, canvases = "def f(x):\n    y = \n    return y\n", []
    denoised = candidates.denoise
    monkeypatch.setattr(
        candidates, "denoise", lambda m, p, canvas, *rest: canvases.append(canvas) or denoised(m, p, canvas, *rest)
    )
    list(filler.fill(FillRequest(text, (Span(AT, AT),), language="python"), lambda: False))
    (canvas, *_), tokens = canvases, filler.tokens
    assert canvas.tokens.shape == (2, 64 if whole else 16 + filler.spec.pins)
    after, end, rest = tokens.encode(text[AT:] + "```"), tokens.control("<turn|>"), tokens.control("<eos>")
    for row, size in zip(canvas.tokens.tolist(), (8, 16), strict=True):
        pins = [*after, end, *[rest] * 64][: len(row) - size]
        assert row[size:] == pins
    assert not canvas.is_hole[0, 8:].any()


def middle(filler, request, written, ends=()):
    """Return the middle that comes of it if the model goes on with this text."""
    layout = CanvasFill(filler.resources, request, filler.prefix_cache("d")).layout
    writer = Writer(filler.resources, request, layout, torch.Generator())
    writer.steps(None, 1)  # nothing runs before its first pass is asked for
    ids = [*filler.tokens.encode(layout.healed + written), *map(filler.tokens.control, ends)]
    count = next((n for n in range(1, len(ids) + 1) if writer.over(ids[:n], request.max_lines)), len(ids))
    return filler.tokens.decode(writer.middle(ids[:count])).removeprefix(layout.healed)


@pytest.mark.parametrize(
    ("text", "max_lines", "written", "ends", "wanted"),
    [
        ("y = ¦\nreturn y\n", 1, "f(x)\nreturn y\n```", ["<turn|>"], "f(x)"),
        ("y = f(¦)\nreturn y\n", 1, "x, 1)\nreturn y\n", [], "x, 1"),
        ("y = f(¦)\nreturn y\n", None, "x, 1)\nreturn y\n", [], "x, 1"),
        (
            "def f():\n¦return y_of_it\n",
            None,
            "    y = 1\n    z = 2\nreturn y_of_it\n```",
            [],
            "    y = 1\n    z = 2\n",
        ),
        ("def f():\n¦", None, "    y = 1\n    z = 2\n```", ["<turn|>"], "    y = 1\n    z = 2"),
        ("def f():\n¦", None, "    y = 1\n    z = 2", ["<turn|>"], "    y = 1\n    z = 2"),
        ("def f():\n¦", None, "    y = 1\n    z = 2", ["<eos>"], "    y = 1\n    z = 2"),
        ("def f():\n¦", 1, "    y = 1\n    z = 2\n```", ["<turn|>"], "    y = 1\n"),
        ("x = 1\n¦", None, "```\n\nThat is all.", ["<turn|>"], ""),
        ("x = ¦", None, "1\n```\nThat is all.", ["<turn|>"], "1"),
    ],
)
def test_a_written_middle_ends_at_the_line_the_text_below_the_block_or_the_turn(
    filler, text, max_lines, written, ends, wanted
):
    at = text.index("¦")
    request = FillRequest(text.replace("¦", ""), (Span(at, at),), language="python", max_lines=max_lines)
    assert middle(filler, request, written, ends) == wanted


@pytest.mark.parametrize("max_lines", [1, None])
def test_a_candidate_is_written_on_from_the_prefix_and_ranked_with_those_of_the_canvas(filler, monkeypatch, max_lines):
    begun, ranked = [], []
    write, rank = Writer.steps, Ranking.rank
    monkeypatch.setattr(
        Writer, "steps", lambda self, *args, **more: begun.append((self, args)) or write(self, *args, **more)
    )
    monkeypatch.setattr(
        Ranking, "rank", lambda self, layout, found: ranked.append(list(found)) or rank(self, layout, found)
    )
    list(filler.fill(FillRequest(TEXT, (Span(AT, AT),), language="python", max_lines=max_lines), lambda: False))
    (writer, (_, count, lines, _)), found = begun[0], ranked[0]
    context = filler.tokens.tokenizer.decode(list(writer.layout.context), skip_special_tokens=False)
    assert (context + writer.layout.healed).endswith("<|turn>model\n```python\ndef f(x):\n    y = ")
    assert count == filler.spec.causal_candidates == 1
    assert lines is None, "the request's own limit"
    assert [bool(each.logs) for each in found] == [False, False, True]


@pytest.mark.parametrize(("limit", "kept"), [(0, True), (1, False), (100, True)])
def test_a_written_text_that_takes_too_many_passes_is_left_out(loaded, monkeypatch, limit, kept):
    filler = Filler(replace(loaded, spec=replace(loaded.spec, written_passes=limit)))
    ranked, rank = [], Ranking.rank
    monkeypatch.setattr(
        Ranking, "rank", lambda self, layout, found: ranked.append(list(found)) or rank(self, layout, found)
    )
    *_, fill = filler.fill(FillRequest(TEXT, (Span(AT, AT),), language="python", max_lines=1), lambda: False)
    assert any(each.logs for each in ranked[0]) == kept
    assert len(ranked[0]) > 0
    assert fill.nfe > 0


def test_a_description_can_leave_that_out(folder, tmp_path):
    described = json.loads((folder / "palimpsest.json").read_text("utf-8"))
    (tmp_path / "palimpsest.json").write_text(json.dumps(described | {"causal_candidates": 0}), "utf-8")
    assert read_spec(folder).causal_candidates == 1
    assert read_spec(tmp_path).causal_candidates == 0


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
