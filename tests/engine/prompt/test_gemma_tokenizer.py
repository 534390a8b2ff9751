"""The engine's own handling of text and tokens, with the vocabulary of the published DiffusionGemma: 262,144 entries."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine import gemma
from tokenizers import AddedToken

import palimpsest_engine
from palimpsest_engine.checkpoint.spec import Chat, Spec, spec_of_chat
from palimpsest_engine.errors import UnsupportedCheckpoint
from palimpsest_engine.fill.plan import plan_canvas
from palimpsest_engine.prompt.layout import ASK, ASK_FOR_ALL, heal, lay_out
from palimpsest_engine.prompt.pieces import pieces, plain
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import Excerpt, FillRequest, Span
from palimpsest_eval.held_out import Document, problems

pytest.importorskip("splintr")
pytestmark = pytest.mark.xdist_group("gemma")  # building the tokenizer takes some seconds, once a process

HERE = Path(palimpsest_engine.__file__).parent
SPEC = Spec("gemma")
CHATS = {
    "thought": Chat(),
    "plain": Chat("plain"),
    "thinking": Chat(thinking=True),
    "its own turns": Chat(turns=("<bos><|turn>user\nPlease: ", "<turn|>\n<|turn>model\nHere it is:\n")),
}
# Control tokens, junk, blanks of all kinds, astral characters, half characters, joined ones, and code.
PARTS = st.one_of(
    st.sampled_from([*gemma.CONTROLS, *gemma.FIRST, "<unused49>", "<unused6226>", "[multimodal]", "<table>", "</h1>"]),
    st.sampled_from(
        ["    ", "\t", "\n", "\n\n\n", "\r\n", "\r", "▁", "▁▁", " " * 40, "\u00a0", "\u2028", "\ufeff", "\0"]
    ),
    st.sampled_from(
        ["def f(x):\n", "return", "self.", "🦜", "𝕏", "👨‍👩‍👧", "é", "e\u0301", "한국", "\ud83d", "\udc00", "<0x0A>"]
    ),
    st.text(max_size=6),
)
TEXTS = st.lists(PARTS, max_size=12).map("".join)
MANY = settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def tokens():
    found = Tokens(gemma.tokenizer(), gemma.SIZE)
    assert found.vocabulary == found.tokenizer.get_vocab_size() == gemma.SIZE
    return found


def test_the_known_prompt_has_the_known_ids():
    tokenizer = gemma.tokenizer()
    assert tokenizer.encode(gemma.KNOWN, add_special_tokens=False).ids == list(gemma.KNOWN_IDS)


def laid_out(before, after, tokens, chat=SPEC.chat, **spec):
    at = len(before)
    request = FillRequest(before + after, (Span(at, at),), context=(Excerpt("a.py", "A = 1\n"),))
    return lay_out(pieces(request), replace(SPEC, chat=chat, **spec), tokens, "python", request.context)


@pytest.mark.parametrize("after", ["", "\n", "\n    return x\n"])
@pytest.mark.parametrize("name", CHATS)
def test_the_prompt_has_the_ids_that_its_whole_text_has(tokens, name, after):
    """As the library has it: the turns with the question in them are encoded as one text."""
    layout = laid_out("def f(x):\n", after, tokens, CHATS[name])
    shown = tokens.tokenizer.decode(list(layout.context), skip_special_tokens=False)
    assert gemma.tokenizer().encode(shown, add_special_tokens=False).ids == list(layout.context)


@pytest.mark.parametrize("after", ["", "\n", "\n    return x\n"])
@pytest.mark.parametrize("name", CHATS)
def test_the_prompt_stays_within_its_budget(tokens, name, after):
    for context in (256, 512):
        layout = laid_out("x = 1\n" * 900, after * 90, tokens, CHATS[name], context=context, suffix=64, excerpts=64)
        assert context - 80 < len(layout.context) <= context


@pytest.mark.parametrize("after", ["", "\n", " \n\t\n"])
def test_no_ending_is_asked_for_where_there_is_none(tokens, after):
    """A model that is shown an empty ending, and told to keep it, answers with nothing."""
    shown = tokens.decode(laid_out("def f(x):\n", after, tokens).context)
    assert ASK_FOR_ALL.replace("{language}", "python") in shown
    assert ASK[-30:] not in shown.replace(ASK_FOR_ALL.replace("{language}", "python"), "")
    assert "```python\n\n```" not in shown


def test_the_sentence_of_the_description_is_asked(tokens):
    shown = tokens.decode(laid_out("x = ", "\n", tokens, Chat(instruction="Write {language}, <turn|> please.")).context)
    assert "Write python, <turn|> please." in shown
    assert "whole" not in shown


@pytest.mark.parametrize("after", ["\n    return x\n", "\n    return x", ""])
def test_the_answer_ends_as_code_blocks_do(tokens, after):
    layout = laid_out("def f(x):", after, tokens)
    shown = tokens.tokenizer.decode(list(layout.right), skip_special_tokens=False)
    assert shown == f"{after.removesuffix(chr(10))}\n```<turn|>"
    assert gemma.tokenizer().encode(shown, add_special_tokens=False).ids == list(layout.right)


def test_eos_fills_the_canvas_after_the_end_of_the_turn(tokens):
    layout = laid_out("def f(x):\n", "\n", tokens)
    assert layout.end == 1
    assert layout.right[-1] == tokens.control("<turn|>")
    assert layout.right.count(layout.right[-1]) == 1


@pytest.mark.parametrize("name", ["<|wings|>", "<|wings>", "<wings|>"])
def test_a_template_with_a_control_token_that_the_tokenizer_lacks_is_refused(tokens, name):
    with pytest.raises(UnsupportedCheckpoint, match="wings"):
        laid_out("a", "b", tokens, Chat(turns=(f"<bos>{name}", "<turn|>")))


@pytest.mark.parametrize("lines", [1, None])
@pytest.mark.parametrize("after", ["", "\n", "\n    return x\n"])
def test_a_line_never_gets_one_token_and_no_end_of_an_answer(tokens, lines, after):
    """Terse questions were answered with one token, or none. A hole has three slots at least, and none of them can end it."""
    text = "def f(x):\n    "
    request = FillRequest(text + after, (Span(len(text), len(text)),), max_lines=lines)
    for device in ("cpu", "cuda"):
        plan = plan_canvas(request, spec_of_chat("gemma", device), tokens, laid_out(text, after, tokens))
        assert min(plan.sizes) >= (3 if lines == 1 else 8)
    assert {tokens.control(each) for each in ("<eos>", "<turn|>", "<pad>", "<|channel>")} <= tokens.special
    assert SPEC.filler is None


def middles(tokens, kinds):
    """Return the lengths of holes in this package's own code, with the token that is written again."""
    own = [Document("", path.name, path.read_text("utf-8")) for path in sorted(HERE.rglob("*.py"))]
    lengths = []
    for hole in problems(own, 600 * len(kinds), 7, kinds):
        before = hole.prompt[-200:]
        lengths.append(len(tokens.encode(before + hole.truth)) - len(tokens.encode(before)) + 1)
    return lengths


