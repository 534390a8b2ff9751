"""From text to tokens: no text is lost, a healed token is offered again, windows are stable under typing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from palimpsest_engine import Excerpt, FillRequest, Span, UnsupportedCheckpoint
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.prompt import layout as layout_module
from palimpsest_engine.prompt.layout import WINDOW, heal, lay_out, prefix_window, window_for
from palimpsest_engine.prompt.pieces import Hole, Keep, newline_of, pieces
from palimpsest_engine.prompt.preview import seen
from palimpsest_engine.prompt.tokens import Tokens

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


@pytest.fixture(scope="module")
def tokens(checkpoint):
    return Tokens(checkpoint.tokenizer, checkpoint.model.config.get_text_config().vocab_size)


@given(text=TEXTS, cuts=st.lists(st.integers(0, 60), min_size=2, max_size=2))
def test_pieces_put_together_are_the_document(text, cuts):
    start, end = sorted(min(cut, len(text)) for cut in cuts)
    parts = pieces(FillRequest(text, (Span(start, end),)))
    assert "".join(part.text for part in parts) == text
    assert [type(part) for part in parts] == [Keep, Hole, Keep]


@settings(deadline=None)
@given(text=TEXTS)
def test_any_text_is_encoded_and_decoded_to_itself(tokens, text):
    ids = tokens.encode(text)
    assert not set(ids) & tokens.special
    if "\ufffd" not in text:
        assert tokens.decode(ids) == text


@pytest.mark.parametrize("text", ["<pad>", "<eos>x", "a<fill>b", "<pre><suf>"])
def test_a_control_token_written_out_in_a_document_is_encoded_as_text(tokens, text):
    assert not set(tokens.encode(text)) & tokens.special
    assert tokens.decode(tokens.encode(text)) == text


@settings(deadline=None)
@given(text=TEXTS)
def test_healing_takes_the_last_token_and_offers_it_again(tokens, text):
    ids = tokens.encode(text)
    kept, healed = heal(tokens, list(ids))
    if healed:
        assert text.endswith(healed)
        assert [*kept, ids[-1]] == ids
        assert ids[-1] in tokens.starting_with(healed)
        assert all(tokens.texts[i].startswith(healed) for i in tokens.starting_with(healed))
    else:
        assert kept == ids


@pytest.mark.parametrize("window", [WINDOW, 8192, 1000])
def test_the_window_of_a_long_prefix_is_stable_under_typing(window):
    text = "".join(f"line {i}\n" for i in range(20_000))
    assert len(text) > window
    windows = [prefix_window(text + "x" * n, window) for n in range(200)]
    assert all(window * 3 / 4 - 12 <= len(w) <= window for w in windows)
    assert all(w.startswith("line ") for w in windows)
    starts = {len(text) + n - len(w) for n, w in enumerate(windows)}
    assert len(starts) <= 2
    assert prefix_window("x" * (window + 3), window) == "x" * (window + 3 - window // 4)


@pytest.mark.parametrize("context", [64, 128, 512])
def test_the_window_loses_no_token_of_the_context(tokens, checkpoint, context, monkeypatch):
    """The end of the context is the same; its beginning moves in steps, counted from the window's start."""
    text = "".join(path.read_text("utf-8") for path in sorted(Path(layout_module.__file__).parent.glob("l*.py")))
    spec = replace(checkpoint.spec, context=context, suffix=context // 3)
    ats = range(0, len(text), 997)
    near = [lay_out(pieces(FillRequest(text, (Span(at, at),))), spec, tokens, "python") for at in ats]
    monkeypatch.setattr("palimpsest_engine.prompt.layout.window_for", lambda tokens: WINDOW)
    for at, one in zip(ats, near, strict=True):
        other = lay_out(pieces(FillRequest(text, (Span(at, at),))), spec, tokens, "python")
        start = one.context.index(spec.prefix_id) + 1
        assert one.context[:start] == other.context[:start]
        same = min(len(one.context), len(other.context)) - start
        assert same >= min(len(other.context) - start, context - start - 8 - 64)
        assert one.context[len(one.context) - same :] == other.context[len(other.context) - same :]
        assert (one.healed, one.right) == (other.healed, other.right)


def test_a_window_is_never_larger_than_the_limit():
    assert [window_for(tokens) for tokens in (1, 512, 8192)] == [16, 8192, WINDOW]


def test_context_is_within_budget_and_suffix_comes_before_prefix(tokens, checkpoint):
    spec = checkpoint.spec
    text = "".join(f"name_{i} = {i}\n" for i in range(200))
    at = len(text) // 2
    layout = lay_out(pieces(FillRequest(text, (Span(at, at),))), spec, tokens, "python")
    assert len(layout.context) <= spec.context
    assert layout.context[:2] == (spec.bos_id, spec.suffix_id)
    assert layout.context.index(spec.prefix_id) <= spec.suffix + 2
    assert list(layout.right) == tokens.encode(text[at:])[: len(layout.right)]


def test_crlf_reaches_the_model_as_a_plain_newline(tokens, checkpoint):
    crlf = lay_out(pieces(FillRequest("a\r\nb\r\nc", (Span(3, 3),))), checkpoint.spec, tokens, None)
    plain = lay_out(pieces(FillRequest("a\nb\nc", (Span(2, 2),))), checkpoint.spec, tokens, None)
    assert crlf == plain
    assert newline_of("a\r\nb\r\nc\n") == "\r\n"
    assert newline_of("") == "\n"


def test_the_chat_dialect_names_the_missing_token(tokens, checkpoint):
    with pytest.raises(UnsupportedCheckpoint, match=r"<turn\|>|<\|turn>"):
        lay_out(pieces(FillRequest("a", (Span(1, 1),))), replace(checkpoint.spec, dialect="chat"), tokens, "python")


def test_the_chat_dialect_ends_in_the_model_s_turn_after_an_empty_thought(checkpoint):
    """The suffix is in the user's turn and the prefix in the model's, so that typing only appends; the end is pinned."""
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer.to_str())
    controls = ["<bos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in controls])
    tokens = Tokens(tokenizer, tokenizer.get_vocab_size())
    text, at = "def f(x):\n    y = <turn|>\n    return y\n", 18
    spec = replace(checkpoint.spec, dialect="chat", context=400)
    layout = lay_out(pieces(FillRequest(text, (Span(at, at),))), spec, tokens, "python")

    def shown(ids):
        return tokenizer.decode(list(ids), skip_special_tokens=False)

    prompt = shown(layout.context)
    user, model = prompt.split("<|turn>model\n")
    assert user.startswith("<bos><|turn>user\n")
    assert user.endswith(text[at:] + "```<turn|>\n")
    assert model.startswith("<|channel>thought\n<channel|>```python\n")
    assert model.endswith(text[:at][: -len(layout.healed)])
    # The document's own `<turn|>` is text: control tokens come from the layout alone.
    assert [layout.context.count(tokenizer.token_to_id(name)) for name in controls] == [1, 2, 1, 1, 1]
    assert shown(layout.right).endswith("    return y\n```<turn|>") or len(layout.right) == spec.canvas
    assert layout.end == tokenizer.token_to_id("<eos>")


EXCERPTS = [Excerpt("far.py", "def far():\n    pass\n"), Excerpt("near.py", "def near(<eos>):\n    <turn|> <fill>\n")]


@pytest.mark.parametrize("dialect", ["fim", "chat"])
def test_excerpts_are_read_and_their_control_tokens_are_text(checkpoint, dialect):
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer.to_str())
    names = ["<bos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"]
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    tokens = Tokens(tokenizer, tokenizer.get_vocab_size())
    spec = replace(checkpoint.spec, dialect=dialect, context=2048, suffix=512)
    text = "x = near(\n"
    for special in [tokenizer.id_to_token(i) for i in tokens.special]:
        parts = pieces(FillRequest(text + special, (Span(9, 9),)))
        excerpts = [*EXCERPTS, Excerpt(f"{special}.py", f"a = '{special}'\n")]
        without, layout = lay_out(parts, spec, tokens, "python"), lay_out(parts, spec, tokens, "python", excerpts)
        read = "".join(tokens.texts[i] for i in layout.context if i not in tokens.special)
        assert f"# near.py\n{EXCERPTS[1].text}\n# {special}.py\na = '{special}'\n\n" in read
        assert read.index("far.py") < read.index("near.py") < read.rindex("x = near")
        assert layout.right == without.right
        assert [i for i in layout.context if i in tokens.special] == [i for i in without.context if i in tokens.special]


