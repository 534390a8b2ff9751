"""Text synchronisation over the wire: the engine gets the text that the editor has."""

import hashlib
import random

import pytest
from lsprotocol import types

CHARACTERS = "ab (\t\n\r\x0c\u2028é漢😀𝒳"
WIDTHS = {
    "utf-8": lambda char: len(char.encode()),
    "utf-16": lambda char: 1 + (ord(char) > 0xFFFF),
    "utf-32": lambda char: 1,
}


def cursors(text, width):
    """Yield every offset that has a position, and that position."""
    line = column = 0
    for at, char in enumerate(text):
        if not (char == "\n" and text[at - 1 : at] == "\r"):
            yield at, (line, column)
        if char == "\n" or (char == "\r" and text[at + 1 : at + 2] != "\n"):
            line, column = line + 1, 0
        elif char != "\r":
            column += width(char)
    yield len(text), (line, column)


async def seen(editor, line, character):
    """Return the digest of the text and the hole that the engine was given."""
    assert await editor.ask(line, character) is None
    return await editor.reason()


@pytest.mark.parametrize("encoding", WIDTHS)
async def test_sixty_edits(connect, capabilities, encoding):
    chance = random.Random(encoding)
    editor = await connect({"kind": "echo"}, able=capabilities([encoding]))
    text = "def f():\r\n    return '😀'\n"
    editor.open(text)
    for _ in range(60):
        new = "".join(chance.choices(CHARACTERS, k=chance.randrange(8)))
        (start, first), (end, last) = sorted(chance.choices(list(cursors(text, WIDTHS[encoding])), k=2))
        where = types.Range(types.Position(*first), types.Position(*last))
        editor.change(types.TextDocumentContentChangePartial(where, new))
        text = text[:start] + new + text[end:]
        offset, at = chance.choice(list(cursors(text, WIDTHS[encoding])))
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert await seen(editor, *at) == f"{digest}:{offset}:{offset}"


async def test_several_changes_in_one_notification_are_applied_in_order(connect):
    editor = await connect({"kind": "echo"})
    editor.open("ab")
    edge = types.Position(0, 1)
    editor.change(
        types.TextDocumentContentChangePartial(types.Range(edge, edge), "1\n"),
        types.TextDocumentContentChangePartial(types.Range(types.Position(1, 0), types.Position(1, 1)), "2"),
    )
    digest = hashlib.sha256(b"a1\n2").hexdigest()
    assert await seen(editor, 1, 1) == f"{digest}:4:4"
    editor.change(types.TextDocumentContentChangeWholeDocument("new"))
    assert await seen(editor, 0, 3) == f"{hashlib.sha256(b'new').hexdigest()}:3:3"


async def test_a_change_of_a_document_that_is_not_open_does_no_harm(connect):
    editor = await connect({"script": ["x"]})
    editor.change(types.TextDocumentContentChangeWholeDocument("new"))
    editor.open("")
    assert await editor.ask(0, 0) == "x"
