"""Put one hole to a server and take its answer: the seam between a hole and the protocols of the servers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from palimpsest_engine.errors import EndpointError
from palimpsest_engine.prompt.conversation import Message
from palimpsest_engine.request import Excerpt

Cancelled = Callable[[], bool]
PREFIX_ONLY_NOTE = (
    "The model reads only the text before the cursor, because how it fills a middle is not known; "
    "the key dialect of the setting endpoint can name a way."
)


@dataclass(frozen=True, slots=True)
class Ask:
    """A middle to be written. prefix, suffix, excerpts: what the model may read, with `\\n` line ends.

    path: of the document, as the model may read it. comment: begins a comment in the document's language. tokens: write at
    most so many. stops: texts that end the middle.
    prompt: the whole prompt, in place of all that; it is sent as it is.
    temperature: 0 takes the likeliest token each time. count: middles to write at once.
    """

    prefix: str
    suffix: str
    excerpts: tuple[Excerpt, ...] = ()
    path: str = "file"
    comment: str = "#"
    tokens: int = 128
    stops: tuple[str, ...] = ()
    temperature: float = 0.0
    seed: int = 0
    count: int = 1
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """The next text of a middle. index: of which one. end: "" if more may come, else why it ended."""

    index: int
    text: str
    end: Literal["", "stop", "limit"] = ""


@dataclass(frozen=True, slots=True)
class ChatAsk:
    """A conversation to be answered. tokens: write at most so many."""

    messages: tuple[Message, ...]
    tokens: int
    seed: int = 0


class Chats(Protocol):
    """The conversations with one server."""

    def answer(self, ask: ChatAsk, cancelled: Cancelled) -> Generator[Piece, None, None]:
        """Yield the pieces of an answer. Closing the iterator ends the writing on the server.

        Raises NoChat, EndpointError with a sentence, and FillCancelled once `cancelled()` is true.
        """
        ...


class NoChat(EndpointError):
    """The server, or its model, takes no conversations."""


class Speaks(Protocol):
    """A way of speaking with one server. name: of the protocol. many: it writes several middles at once. edits: the format of
    next edits that its model was taught (`prompt/edit_formats.py`), "" for none. chats: the way
    to have a conversation with its model, None if that was not made for it."""

    name: str
    many: bool
    edits: str
    chats: Chats | None

    @property
    def model(self) -> str:
        """Return the model's name as people know it."""
        ...

    @property
    def context(self) -> int | None:
        """Return the tokens that a prompt and its middle may have, if the server says so."""
        ...

    @property
    def note(self) -> str:
        """Return a sentence about what is not as good as it might be, or ""."""
        ...

    def complete(self, ask: Ask, cancelled: Cancelled) -> Generator[Piece, None, None]:
        """Yield the pieces of the middles, one by one. Closing the iterator ends the writing on the server.

        Raises EndpointError with a sentence, and FillCancelled once `cancelled()` is true.
        """
        ...


def text_in(event: dict[str, Any], name: str, place: str) -> str:
    """Return a text of an answer. Raises EndpointError if there is none, which no honest server does."""
    found = event.get(name)
    if not isinstance(found, str):
        raise EndpointError(f"{place} answers without the field {name}, which its protocol has.")
    return found


def cut_short(place: str) -> EndpointError:
    """Return the error for an answer without its end."""
    return EndpointError(f"{place} closed the connection in the middle of an answer.")


def named(names: list[str], wanted: str | None, place: str) -> str:
    """Return the model to ask: the wanted one, or the only one. Raises EndpointError with a sentence."""
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    if not names:
        raise EndpointError(f"{place} has no model: load one there first.")
    if wanted is None:
        if len(names) > 1:
            raise EndpointError(
                f"{place} has several models: name one with the key model of the setting endpoint ({shown})."
            )
        return names[0]
    if wanted not in names and f"{wanted}:latest" not in names:
        raise EndpointError(f"{place} has no model {wanted}; it has {shown}.")
    return wanted


def short_name(name: str) -> str:
    """Return a model's name without the folders and the ending of its file, in characters that a terminal can show."""
    name = name.replace("\\", "/").rpartition("/")[2] if name.lower().endswith(".gguf") else name
    name = "".join(each for each in name.removesuffix(".gguf") if each.isprintable())
    return name if len(name) <= 80 else f"{name[:79]}…"