def test_the_last_excerpt_is_kept_first_and_only_whole_ones(checkpoint, tokens):
    parts = pieces(FillRequest("x = \n", (Span(4, 4),)))
    need = len(tokens.encode("# near.py\n" + EXCERPTS[1].text + "\n"))
    layout = lay_out(parts, replace(checkpoint.spec, context=4096, excerpts=need), tokens, "python", EXCERPTS)
    read = tokens.decode(layout.context)
    assert "near.py" in read
    assert "far" not in read
    tight = lay_out(parts, replace(checkpoint.spec, excerpts=need - 1), tokens, "python", EXCERPTS[1:])
    assert tight.context == lay_out(parts, checkpoint.spec, tokens, "python").context


def test_the_preview_shows_the_layout(checkpoint_folder, checkpoint, tokens):
    request = FillRequest("def f(x):\n    retu\n", (Span(18, 18),), context=tuple(EXCERPTS), language="python")
    told = seen(EngineSettings(str(checkpoint_folder)), request)
    layout = lay_out(pieces(request), checkpoint.spec, tokens, "python", EXCERPTS)
    assert told.tokens == len(layout.context)
    assert told.context.endswith("def f(x):\n    retu".removesuffix(told.begins))
    assert told.begins == layout.healed
    assert told.pins.startswith("\n")


@pytest.mark.parametrize("text", ["\ud83d", "a\udc00b", "\ud83d\ud83d x"])
def test_half_a_surrogate_pair_is_read_as_a_replacement_character(tokens, text):
    assert tokens.encode(text) == tokens.encode("".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text))
    assert tokens.offsets(text)[-1] == len(text)
