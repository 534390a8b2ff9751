"""Lays a document's pieces out as tokens: what the encoder reads, what the canvas pins, what the hole may begin with.

Knows the tokenizer and the prompt dialects; no tensors, no model. Offsets of text are code points, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.errors import UnsupportedCheckpoint
from palimpsest_engine.prompt.pieces import Hole, Keep
from palimpsest_engine.request import Excerpt

# Of a file only so many characters on each side of the hole are tokenised as could make the tokens that there is room for,
# and never more than WINDOW. In front it moves in steps of a quarter, so that typing on does not shift it (and with it every
# cached token) at each keystroke.
WINDOW = 65_536
CHARACTERS = 16  # to a token, with plenty to spare: in code they are three or four
TOKEN_STRIDE = 64
LONGEST_HEALED = 24
EOS = 1
_SURROGATE = re.compile("[\ud800-\udfff]")
LINE_COMMENTS = {
    **dict.fromkeys(("python", "ruby", "bash", "yaml", "toml"), "#"),
    **dict.fromkeys(("lua", "sql"), "--"),
}  # "//" elsewhere


@dataclass(frozen=True, slots=True)
class Layout:
    """One canvas worth of holes.

    context: encoder tokens. healed: text at the end of the document's prefix that the first hole writes again (token
    healing). between: pinned tokens after each hole but the last. right: pinned tokens after the last hole (the canvas
    takes as many as fit). end: what fills up after the suffix ends.
    """

    context: tuple[int, ...]
    healed: str
    between: tuple[tuple[int, ...], ...]
    right: tuple[int, ...]
    end: int


class Tokens:
    """The tokenizer as this engine uses it: plain text to ids and back, and the vocabulary by text."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self.tokenizer = tokenizer
        # A document may well contain the text `<turn|>`; only this engine writes control tokens.
        tokenizer.encode_special_tokens = True
        self.vocabulary = vocabulary
        self._texts: list[str] | None = None
        self._starting: dict[str, list[int]] = {}
        self._special = {int(i) for i, t in tokenizer.get_added_tokens_decoder().items() if t.special}

    @property
    def special(self) -> frozenset[int]:
        """Control tokens: pad, end of turn, images and the like."""
        return frozenset(self._special)

    @property
    def texts(self) -> list[str]:
        """Text of each id; the empty string for control tokens and for pieces of characters."""
        if self._texts is None:
            decoded = self.tokenizer.decode_batch([[i] for i in range(self.vocabulary)], skip_special_tokens=False)
            self._texts = ["" if i in self._special or "\ufffd" in t else t for i, t in enumerate(decoded)]
        return self._texts

    def control(self, name: str) -> int:
        """Id of a control token a dialect needs."""
        found = self.tokenizer.token_to_id(name)
        if found is None:
            raise UnsupportedCheckpoint(
                f"The chat dialect needs the token {name}, which this checkpoint's tokenizer lacks."
            )
        return int(found)

    def encode(self, text: str) -> list[int]:
        """Ids of a text; what looks like a control token in it is encoded as the text it is."""
        return list(self._encoding(text).ids)

    def ends(self, text: str) -> list[int]:
        """Where each token of a text ends, in code points."""
        return [end for _, end in self._encoding(text).offsets]

    def _encoding(self, text: str) -> Any:
        if not text.isascii():
            text = _SURROGATE.sub("\ufffd", text)  # half a character: editors send it, tokenizers refuse it
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, up to the first byte sequence that is no character."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.split("\ufffd", 1)[0]

    def decode_all(self, ids: Sequence[int]) -> str:
        """Text of ids without the byte sequences that are no characters."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.replace("\ufffd", "")

    def starting_with(self, text: str) -> list[int]:
        """Ids whose text begins with `text`."""
        if text not in self._starting:
            self._starting[text] = [i for i, t in enumerate(self.texts) if t.startswith(text)]
        return self._starting[text]


def window_for(tokens: int) -> int:
    """Characters in which so many tokens are found."""
    return min(WINDOW, tokens * CHARACTERS)


def prefix_window(text: str, window: int) -> str:
    """The end of a long prefix, from the start of a line; stable while the user types at its end."""
    if len(text) <= window:
        return text
    stride = max(1, window // 4)
    start = -(-(len(text) - window) // stride) * stride
    line = text.find("\n", start - 1) + 1
    return text[line or start :]


def heal(tokens: Tokens, ids: list[int]) -> tuple[list[int], str]:
    """(ids without the last token, its text): the hole writes that token again, so that it may end up a longer one."""
    if not ids:
        return ids, ""
    text = tokens.texts[ids[-1]]
    if not text or len(text) > LONGEST_HEALED:
        return ids, ""
    return ids[:-1], text


def lay_out(
    pieces: Sequence[Keep | Hole],
    spec: Spec,
    tokens: Tokens,
    language: str | None,
    excerpts: Sequence[Excerpt] = (),
) -> Layout:
    """Tokens of a run of pieces `Keep, Hole, Keep, ..., Hole, Keep`, whose first and last reach the document's ends.

    Excerpts come before everything that typing changes, so that they stay encoded.
    """
    keeps = [piece.text.replace("\r\n", "\n") for piece in pieces if isinstance(piece, Keep)]
    before = tokens.encode(prefix_window(keeps[0], window_for(spec.context)))
    after = tokens.encode(keeps[-1][: window_for(max(spec.suffix, spec.canvas))])
    before, healed = heal(tokens, before)
    suffix = after[: spec.suffix]
    elsewhere = fitting(excerpts, spec.elsewhere, tokens, language)
    room = spec.context - len(suffix) - len(elsewhere) - 8
    if len(before) > room:
        cut = -(-(len(before) - room) // TOKEN_STRIDE) * TOKEN_STRIDE
        before = before[cut:]
    if spec.dialect == "fim":
        assert spec.suffix_id is not None
        assert spec.prefix_id is not None
        context = [spec.bos_id, spec.suffix_id, *suffix, spec.prefix_id, *elsewhere, *before]
        closing, end = [], EOS
    else:
        context = chat_context(tokens, suffix, before, language, elsewhere)
        end = tokens.control("<turn|>")
        closing = [*tokens.encode("\n```"), end]
    return Layout(
        context=tuple(context),
        healed=healed,
        between=tuple(tuple(tokens.encode(text)) for text in keeps[1:-1]),
        right=tuple((after + closing)[: spec.canvas]),
        end=end,
    )


def fitting(excerpts: Sequence[Excerpt], budget: int, tokens: Tokens, language: str | None) -> list[int]:
    """Tokens of as many excerpts as the budget has room for, whole ones, from the last (the most useful) backwards."""
    out: list[int] = []
    mark = LINE_COMMENTS.get(language or "", "//")
    for excerpt in reversed(excerpts):
        ids = tokens.encode(f"{mark} {excerpt.title}\n{excerpt.text.strip(chr(10))}\n\n".replace("\r\n", "\n"))
        if len(out) + len(ids) <= budget:
            out = ids + out
    return out


def chat_context(
    tokens: Tokens, suffix: list[int], prefix: list[int], language: str | None, elsewhere: list[int]
) -> list[int]:
    """The prompt of an instruction-tuned checkpoint, ending inside the model's turn, in the middle of its answer.

    The turn tokens are the model's own (Gemma 4 chat template); without the model turn it does not converge. The empty
    thought block is written out, or the model would begin with one of its own.
    """
    turn, end_turn = tokens.control("<|turn>"), tokens.control("<turn|>")
    channel, end_channel = tokens.control("<|channel>"), tokens.control("<channel|>")
    name = language or "code"
    others = "Parts of the project, to know what there is:\n\n```\n"
    ask = (
        f"Write out the whole {name} file whose ending is given below, without changes to that ending. "
        f"Answer with the file alone.\n\n```{name}\n"
    )
    return [
        tokens.control("<bos>"),
        turn,
        *tokens.encode("user\n"),
        *([*tokens.encode(others), *elsewhere, *tokens.encode("```\n\n")] if elsewhere else []),
        *tokens.encode(ask),
        *suffix,
        *tokens.encode("\n```"),
        end_turn,
        *tokens.encode("\n"),
        turn,
        *tokens.encode("model\n"),
        channel,
        *tokens.encode("thought\n"),
        end_channel,
        *tokens.encode(f"```{name}\n"),
        *prefix,
    ]
