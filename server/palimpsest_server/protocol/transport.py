"""Move bytes in and out, on standard input and output; knows no methods."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, BinaryIO, cast

from lsprotocol import types
from pygls.server import JsonRPCServer

from palimpsest_server.protocol import gc_pauses
from palimpsest_server.protocol.lifecycle import Protocol

if TYPE_CHECKING:
    from pygls.io_ import AsyncWriter, Writer

logger = logging.getLogger(__name__)

_PUMP = "palimpsest-stdin"
_LEAVE_SECONDS = 0.2
_LAST_WORDS_SECONDS = 1.0
_HANDSHAKE_SECONDS = 0.1
_LOOKS = 50
_PARENT_SECONDS = 1.0
_BACKLOG = 1 << 26
_LARGE = 1 << 20
_M_ARENA_MAX = -8  # of glibc's malloc.h
_LARGEST = 1 << 30
# In front of it on its line there may be the rest of a message whose length was wrong.
_FIELD = re.compile(rb"[!-9;-~]+:[ \t]*[ -~]*\r?\n?\Z")  # any other header line
_LENGTH = re.compile(rb"Content-Length:[ \t]*(\d{1,10})[ \t]*\r?\n\Z", re.IGNORECASE)


def stdio(server: JsonRPCServer) -> int:
    """Talk on standard input and output until `exit` or the end of input; return the exit code.

    Descriptor 1 is moved away first and points to standard error from then on: no print, in any language, can get between the
    messages.
    """
    _share_one_heap()
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return asyncio.run(_stdio(server, out))


def _share_one_heap() -> None:
    """Have all threads use one heap.

    glibc would give each a heap of its own; where one thread makes the bytes and another frees them, the heaps only grow.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def leave(code: int) -> int:
    """Return the exit code if the process can end in the ordinary way; else end it here.

    An engine that was told to close ends its thread before its next step, but a step can be long, and loading has none. The
    interpreter aborts if it ends under a thread in native code; so wait a moment, and then end without it.
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
    """Writes whole messages to a pipe, on a thread of its own: a client that is slow to read holds nobody up.

    The conversation ends, without an error, when the client is gone or reads nothing any more.
    """

    def __init__(self, out: BinaryIO, gone: Callable[[], object]) -> None:
        self._out = out
        self._gone = gone
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._given = self._written = 0
        self._thread = threading.Thread(target=self._drain, name="palimpsest-stdout", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Send; does not wait."""
        self._given += len(data)
        if self._given - self._written > _BACKLOG:
            self._gone()
        else:
            self._queue.put(data)

    def close(self) -> None:
        """Let the messages go out, if the client reads them."""
        self._queue.put(None)
        self._thread.join(_LAST_WORDS_SECONDS)

    def _drain(self) -> None:
        while (data := self._queue.get()) is not None:
            try:
                self._out.write(data)
                self._out.flush()
            except (OSError, ValueError):
                self._gone()
                return
            self._written += len(data)


async def _stdio(server: JsonRPCServer, out: BinaryIO) -> int:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    protocol = cast(Protocol, server.protocol)

    def gone() -> None:
        """Read no more, because the client is gone. From any thread."""
        protocol.stopping.set()
        with suppress(RuntimeError):  # the loop is closed: that is over anyway
            loop.call_soon_threadsafe(reader.feed_eof)

    threading.Thread(target=_pump, args=(0, protocol.stopping, reader, loop), name=_PUMP, daemon=True).start()
    threading.Thread(target=_mind, args=(server, gone), name="palimpsest-client", daemon=True).start()
    writer = PipeWriter(out, gone)
    try:
        return await converse(server, reader, writer)
    finally:
        protocol.stopping.set()
        writer.close()


def _mind(server: JsonRPCServer, gone: Callable[[], object]) -> None:
    """Watch the client's process, once the client has named it.

    Its pipes may stay open in another process that it started. A process that cannot be seen from the beginning, as from
    inside a container, is not watched.
    """
    protocol = cast(Protocol, server.protocol)
    stopping, looks, pid = protocol.stopping, 0, None
    while pid is None:
        if stopping.wait(_HANDSHAKE_SECONDS) or looks == _LOOKS:
            return
        if protocol.initialized:  # its process id is known a moment later
            pid, looks = getattr(server, "process_id", None), looks + 1
    import psutil

    with suppress(psutil.Error, ValueError, OverflowError):
        process = psutil.Process(pid)
        while not stopping.wait(_PARENT_SECONDS):
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                logger.info("the client's process has ended")
                gone()


def _pump(
    descriptor: int, stopping: threading.Event, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop
) -> None:
    """Move bytes from a descriptor to the loop, on a daemon thread.

    It reads the bare descriptor: such a read may block for ever and still never holds up the end of the process, as a thread
    pool or a buffered reader would.
    """

    def feed(data: bytes) -> None:
        if not stopping.is_set():
            reader.feed_data(data)

    try:
        while data := _read(descriptor):
            loop.call_soon_threadsafe(feed, data)
        loop.call_soon_threadsafe(reader.feed_eof)
    except RuntimeError:
        pass  # the loop is closed: nobody reads any more


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""


async def converse(server: JsonRPCServer, reader: asyncio.StreamReader, writer: Writer | AsyncWriter) -> int:
    """Read messages until `exit` or the end of input; return the exit code."""
    protocol = cast(Protocol, server.protocol)
    protocol.set_writer(writer)
    heard = monotonic()
    collecting = asyncio.get_running_loop().create_task(gc_pauses.collect(lambda: heard))
    try:
        while not protocol.stopping.is_set() and (body := await next_body(reader, protocol.lose)) is not None:
            heard = monotonic()
            if protocol.initialized and protocol.get_ready is not None:
                # The client sends this after our answer to `initialize`, so nothing can delay that any more.
                await protocol.get_ready()
                protocol.get_ready = None
            await take(protocol, body)
            await asyncio.sleep(0)  # of a thousand messages each has its turn, and so has all else
        await protocol.last_words()
    except (asyncio.IncompleteReadError, ConnectionError):
        logger.info("the client went away in the middle of a message")
    except ValueError:
        logger.error("the input is not the language server protocol: a header line has no end")
    finally:
        collecting.cancel()
    return protocol.exit_code


async def next_body(reader: asyncio.StreamReader, on_skipped: Callable[[], object]) -> bytes | None:
    """Return the next message, or None at the end of input; skip anything between messages that is no header.

    on_skipped: called for what may have been a message.
    """
    length, fields = None, 0
    while line := await reader.readline():
        if found := _LENGTH.search(line):
            length = int(found[1])
            if found.start():
                on_skipped()
        elif line.strip():
            fields += 1
            if not _FIELD.match(line):
                on_skipped()
        elif length is not None and length <= _LARGEST:
            return await reader.readexactly(length)
        elif length is not None or fields:
            length, fields = None, 0
            on_skipped()
    return None


async def take(protocol: Protocol, body: bytes) -> None:
    """Have a message handled; log a crash and go on."""
    large = len(body) > _LARGE
    try:
        if large:
            await asyncio.sleep(0)  # reading it, decoding it, parsing it and handling it take some time each
        text = body.decode()
        if large:
            await asyncio.sleep(0)
        message = json.loads(text)
    except (ValueError, RecursionError):
        protocol.refuse(None, types.ErrorCodes.ParseError, "not JSON")
        protocol.lose()
        return
    if large:
        await asyncio.sleep(0)
    try:
        protocol.handle_message(message)
    except Exception:
        logger.exception("a message could not be handled")
        protocol.lose(message)
