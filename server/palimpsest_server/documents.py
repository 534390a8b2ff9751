"""The open documents as the editor has them; only the event loop touches this, others get a `Snapshot`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lsprotocol import types

from palimpsest_server import wire


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document at one version. language: the LSP language id, empty if the client gave none."""

    uri: str
    version: int
    text: str
    language: str


class Documents:
    """Every open document at its newest version.

    encoding: what the client and this server agreed to count columns in.
    """

    def __init__(self, encoding: wire.Encoding = wire.Encoding.Utf16) -> None:
        self.encoding = encoding
        self._open: dict[str, Snapshot] = {}

    def snapshot(self, uri: str) -> Snapshot | None:
        """The document as it is now, or None if it is not open."""
        return self._open.get(uri)

    def current(self, snapshot: Snapshot) -> bool:
        """The document has not moved on since the snapshot."""
        return self._open.get(snapshot.uri) is snapshot

    def open(self, item: types.TextDocumentItem) -> None:
        """Take a document over from the client."""
        self._open[item.uri] = Snapshot(item.uri, item.version, item.text, item.language_id)

    def change(
        self, uri: str, version: int, changes: Sequence[types.TextDocumentContentChangeEvent]
    ) -> Snapshot | None:
        """Apply the client's changes in order; None if the document is not open."""
        document = self._open.get(uri)
        if document is None:
            return None
        text = document.text
        for change in changes:
            text = changed(text, change, self.encoding)
        self._open[uri] = replace(document, version=version, text=text)
        return self._open[uri]

    def close(self, uri: str) -> None:
        """Forget a document."""
        self._open.pop(uri, None)


def changed(text: str, change: types.TextDocumentContentChangeEvent, encoding: wire.Encoding) -> str:
    """The text after one change of the client: the whole text anew, or a range of it."""
    if isinstance(change, types.TextDocumentContentChangeWholeDocument):
        return change.text
    start = wire.offset_at(text, change.range.start, encoding)
    end = wire.offset_at(text, change.range.end, encoding)
    return text[: min(start, end)] + change.text + text[max(start, end) :]
