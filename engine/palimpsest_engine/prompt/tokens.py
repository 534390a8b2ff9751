"""The tokenizer as the engine uses it: plain text to ids and back, and the vocabulary by text. No tensors, no model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from palimpsest_engine.errors import UnsupportedCheckpoint
from palimpsest_engine.prompt.dialects import dialect_of

_SURROGATE = re.compile("[\ud800-\udfff]")
# Tokens beside a vocabulary that no file marks as control tokens, though no text should become them.
_MARK, _TAG = re.compile(r"<[|｜].*[|｜]>"), re.compile(r"</?[^\s<>]+>")
# Entries of vocabularies that are no text either: marks of one kind or another, and room that was left for later. Files call
# them ordinary, and models write floods of them.
_JUNK = re.compile(
    r"<[|｜][^\s<>]*\w[^\s<>]*>|<[^\s<>]*\w[^\s<>]*[|｜]>"  # <|turn>, <turn|>, <|file_sep|>
    r"|<(?:pad|bos|eos|unk|mask|\w+_(?:of_turn|of_image|soft_token))>"
    r"|<\[?(?:unused|reserved|special|placeholder|dummy|extra_id|control|pad|empty)[ _-]?\w*?\d+\]?>"
    r"|\[(?:multimodal|@BOS@|MASK|CLS|SEP|PAD|UNK|toxicity=\d+)\]"
    r"|\[(?:unused|reserved|special|dummy|control|pad)[ _-]?\d+\]",
    re.IGNORECASE,
)


class Tokens:
    """The tokenizer as this engine uses it: plain text to ids and back, and the vocabulary by text."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self.tokenizer = tokenizer
        # A document may well contain the text `<turn|>`; only this engine writes control tokens.
        tokenizer.encode_special_tokens = True
        mark_controls(tokenizer)
        self.vocabulary = vocabulary
        self._texts: list[str] | None = None
        self._text: dict[int, str] = {}
        self._starting: dict[str, list[int]] = {}
        self._junk: frozenset[int] | None = None
        self._controls: re.Pattern[str] | None = None
        self._special = {int(i) for i, t in tokenizer.get_added_tokens_decoder().items() if t.special}
        self.dialect = dialect_of(lambda name: tokenizer.token_to_id(name) is not None)
        # A control token that a file of weights does not mark as one must not be written either.
        self._special |= {self.control(name) for name in self.dialect.controls}

    @property
    def special(self) -> frozenset[int]:
        """Return the control tokens, pad, end of turn, images and the like, and all else that is no text."""
        if self._junk is None:
            piece = self.tokenizer.id_to_token
            self._junk = frozenset(i for i in range(self.vocabulary) if is_junk(piece(i)))
        return self._junk | self._special

    @property
    def texts(self) -> list[str]:
        """Return the text of each id. With a large vocabulary it takes half a second; most need only `text`."""
        if self._texts is None:
            decoded = self.tokenizer.decode_batch([[i] for i in range(self.vocabulary)], skip_special_tokens=False)
            self._texts = [self._cleaned(i, text) for i, text in enumerate(decoded)]
        return self._texts

    def text(self, i: int) -> str:
        """Return the text of an id; the empty string for control tokens and for pieces of characters."""
        if i not in self._text:
            self._text[i] = self._cleaned(i, self.tokenizer.decode([i], skip_special_tokens=False))
        return self._text[i]

    def shown(self, i: int) -> str:
        """Return the text of an id for people to see: as `text`, but U+FFFD for a piece of a character."""
        if (text := self.text(i)) or i in self.special:
            return text
        return "\ufffd" if "\ufffd" in self.tokenizer.decode([i], skip_special_tokens=True) else ""

    def _cleaned(self, i: int, text: str) -> str:
        return "" if i in self._special or "\ufffd" in text or is_junk(text) else text

    def control(self, name: str) -> int:
        """Return the id of a control token that a dialect needs."""
        found = self.tokenizer.token_to_id(name)
        if found is None:
            raise UnsupportedCheckpoint(f"The prompt needs the token {name}, which this checkpoint's tokenizer lacks.")
        return int(found)

    @property
    def ends(self) -> frozenset[int]:
        """Return the control tokens with which a model that was taught to fill in the middle ends one."""
        found = (self.tokenizer.token_to_id(name) for name in self.dialect.ends)
        return frozenset(int(i) for i in found if i is not None)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text. A control token written out in it is encoded as text."""
        return list(self._encoding(text).ids)

    def marked(self, text: str) -> list[int]:
        """Return the ids of a text that begins with a control token, such as `<|file_sep|>a.py`."""
        end = text.find(">") + 1
        return [*([self.control(text[:end])] if end else []), *self.encode(text[end:])]

    def spelled(self, text: str) -> list[int | str]:
        """Cut a text of the prompt's own at the control tokens that it spells out; return their ids and the texts between.

        Raises UnsupportedCheckpoint for one that the tokenizer lacks.
        """
        if self._controls is None:
            names = (token.content for token in self.tokenizer.get_added_tokens_decoder().values() if token.special)
            known = map(re.escape, sorted(names, key=len, reverse=True))
            self._controls = re.compile("|".join([*known, r"<\|[^\s<>|]+\|?>", r"<[^\s<>|]+\|>"]))
        out, at = list[int | str](), 0
        for found in self._controls.finditer(text):
            out += [text[at : found.start()], self.control(found[0])]
            at = found.end()
        return [*out, text[at:]]

    def joined(self, parts: Iterable[int | str]) -> list[int]:
        """Return ids and texts as ids. Neighbouring texts are encoded as one, as tokens may reach over where they meet."""
        out, text = list[int](), ""
        for part in parts:
            if isinstance(part, str):
                text += part
            else:
                out += [*self.encode(text), part]
                text = ""
        return out + self.encode(text)

    def offsets(self, text: str) -> list[int]:
        """Return the end of each token of a text, in code points."""
        return [end for _, end in self._encoding(text).offsets]

    def _encoding(self, text: str) -> Any:
        if not text.isascii():
            text = _SURROGATE.sub("\ufffd", text)  # half a character: editors send it, tokenizers refuse it
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, up to the first byte sequence that is no character."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.split("\ufffd", 1)[0]

    def decode_all(self, ids: Sequence[int]) -> str:
        """Return the text of ids, without the byte sequences that are no characters."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.replace("\ufffd", "")

    def starting_with(self, text: str) -> list[int]:
        """Return the ids with a text that begins with `text`."""
        if text not in self._starting:
            self._starting[text] = [i for i, t in enumerate(self.texts) if t.startswith(text)]
        return self._starting[text]

    def opening(self, text: str, ends: frozenset[int]) -> list[int]:
        """Return the ids with a text that begins with `text` and has no line end after it, and those of `ends`."""
        plain = [i for i in self.starting_with(text) if "\n" not in self.texts[i][len(text) :]]
        return sorted({*plain, *ends} - (self.special - ends))


def is_junk(piece: str | None) -> bool:
    """Return whether an entry of a vocabulary is no text: a mark, such as `<|turn>`, or nothing yet, such as `<unused49>`.

    Tags of HTML, which some vocabularies have whole, are text.
    """
    if not piece or piece[0] not in "<[" or piece[-1] not in ">]":  # most of a vocabulary
        return False
    return _JUNK.fullmatch(piece) is not None


def mark_controls(tokenizer: Any) -> None:
    """Mark the added tokens that look like control tokens as special, so that text is never encoded as one of them.

    Qwen's files mark `<|fim_prefix|>` and others as ordinary. What the vocabulary has, too, and does not look like `<|…|>`,
    stays as it is: Gemma's `<table>`, or runs of blanks.
    """
    from tokenizers import AddedToken  # with an endpoint, nothing here needs that library

    own = tokenizer.get_vocab_size(with_added_tokens=False)
    found = [
        AddedToken(token.content, special=True, normalized=False)
        for i, token in tokenizer.get_added_tokens_decoder().items()
        if not token.special
        and (_MARK.fullmatch(token.content) or is_junk(token.content) or (i >= own and _TAG.fullmatch(token.content)))
    ]
    if found:
        tokenizer.add_special_tokens(found)
