"""Put what crosses the seam into bytes and back, for an engine in another process: MessagePack, checked against the types.

The values are those of the contract. Nothing in here can name code to be run, and whatever does not fit the types is refused.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from palimpsest_engine import errors
from palimpsest_engine.engine import EngineSettings, EngineStatus
from palimpsest_engine.errors import PalimpsestError
from palimpsest_engine.request import Draft, Fill, FillRequest

PROTOCOL = 2  # of the messages below; another number means that the two cannot talk
LARGEST = 64 * 2**20  # bytes of one message; a document of 16 million characters fits


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True, forbid_unknown_fields=True):
    """Anything that is sent, in either direction."""


class Hello(Message, frozen=True):
    """The first message of a client: its version, and the engine that it wants.

    The protocol and the version come first, whatever else another version of it has.
    """

    protocol: int
    version: str
    settings: EngineSettings


class Welcome(Message, frozen=True):
    """The answer to `Hello`: the process that owns the model."""

    protocol: int
    version: str
    pid: int


class Goodbye(Message, frozen=True):
    """It takes no more requests, and why. Those under way are still answered. final: nor does its successor."""

    reason: str
    final: bool = False


class Warm(Message, frozen=True):
    """Load the model now."""


class Retire(Message, frozen=True):
    """Make room for an engine of another version, or end because the user wants that."""

    reason: str


class Look(Message, frozen=True):
    """Report on the process: the first and only message of a client that wants to know nothing else."""


class Submit(Message, frozen=True):
    """Fill. number: the client's own, for all that follows about it. drafts: whether anybody watches."""

    number: int
    request: FillRequest
    drafts: bool


class Cancel(Message, frozen=True):
    """End a request before its next denoising step."""

    number: int


class Hosted(msgspec.Struct, frozen=True):
    """An engine of the process: its status, the windows that use it, and their requests under way."""

    status: EngineStatus
    windows: int
    requests: int


class Report(Message, frozen=True):
    """The answer to `Look`. seconds: since it began."""

    version: str
    pid: int
    seconds: float
    engines: tuple[Hosted, ...]


class Told(Message, frozen=True):
    """The status of the engine; sent when it has changed."""

    status: EngineStatus


class Drafted(Message, frozen=True):
    """A draft of a request."""

    number: int
    draft: Draft


class Filled(Message, frozen=True):
    """The answer to a request."""

    number: int
    fill: Fill


class Failed(Message, frozen=True):
    """The error that ended a request. kind: the name of its class."""

    number: int
    kind: str
    message: str


FromClient = Hello | Look | Warm | Retire | Submit | Cancel
FromEngine = Welcome | Goodbye | Report | Told | Drafted | Filled | Failed
T = TypeVar("T")

_ENCODER = msgspec.msgpack.Encoder()
_OF_CLIENT: msgspec.msgpack.Decoder[FromClient] = msgspec.msgpack.Decoder(FromClient)
_OF_ENGINE: msgspec.msgpack.Decoder[FromEngine] = msgspec.msgpack.Decoder(FromEngine)
_REQUEST: msgspec.msgpack.Decoder[FillRequest] = msgspec.msgpack.Decoder(FillRequest)
_KINDS = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)}


class NotAMessage(PalimpsestError):
    """Bytes that are no message of this protocol, or a message that is too large."""


def to_bytes(message: object) -> bytes:
    """Encode a message, or any value of the contract. Raises NotAMessage for text that is not Unicode, or too much of it."""
    try:
        packed = _ENCODER.encode(message)
    except UnicodeEncodeError as error:
        raise NotAMessage(f"The text holds half of a surrogate pair, so it cannot be sent: {error.reason}.") from None
    if len(packed) > LARGEST:
        raise NotAMessage(
            f"The document is too large for the engine: {len(packed):,} bytes, and {LARGEST:,} are allowed."
        )
    return packed


def from_client(packed: bytes) -> FromClient:
    """Decode a message of a client. Raises NotAMessage."""
    return _decoded(_OF_CLIENT, packed)


def from_engine(packed: bytes) -> FromEngine:
    """Decode a message of an engine. Raises NotAMessage."""
    return _decoded(_OF_ENGINE, packed)


def request_of(packed: bytes) -> FillRequest:
    """Decode a request. Raises NotAMessage."""
    return _decoded(_REQUEST, packed)


def error_of(kind: str, message: str) -> PalimpsestError:
    """Return the error that was sent as `Failed`; one of a kind that is not known here is a plain PalimpsestError."""
    found = _KINDS.get(kind, PalimpsestError)
    return found(message) if issubclass(found, PalimpsestError) else PalimpsestError(message)


def _decoded(decoder: msgspec.msgpack.Decoder[T], packed: bytes) -> T:
    try:
        return decoder.decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotAMessage(f"That is no message of an engine: {error}") from None
