"""Answer `textDocument/completion` for clients without inline completion: the suggestion as the list's last item."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lsprotocol import types

from palimpsest_server.protocol import positions
from palimpsest_server.settings import Settings

if TYPE_CHECKING:
    from palimpsest_server.features.inline_completion import Answer, Ask

OPTIONS = types.CompletionOptions(resolve_provider=True)

_WORD = re.compile(r"\w*\Z")
_LABEL = 60


def wanted(settings: Settings, can: types.ClientCapabilities) -> bool:
    """Return whether to offer a list: the setting says so, or it is "auto" and the client shows no inline completions."""
    has_inline = can.text_document is not None and can.text_document.inline_completion is not None
    return settings.completion == "on" or (settings.completion == "auto" and not has_inline)


def items(ask: Ask, answer: Answer, encoding: positions.Encoding) -> types.CompletionList:
    """Return the list, which the client is to ask for again at the next keystroke.

    An item replaces the word that the cursor is in, because clients filter by that. A position that is none of the document
    (past the end of a line, inside a character) counts as the place that it stands for.
    """
    found = [item(ask, text, encoding, number) for number, text in enumerate(answer.texts)]
    return types.CompletionList(is_incomplete=True, items=found)


def item(ask: Ask, text: str, encoding: positions.Encoding, number: int) -> types.CompletionItem:
    """Return one suggestion; it is sorted behind all that a language server knows for sure."""
    line, _ = positions.line_around(ask.text, ask.offset)
    word = _WORD.search(ask.text[line : ask.offset])
    assert word is not None, "the pattern matches an empty word"
    replaced = ask.document.range_at(ask.place - len(word.group()), ask.place, encoding)
    whole = word.group() + text
    first = whole.strip().splitlines()[0]
    return types.CompletionItem(
        label=first if len(first) <= _LABEL else first[: _LABEL - 1] + "…",
        kind=types.CompletionItemKind.Text,
        label_details=types.CompletionItemLabelDetails(description="Palimpsest"),
        filter_text=whole.splitlines()[0] or word.group(),
        sort_text=f"\U0010fffd{number}",
        insert_text_format=types.InsertTextFormat.PlainText,
        insert_text_mode=types.InsertTextMode.AsIs,
        text_edit=types.TextEdit(replaced, whole),
    )


def resolved(item: types.CompletionItem, model: str) -> types.CompletionItem:
    """Add a preview of the whole text to an item, and the name of the model that wrote it."""
    item.detail = f"written by {model} on this machine"
    if isinstance(item.text_edit, types.TextEdit):
        fence = "`" * (1 + max((len(run) for run in re.findall("`+", item.text_edit.new_text)), default=2))
        preview = f"{fence}\n{item.text_edit.new_text}\n{fence}"
        item.documentation = types.MarkupContent(types.MarkupKind.Markdown, preview)
    return item
