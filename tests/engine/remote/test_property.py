"""The text outside the holes stays whatever a server writes, and every empty fill has a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import EndpointError, Fill, FillRequest, Span
from palimpsest_engine.fill.in_turn import in_turn
from palimpsest_engine.prompt.dialects import DIALECTS
from palimpsest_engine.remote.asking import Ask, Piece
from palimpsest_engine.remote.ending import Ending, clean
from palimpsest_engine.remote.hole import HoleFill
from palimpsest_engine.remote.prompts import prompt_of

CODE = st.text(st.sampled_from("ab =+(){}[]:\n\r\t\"'`#é🎉\ud83c\udf89\ufffd\x00<|>"), max_size=40)


class Says:
    """A server that writes the given pieces, whatever it is asked."""

    name, model, context, note = "test", "test", None, ""

    def __init__(self, pieces: list[str], many: bool) -> None:
        self.pieces, self.many = pieces, many
        self.asked: list[Ask] = []

    def complete(self, ask, cancelled):
        self.asked.append(ask)
        for index in range(ask.count):
            for piece in self.pieces:
                yield Piece(index, piece)
            yield Piece(index, "", "stop")


@st.composite
def requests(draw):
    text = draw(CODE)
    ends = sorted(draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=4)))
    holes = tuple(Span(*pair) for pair in zip(ends[::2], ends[1::2], strict=False))
    lines = draw(st.none() | st.integers(1, 3))
    more = {"tidy": draw(st.booleans()), "candidates": draw(st.integers(1, 3)), "speculative": draw(st.booleans())}
    return FillRequest(text, holes, language=draw(st.sampled_from([None, "python", "json"])), max_lines=lines, **more)


@given(request=requests(), pieces=st.lists(CODE, max_size=4), many=st.booleans())
def test_the_text_outside_the_holes_never_changes(request, pieces, many):
    says = Says(pieces, many)
    alone = [(hole,) for hole in request.holes]
    *drafts, fill = in_turn(request, request.holes, alone, lambda part: HoleFill(says, part, lambda: False).run())
    assert isinstance(fill, Fill)
    assert all(len(draft.holes) == len(request.holes) for draft in drafts)
    assert not fill.empty or fill.reason
    for texts in (fill.texts, *fill.alternatives):
        after, at = request.splice(texts), 0
        for hole, text in zip(request.holes, texts, strict=True):
            kept = request.text[at : hole.start]
            assert after.startswith(kept + text)
            after, at = after[len(kept) + len(text) :], hole.end
        assert after == request.text[at:]
    for text in fill.texts if not fill.empty else ():
        text.encode("utf-8")
        assert request.max_lines is None or len(text.splitlines()) <= max(request.max_lines, len(request.text))
    for ask in says.asked:
        (ask.prefix + ask.suffix).encode("utf-8")


@given(text=CODE, suffix=CODE, lines=st.none() | st.integers(1, 3), fence=st.booleans())
def test_a_middle_is_the_beginning_of_what_was_written(text, suffix, lines, fence):
    middle, _ = Ending(suffix, lines, fence).cut(clean(text))
    assert clean(text).startswith(middle)
    assert lines is None or len(middle.splitlines()) <= lines


@given(prefix=CODE, suffix=CODE, dialect=st.sampled_from(DIALECTS))
def test_a_prompt_has_each_control_token_once(prefix, suffix, dialect):
    control = sorted(dialect.controls)[0]
    prompt = prompt_of(Ask(prefix + control, control + suffix), dialect)
    assert all(prompt.count(spelled(each)) >= 1 for each in dialect.controls)
    if not control.startswith("▁"):
        assert prompt.count(control) == 1


def spelled(control):
    """Only SentencePiece's own mark before a word is a blank: DeepSeek's tokens have it in their names."""
    return f" {control[1:]}" if control.startswith("▁") else control


def test_deepseeks_tokens_are_sent_as_its_tokenizer_has_them():
    [dialect] = [each for each in DIALECTS if each.name == "deepseek-coder"]
    assert prompt_of(Ask("a", "b"), dialect) == "<｜fim▁begin｜>a<｜fim▁hole｜>b<｜fim▁end｜>"


def test_a_server_that_writes_without_end_is_stopped():
    endless = Says(["x " * 6000], False)
    request = FillRequest("a = \n", (Span(4, 4),))
    with pytest.raises(EndpointError, match="more than the 256 tokens"):
        list(HoleFill(endless, request, lambda: False).run())
