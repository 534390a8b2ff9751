"""The other end of a named pipe of Windows: another user is turned away, and so is a process that Windows does not name."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from palimpsest_engine.shared import channel, pipe_ends

OURS, THEIRS = b"S-1-5-21-1", b"S-1-5-21-2"
SERVER, CLIENT = 10, 20
PIPE = 7


class System:
    """A Windows with two users: this process is one's, and the ends of the pipe are whose a test says."""

    def __init__(self, server: bytes | None, client: bytes | None) -> None:
        self.users = {SERVER: server, CLIENT: client, os.getpid(): OURS}

    def process_at(self, pipe: int, *, listening: bool) -> int:
        assert pipe == PIPE
        return CLIENT if listening else SERVER

    def user_of(self, process: int) -> bytes:
        if (user := self.users[process]) is None:
            raise PermissionError(13, "Access is denied")
        return user


@pytest.mark.parametrize(
    ("server", "client", "listening", "ours"),
    [
        (OURS, THEIRS, False, True),
        (THEIRS, OURS, False, False),
        (None, OURS, False, False),
        (THEIRS, OURS, True, True),
        (OURS, THEIRS, True, False),
        (OURS, None, True, False),
    ],
)
def test_only_our_own_user_may_be_at_the_other_end(
    server: bytes | None, client: bytes | None, listening: bool, ours: bool
) -> None:
    assert pipe_ends.is_ours(PIPE, listening=listening, system=System(server, client)) == ours


@pytest.mark.parametrize("user", [OURS, THEIRS])
async def test_nothing_is_sent_through_a_pipe_of_another_user(user: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    class End:
        closed = False

        def get_extra_info(self, name: str, default: object = None) -> object:
            return {"pipe": self}.get(name, default)

        def fileno(self) -> int:
            return PIPE

        def close(self) -> None:
            self.closed = True

        abort = close

        def is_closing(self) -> bool:
            return self.closed

    end = End()

    async def create_pipe_connection(protocol: object, address: str) -> tuple[End, None]:
        return end, None

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_pipe_connection", create_pipe_connection, raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(channel, "_pipes", lambda: loop, raising=False)
    monkeypatch.setattr(pipe_ends, "Windows", lambda: System(user, user), raising=False)
    if user == OURS:
        connected = await channel.connect("the pipe")
        assert not end.closed
        connected.abandon()
    else:
        with pytest.raises(channel.CannotShare, match="belongs to another user"):
            await channel.connect("the pipe")
    assert end.closed


@pytest.mark.skipif(sys.platform != "win32", reason="it asks Windows")
def test_windows_tells_this_process_user() -> None:
    windows = pipe_ends.Windows()
    assert windows.user_of(os.getpid()).startswith(b"\x01")  # a SID of revision 1
    with pytest.raises(OSError, match="WinError"):
        windows.user_of(0xFFFFFFF0)