def near(sizes, lengths):
    """Return the share of lengths that lie within 15 % of a size, or are off by one."""
    return sum(any(abs(n - size) <= max(1, 0.15 * n) for size in sizes) for n in lengths) / len(lengths)


@pytest.mark.parametrize(
    ("kinds", "powers", "cpu", "gpu"),
    [(("span", "rest of line", "line"), 0.35, 0.55, 0.75), (("block",), 0.5, 0.45, 0.75)],
)
def test_most_middles_are_near_one_of_the_sizes(tokens, kinds, powers, cpu, gpu):
    lengths = middles(tokens, kinds)

    def sizes(device):
        spec = spec_of_chat("gemma", device)
        return spec.hole_sizes if kinds == ("block",) else spec.line_sizes

    assert near(SPEC.hole_sizes, lengths) < min(powers, near(sizes("cpu"), lengths))
    assert near(sizes("cpu"), lengths) > cpu
    assert near(sizes("cuda"), lengths) > gpu


@pytest.mark.parametrize("folder", ["prompt", "syntax", "fill"])
def test_code_is_encoded_as_another_program_encodes_it(tokens, folder):
    for path in sorted((HERE / folder).rglob("*.*")):
        if path.suffix in (".py", ".scm"):
            text = path.read_text("utf-8")
            assert tokens.encode(text) == gemma.reference().encode_ordinary(text), path


@MANY
@given(text=TEXTS)
def test_any_text_is_encoded_without_control_tokens_and_comes_back(tokens, text):
    ids = tokens.encode(text)
    assert not tokens.special.intersection(ids)
    # The vocabulary spells blanks as "▁", and a replacement character stands for a half one: both are the user's own in a
    # document, which is why nothing outside a hole is ever decoded.
    if not re.search("[▁\ufffd\ud800-\udfff]", text):
        assert tokens.decode(ids) == text


