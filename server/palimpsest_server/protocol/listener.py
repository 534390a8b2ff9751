"""Listen on a Unix socket that the user alone may open, until one client has said `initialize`.

A loopback port would be open to every user of the machine, and to every page in a browser.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lsprotocol import types

from palimpsest_engine import PalimpsestError
from palimpsest_server.protocol.lifecycle import Protocol
from palimpsest_server.protocol.transport import converse, next_body, take

if TYPE_CHECKING:
    from pygls.io_ import AsyncWriter
    from pygls.server import JsonRPCServer

_REFUSED = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class _Foreign(Exception):
    """Another protocol than ours: HTTP, most likely."""


def listen(server: JsonRPCServer, path: Path) -> int:
    """Wait on a socket for one client and talk to it; return the exit code. Raises PalimpsestError if there can be none."""
    listener = _socket(path)
    try:
        return asyncio.run(_listen(server, listener, path))
    finally:
        listener.close()
        with suppress(OSError):
            path.unlink()


def _socket(path: Path) -> socket.socket:
    """Bind a socket with mode 0600, in a folder that is the user's own and that nobody else may write."""
    if sys.platform == "win32":
        raise PalimpsestError("--listen needs Unix sockets, which this system lacks; use standard input and output")
    path = path.absolute()
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        folder = path.parent.stat()
        if folder.st_uid != os.getuid() or folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PalimpsestError(f"{path.parent} can be written by others; choose a folder of your own for the socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _make_way(path)
            before = os.umask(0o177)
            try:
                listener.bind(os.fspath(path))
            finally:
                os.umask(before)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise PalimpsestError(f"{path} cannot be a socket: {error.strerror or error}") from error
    return listener


def _make_way(path: Path) -> None:
    """Remove a socket that nobody listens on any more."""
    if sys.platform == "win32" or not path.is_socket():
        return  # binding says it if there is something else
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()


async def _listen(server: JsonRPCServer, listener: socket.socket, path: Path) -> int:
    if sys.platform == "win32":
        raise NotImplementedError  # `_socket` has refused
    protocol = cast(Protocol, server.protocol)
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    first_message = asyncio.Lock()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            body = await _opening(reader)
            async with first_message:
                if body is None or protocol.initialized:
                    return  # one client, as on standard input
                protocol.set_writer(cast("AsyncWriter", writer))
                await take(protocol, body)  # if its params cannot be read, it is answered with an error
                if not protocol.initialized:
                    return
            ended.set_result(await converse(server, reader, cast("AsyncWriter", writer)))
        except _Foreign:
            writer.write(_REFUSED)
        except (ConnectionError, ValueError, asyncio.IncompleteReadError):
            pass  # it went away, or never was a client
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async with await asyncio.start_unix_server(connected, sock=listener):
        print(f"palimpsest: listening on {path}", file=sys.stderr, flush=True)
        return await ended


async def _opening(reader: asyncio.StreamReader) -> bytes | None:
    """Return the first message of a connection if it is `initialize`, else None. Raises _Foreign for another protocol."""

    def refuse() -> None:
        raise _Foreign

    body = await next_body(reader, refuse)
    try:
        message = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    return body if isinstance(message, dict) and message.get("method") == types.INITIALIZE else None
