"""Bytes in and out: standard input and output, or one client on loopback TCP; knows nothing of meaning."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, cast

from pygls.io_ import run_async
from pygls.server import JsonRPCServer

from palimpsest_server.protocol import Protocol

if TYPE_CHECKING:
    from pygls.io_ import AsyncWriter, Writer

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"  # nothing but loopback, ever

_PUMP = "palimpsest-stdin"
_LEAVE_SECONDS = 0.2


def stdio(server: JsonRPCServer) -> int:
    """Talk on standard input and output until `exit` or the end of input; the exit code.

    Descriptor 1 is moved away first and points to standard error from then on: nothing that prints, in any
    language, can get between the messages.
    """
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return asyncio.run(_stdio(server, out))


def tcp(server: JsonRPCServer, port: int) -> int:
    """Wait on a loopback port for one client and talk to it; the exit code. Port 0 takes a free one."""
    return asyncio.run(_tcp(server, port))


def leave(code: int) -> int:
    """The exit code, for a process that can end in the ordinary way; ends it here if that would go wrong.

    An engine that was told to close ends its thread before its next step, but a step can be long, and there
    are none in loading. Taking the interpreter down under a thread in native code aborts the process; so give
    it a moment, and then leave without that.
    """
    threads = [thread for thread in threading.enumerate() if thread.daemon and thread.name != _PUMP]
    for thread in threads:
        thread.join(_LEAVE_SECONDS / len(threads))
    if any(thread.is_alive() for thread in threads):
        logging.shutdown()
        sys.stderr.flush()
        os._exit(code)
    return code


class PipeWriter:
    """Writes whole messages to a pipe; a client that is gone is no error, the conversation is just over."""

    def __init__(self, out: BinaryIO, gone: Callable[[], object]) -> None:
        self._out = out
        self._gone = gone

    def write(self, data: bytes) -> None:
        """Send."""
        try:
            self._out.write(data)
            self._out.flush()
        except (OSError, ValueError):
            self._gone()

    def close(self) -> None:
        """Nothing to do: the process ends."""


async def _stdio(server: JsonRPCServer, out: BinaryIO) -> int:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_pump, args=(0, reader, loop), name=_PUMP, daemon=True).start()
    return await _converse(server, reader, PipeWriter(out, cast(Protocol, server.protocol).stopping.set))


def _pump(descriptor: int, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
    """Move bytes from a descriptor to the loop. A daemon thread on the bare descriptor: it may block in a
    read for ever and still never holds up the end of the process, as a thread pool or a buffered reader
    would.
    """
    try:
        while data := _read(descriptor):
            loop.call_soon_threadsafe(reader.feed_data, data)
        loop.call_soon_threadsafe(reader.feed_eof)
    except RuntimeError:
        pass  # the loop is closed: nobody reads any more


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""


async def _tcp(server: JsonRPCServer, port: int) -> int:
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    talking = False

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal talking
        if talking:
            writer.close()  # one client, as on standard input
            return
        talking = True
        code = await _converse(server, reader, cast("AsyncWriter", writer))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set_result(code)

    listener = await asyncio.start_server(connected, HOST, port)
    print(f"palimpsest: listening on {HOST}:{listener.sockets[0].getsockname()[1]}", file=sys.stderr, flush=True)
    try:
        return await ended
    finally:
        listener.close()


async def _converse(server: JsonRPCServer, reader: asyncio.StreamReader, writer: Writer | AsyncWriter) -> int:
    """Read messages until `exit` or the end of input; the exit code that `exit` has or would have had."""
    protocol = cast(Protocol, server.protocol)
    protocol.set_writer(writer)
    try:
        await run_async(protocol.stopping, reader, protocol, logger, server.report_server_error)
        await protocol.last_words()
    except (asyncio.IncompleteReadError, ConnectionError):
        logger.info("the client went away in the middle of a message")
    except ValueError:
        logger.error("what came in is not the language server protocol: a header line without an end")
    return protocol.exit_code