@MANY
@given(text=TEXTS)
def test_healing_takes_the_last_token_and_offers_it_again(tokens, text):
    ids = tokens.encode(text)
    kept, healed = heal(tokens, list(ids))
    if healed:
        assert kept == ids[:-1]
        assert text.replace("▁", " ").endswith(healed)
        assert ids[-1] in tokens.starting_with(healed)
    else:
        assert kept == ids


@MANY
@given(text=TEXTS, cuts=st.lists(st.integers(0, 60), min_size=4, max_size=4), chat=st.sampled_from([*CHATS.values()]))
def test_only_the_layout_writes_control_tokens_and_the_document_stays_as_it_is(tokens, text, cuts, chat):
    a, b, c, d = sorted(min(cut, len(text)) for cut in cuts)
    request = FillRequest(text, (Span(a, b), Span(c, d)), context=(Excerpt(f"{text[:9]}.py", text),))
    layout = lay_out(pieces(request), replace(SPEC, chat=chat), tokens, "python", request.context)
    empty = lay_out(pieces(FillRequest("", (Span(0, 0),))), replace(SPEC, chat=chat), tokens, "python")
    found = [i for i in (*layout.context, *layout.right) if i in tokens.special]
    assert found == [i for i in (*empty.context, *empty.right) if i in tokens.special]
    assert not tokens.special.intersection(*layout.between)
    assert tokens.decode(layout.between[0]) == tokens.decode(tokens.encode(plain(text[b:c])))
    assert request.splice((text[a:b], text[c:d])) == text


@pytest.mark.parametrize("indent", [*range(41), 100])
@pytest.mark.parametrize("blank", [" ", "\t"])
def test_an_indentation_can_go_on_with_a_word(tokens, indent, blank):
    """The token that the hole writes again allows the ids that stand where the indentation is followed by a word."""
    before, line = "def f(x):\n" + blank * indent, "return x\n"
    kept, healed = heal(tokens, tokens.encode(before))
    whole = tokens.encode(before + line)
    assert whole[: len(kept)] == kept
    assert not healed or whole[len(kept)] in tokens.starting_with(healed)


@pytest.mark.parametrize("name", [*gemma.CONTROLS, *gemma.FIRST, "<unused49>", "[multimodal]"])
def test_an_entry_that_is_no_text_is_neither_read_from_a_document_nor_written(tokens, name):
    number = tokens.tokenizer.token_to_id(name)
    assert number in tokens.special
    assert number not in tokens.encode(f"x = '{name}'\n")
    assert number not in tokens.starting_with(name[0])
    assert tokens.text(number) == ""


@pytest.mark.parametrize("name", ["<table>", "</h1>", "<b>", "<?>", "[...]", "<=>", "[-]", "<s>"])
def test_text_in_angles_and_brackets_stays_text(tokens, name):
    assert tokens.tokenizer.token_to_id(name) not in tokens.special


def test_all_unused_entries_are_known_by_their_text(tokens):
    unused = {i for i in range(gemma.SIZE) if tokens.tokenizer.id_to_token(i).startswith("<unused")}
    assert len(unused) == 6_227
    assert len(tokens.special - unused) == len(gemma.CONTROLS) + len(gemma.FIRST) + 1


def test_unused_entries_that_a_file_adds_as_ordinary_tokens_are_no_text_either():
    tokenizer = gemma.tokenizer()
    added = ["<unused49>", "<unused50>", "[multimodal]"]
    tokenizer.add_tokens([AddedToken(each, normalized=False) for each in added])
    ids = [tokenizer.token_to_id(each) for each in added]
    tokens = Tokens(tokenizer, gemma.SIZE)
    assert not set(ids) & set(tokens.encode("".join(added)))
    assert tokens.decode(tokens.encode("".join(added))) == "".join(added)


class Counting:
    """A tokenizer that counts how many ids it is asked to decode."""

    def __init__(self, inner):
        self.inner, self.decoded = inner, 0

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def decode(self, ids, **options):
        self.decoded += len(ids)
        return self.inner.decode(ids, **options)

    def decode_batch(self, batch, **options):
        self.decoded += sum(map(len, batch))
        return self.inner.decode_batch(batch, **options)


def test_the_vocabulary_is_decoded_only_when_a_fill_needs_all_of_it_and_once():
    counting = Counting(gemma.tokenizer())
    tokens = Tokens(counting, gemma.SIZE)
    assert len(tokens.special) > 6_000
    lay_out(pieces(FillRequest("x = 1\nretu", (Span(10, 10),))), SPEC, tokens, "python")
    assert counting.decoded <= 1  # the token under the cursor
    for healed in ("retu", "re", "x", " "):
        assert tokens.starting_with(healed)
    assert counting.decoded <= gemma.SIZE + 1
