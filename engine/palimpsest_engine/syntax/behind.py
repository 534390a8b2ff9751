"""Look whether the first token behind a fill is still what it was: no end of a longer word, no part of a comment or string.

A parser does not mind: `import ¦os` with `sys` is a valid import of `sysos`, and `#` before a statement leaves a valid file
without it. Trees and bytes in, a sentence out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.spliced import Document

if TYPE_CHECKING:
    from tree_sitter import Node

_BLANKS = b" \t\r\n\x0b\x0c"
# Parts of the names that grammars give to the text of strings and the like.
_QUOTED = ("string", "quoted", "regex", "heredoc", "char_literal", "raw_text", "template")
_SIGIL = re.compile(rb"[@$:&#']+")  # before a name, and a part of it
_SHOWN = 24  # characters of a word in a sentence


def joined_words(before: Document, after: Document) -> Iterator[tuple[int, str]]:
    """Yield (fill, sentence) for each fill whose last word and the word behind it become one; no grammar is needed."""
    for index, ((start, end), (_, own_end)) in enumerate(zip(after.ranges, before.ranges, strict=True)):
        left, right = _character(after.data[:end], -1), _character(after.data[end:], 0)
        if start == end or not (is_word(left) and is_word(right)):
            continue
        if is_word(_character(before.data[:own_end], -1)):
            continue  # the hole itself ends within a word
        yield index, f"{_word_at(after.data, end)} would become one word"


def swallowed(before: Document, old: Node, after: Document, new: Node) -> Iterator[tuple[int, str]]:
    """Yield (fill, sentence) for each fill that joins the token behind it, or makes a comment or a string of it.

    old, new: roots of the trees of the two documents.
    """
    stops = [*(start for start, _ in after.ranges[1:]), len(after.data)]
    for index, ((start, end), (own_start, own_end), stop) in enumerate(
        zip(after.ranges, before.ranges, stops, strict=True)
    ):
        at = _not_blank(after.data, end, stop)
        if start == end or at == stop:
            continue
        was = old.descendant_for_byte_range(at - end + own_end, at - end + own_end + 1)
        now = new.descendant_for_byte_range(at, at + 1)
        if was is None or now is None:
            continue
        if was.start_byte < own_end:  # it began before the hole's end already
            if own_start == own_end and _SIGIL.fullmatch(before.data[was.start_byte : own_end]) and not was.children:
                yield index, f"{_word_at(before.data, own_end)} would be torn apart"
            continue
        for kinds, said in ((("comment",), "a comment"), (_QUOTED, "a string")):
            if _is(now, kinds) and not _is(was, kinds):
                yield index, f"what stands behind it would become part of {said}"
                break
        else:
            text = after.data[now.start_byte : now.end_byte]
            beside = at == end and after.data[end - 1] not in _BLANKS and not any(blank in text for blank in _BLANKS)
            if beside and now.start_byte < end:
                yield index, f"{_word_at(after.data, end)} would become one token"


def _is(node: Node, kinds: tuple[str, ...]) -> bool:
    """Return whether a node or one right around it is of these kinds."""
    around: Node | None = node
    for _ in range(2):
        if around is not None and any(kind in around.type for kind in kinds):
            return True
        around = around.parent if around is not None else None
    return False


def _not_blank(data: bytes, at: int, stop: int) -> int:
    while at < stop and data[at] in _BLANKS:
        at += 1
    return at


def _character(data: bytes, at: int) -> str:
    """Return the first (0) or the last (-1) character."""
    part = data[:4] if at == 0 else data[-4:]
    text = part.decode("utf-8", "ignore")
    return text[at : at + 1] if at == 0 else text[-1:]


def is_word(character: str) -> bool:
    """Return whether a character belongs to a word: letters and numbers of any script, the marks upon them, and `_`."""
    return character == "_" or (character != "" and unicodedata.category(character)[0] in "LNM")


def _word_at(data: bytes, at: int) -> str:
    """Return the two parts of a word that meet at a byte, in backquotes."""
    far = 4 * _SHOWN  # bytes
    left, right = data[max(0, at - far) : at].decode("utf-8", "ignore"), data[at : at + far].decode("utf-8", "ignore")
    head = "".join(reversed([*takewhile(is_word, reversed(left))])) or left[-1:]
    tail = "".join(takewhile(is_word, right)) or right[:1]
    return f"`{head[-_SHOWN:]}` and `{tail[:_SHOWN]}`"
