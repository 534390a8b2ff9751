"""A left-to-right model in the engine: what it reads, where its middles end, what it says that it cannot do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest_engine import Draft, EngineSettings, Fill, FillRequest, Span
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.fill import writer
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.prompt.layout import heal_words
from palimpsest_engine.request import Excerpt

from ..causal import write_model


@pytest.fixture(scope="module")
def filler(tmp_path_factory):
    folder = write_model(tmp_path_factory.mktemp("writer") / "model", "qwen2")
    return Filler(load(EngineSettings(str(folder), device="cpu", dtype="float32")))


def at(text, mark="¦", **options):
    """A request with its hole at the mark."""
    place = text.index(mark)
    return FillRequest(text.replace(mark, ""), (Span(place, place),), path="a.py", document="d", **options)


def read_of(filler, request):
    layout = CanvasFill(filler.resources, request, filler.prefix_cache("d")).layout
    return filler.tokens.tokenizer.decode(list(layout.context), skip_special_tokens=False), layout.healed


@pytest.mark.parametrize(
    ("order", "text", "prompt", "healed"),
    [
        ("spm", "a = ¦\nb\n", "<|fim_prefix|><|fim_suffix|>\nb\n<|fim_middle|>a =", " "),
        ("psm", "a = ¦\nb\n", "<|fim_prefix|>a =<|fim_suffix|>\nb\n<|fim_middle|>", " "),
        ("spm", "if a:\n        ¦\n", "<|fim_prefix|><|fim_suffix|>\n<|fim_middle|>if a:\n       ", " "),
        ("spm", "if a:\n\t¦\n", "<|fim_prefix|><|fim_suffix|>\n<|fim_middle|>if a:\n", "\t"),
        ("spm", "a\n¦\n", "<|fim_prefix|><|fim_suffix|>\n<|fim_middle|>a\n", ""),
        ("spm", "¦", "<|fim_prefix|><|fim_suffix|><|fim_middle|>", ""),
        ("spm", "ret¦\n", "<|fim_prefix|><|fim_suffix|>\n<|fim_middle|>", "ret"),
    ],
)
def test_both_sides_stand_in_the_order_that_the_model_was_taught(filler, order, text, prompt, healed):
    filler.resources = replace(filler.resources, spec=replace(filler.resources.spec, order=order))
    assert read_of(filler, at(text)) == (prompt, healed)


def test_other_files_stand_before_both_sides_with_their_marks(filler):
    filler.resources = replace(filler.resources, spec=replace(filler.resources.spec, order="spm"))
    request = at("x¦\n", context=(Excerpt("b.py", "B = 1\n"), Excerpt("c.py", "C = 2\n")))
    prompt, _ = read_of(filler, request)
    assert prompt == (
        "<|repo_name|>project\n<|file_sep|>b.py\nB = 1\n\n<|file_sep|>c.py\nC = 2\n\n<|file_sep|>a.py\n"
        "<|fim_prefix|><|fim_suffix|>\n<|fim_middle|>"
    )


def test_a_control_token_in_the_code_is_only_text(filler):
    prompt, _ = read_of(filler, at("a = '<|fim_middle|>'\nb = ¦\n"))
    ids = CanvasFill(filler.resources, at("a = '<|fim_middle|>'\nb = ¦\n"), filler.prefix_cache("d")).layout.context
    assert prompt.count("<|fim_middle|>") == 2
    assert list(ids).count(filler.tokens.control("<|fim_middle|>")) == 1


@given(text=st.text("ab \t\n(", max_size=12))
def test_the_prefix_and_the_text_to_write_again_make_the_whole(text):
    class Bytes:
        text = staticmethod(chr)

        def encode(self, text):
            return [ord(each) for each in text]

    ids, healed = heal_words(Bytes(), text)
    assert "".join(map(chr, ids)) + healed == text
    assert "\n" not in healed


def scripted(monkeypatch, filler, text, ends=True, seen=None):
    """Have the model write this text, a byte at a time, and then the token that ends a middle."""
    ids = filler.tokens.encode(text) + ([filler.tokens.control("<|endoftext|>")] if ends else [])

    def script(model, cache, last, most, banned, opening, ended, rows, *others):
        written = []
        for token in ids[:most]:
            written.append(token)
            yield [list(written) for _ in range(rows)]
            if ended(list(written)):
                return

    monkeypatch.setattr(writer, "writing", script)
    return ids


def fill_of(filler, request):
    *drafts, fill = filler.fill(request)
    assert isinstance(fill, Fill)
    assert all(isinstance(each, Draft) for each in drafts)
    return drafts, fill


@pytest.mark.parametrize(
    ("text", "written", "options", "kept", "tokens_read"),
    [
        ("x = ¦\ny = 2\n", " 1", {}, "1", "all"),  # its own end
        ("x = ¦\ny = 2\n", " 1\ny = 2\nz = 3\n", {}, "1", "few"),  # what stands below again
        ("x = ¦\n", " 1\ny = 2\n", {"max_lines": 1}, "1", "few"),  # the limit
        ("x = ¦\n", " 1\n```\nThis sets x.", {}, "1", "few"),  # a chat goes on
        (
            "def f(x):\n    ¦\n\n\ny = 2\n",
            " return x\n\n\ndef g():\n    pass\n",
            {},
            "return x",
            "few",
        ),  # another block
    ],
)
def test_a_middle_ends(filler, monkeypatch, text, written, options, kept, tokens_read):
    ids = scripted(monkeypatch, filler, written)
    drafts, fill = fill_of(filler, at(text, **options))
    assert fill.texts == (kept,)
    assert (fill.nfe == len(ids)) is (tokens_read == "all")
    assert drafts[-1].texts[0].strip().startswith(kept[:3])


def test_a_model_that_ends_at_once_has_nothing_to_add(filler, monkeypatch):
    scripted(monkeypatch, filler, "")
    _, fill = fill_of(filler, at("x = 1¦\n"))
    assert (fill.texts, fill.reason) == (("",), "The model has nothing to add here.")


@pytest.mark.parametrize("holes", [1, 2])
def test_it_says_that_it_cannot_touch_up(filler, holes):
    text = "x = 1\ny = 2\n"
    spans = (Span(0, 5), Span(6, 11))[:holes]
    _, fill = fill_of(filler, FillRequest(text, spans, strength=0.3, language="python"))
    assert fill.empty
    assert "cannot keep a part of a text" in fill.reason


def test_several_holes_are_filled_one_after_the_other(filler, monkeypatch):
    scripted(monkeypatch, filler, " 1")
    text = "x = \ny = \n"
    _, fill = fill_of(filler, FillRequest(text, (Span(4, 4), Span(9, 9)), language="python"))
    assert fill.texts == ("1", "1")
    assert fill.verdict.status == "valid"


@pytest.mark.parametrize("text", ["", "¦", "é = ¦\r\nß\r\n", "x" * 5000 + "¦" + "y" * 5000, "\ud800¦", "\x00¦\x00"])
@pytest.mark.parametrize("candidates", [1, 3])
def test_any_text_is_filled_and_fills_repeat_themselves(filler, text, candidates):
    text = text if "¦" in text else "¦"
    request = replace(at(text, candidates=candidates), path=None)
    _, first = fill_of(filler, request)
    _, again = fill_of(filler, request)
    assert replace(first, ms=0, encoded=0) == replace(again, ms=0, encoded=0)
    for texts in (first.texts, *first.alternatives):
        assert not {"\ufffd", "<|fim_middle|>", "<|endoftext|>"} & set(texts)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_key_more_encodes_one_token_more(filler, seed):
    """With the suffix first, typing extends the prompt at its end."""
    filler.resources = replace(filler.resources, spec=replace(filler.resources.spec, order="spm"))
    letters = [chr(97 + (seed * 7 + i) % 26) for i in range(4)]
    for count in range(1, 5):
        document = f"s{seed}"
        request = replace(at("a = 1\n" * 20 + "".join(letters[:count]) + "¦\nend\n", sizes=(1,)), document=document)
        _, fill = fill_of(filler, request)
        assert fill.encoded == fill.context if count == 1 else fill.encoded <= 2


def test_no_banned_token_is_ever_written(filler):
    with torch.inference_mode():
        banned = filler.resources.banned_but_ends
    assert banned[filler.tokens.control("<|fim_middle|>")]
    assert not banned[filler.tokens.control("<|endoftext|>")]
    assert banned[-3:].all()  # rows of the matrix that no token has


def test_a_cancelled_fill_ends_before_the_next_pass(filler):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Exception, match="cancelled"):
        list(filler.fill(at("x = ¦\n"), cancelled))
    assert len(asked) == 4
