"""Send and receive messages over a Unix socket, or over a named pipe on Windows: four bytes of length, then the message."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

from palimpsest_engine.messages import LARGEST, NotAMessage, to_bytes
from palimpsest_engine.shared import pipe_ends
from palimpsest_engine.shared.address import CannotShare

_LENGTH = struct.Struct(">I")
_BODY_SECONDS = 10.0  # for the rest of a message that has begun
_BUFFER = 1 << 20
_DROP_DRAFTS = 4 << 20  # bytes that the other side has not read yet
_TOO_SLOW = 2 * LARGEST


class Ended(Exception):
    """The other side is gone."""


class Channel:
    """One connection, used on one event loop. listening: it is the end of the process that was asked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, listening: bool = False) -> None:
        self._reader, self._writer, self._listening = reader, writer, listening

    async def receive(self) -> bytes:
        """Return the next message. Raises Ended, and NotAMessage for one that is too large or does not arrive whole."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if not 0 < length <= LARGEST:
                raise NotAMessage(f"A message of {length:,} bytes is none of this protocol.")
            async with asyncio.timeout(_BODY_SECONDS):
                return await self._reader.readexactly(length)
        except TimeoutError:
            raise NotAMessage("The rest of a message did not arrive.") from None
        except (asyncio.IncompleteReadError, OSError):
            raise Ended from None

    def send(self, message: object, *, droppable: bool = False) -> None:
        """Send a message without waiting. Raises NotAMessage for one that cannot be sent.

        droppable: leave it out if the other side is behind. One that reads nothing at all is cut off.
        """
        waiting = self._writer.transport.get_write_buffer_size()
        if droppable and waiting > _DROP_DRAFTS:
            return
        packed = to_bytes(message)
        if waiting > _TOO_SLOW:
            self.abandon()
            return
        self._writer.writelines((_LENGTH.pack(len(packed)), packed))

    async def close(self) -> None:
        """Send what is waiting, and close."""
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()

    def abandon(self) -> None:
        """Close at once, whatever is waiting; `receive` raises Ended."""
        self._writer.transport.abort()

    def refuse_strangers(self) -> None:
        """Raise CannotShare if another user is at the other end, where the system can tell."""
        if sys.platform == "win32":
            pipe = self._writer.get_extra_info("pipe").fileno()
            if not pipe_ends.is_ours(pipe, listening=self._listening, system=pipe_ends.Windows()):
                raise CannotShare("The engine cannot be shared: its pipe belongs to another user.")
            return
        connection = self._writer.get_extra_info("socket")
        if (user := _user_of(connection)) is not None and user != os.getuid():
            raise CannotShare("The engine cannot be shared: its socket belongs to another user.")


def _user_of(connection: socket.socket) -> int | None:
    """Return the id of the user at the other end, or None where the system does not tell."""
    if sys.platform == "linux":
        return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])
    if sys.platform == "darwin":
        # struct xucred of LOCAL_PEERCRED: version, user, number of groups and the groups
        return int(struct.unpack("2I", connection.getsockopt(0, 1, 76)[:8])[1])
    return None


if sys.platform == "win32":

    def _pipes() -> asyncio.ProactorEventLoop:
        """Return the running loop, which can use pipes."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, asyncio.ProactorEventLoop)
        return loop


async def connect(address: str) -> Channel:
    """Connect to an engine process. Raises OSError if there is none, and CannotShare if it is another user's."""
    if sys.platform == "win32":
        reader = asyncio.StreamReader(limit=_BUFFER)
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = _pipes()
        transport, _ = await loop.create_pipe_connection(lambda: protocol, address)
        channel = Channel(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
    else:
        channel = Channel(*await asyncio.open_unix_connection(address, limit=_BUFFER))
    try:
        channel.refuse_strangers()
    except CannotShare:
        await channel.close()
        raise
    return channel


async def listen(address: str, connected: Callable[[Channel], Awaitable[None]]) -> Callable[[], None]:
    """Listen for clients; return what ends the listening. Raises OSError. The caller holds the lock of the place."""

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await connected(Channel(reader, writer, listening=True))

    if sys.platform == "win32":
        loop = _pipes()

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=_BUFFER), accepted)

        (pipe,) = await loop.start_serving_pipe(protocol, address)
        return pipe.close

    with suppress(FileNotFoundError):
        os.unlink(address)  # left by a process that was killed: nobody listens, for we have the lock
    before = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(accepted, address, limit=_BUFFER, backlog=128)
    finally:
        os.umask(before)
    ours = os.stat(address).st_ino

    def end() -> None:
        server.close()
        with suppress(OSError):
            if os.stat(address).st_ino == ours:
                os.unlink(address)

    return end
