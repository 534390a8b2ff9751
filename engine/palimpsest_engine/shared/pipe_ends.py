"""Tell whether the process at the other end of a named pipe of Windows is of this user; knows nothing of messages.

Any user can make a pipe of any name, so a client has to ask before it sends anything. Until something is sent, the process
that made the pipe cannot act in the client's name either.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any, Protocol

_QUERY_LIMITED_INFORMATION = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
_TOKEN_QUERY, _TOKEN_USER = 0x0008, 1
_LONGEST = 256  # bytes of a TOKEN_USER: a pointer, a number, and a SID, which has 68 at most


class System(Protocol):
    """The questions to Windows. Both raise OSError if it does not tell."""

    def process_at(self, pipe: int, *, listening: bool) -> int:
        """Return the process at the other end. listening: ours is the server's end."""

    def user_of(self, process: int) -> bytes:
        """Return the user of a process: a SID."""


def is_ours(pipe: int, *, listening: bool, system: System) -> bool:
    """Return whether the process at the other end is of this user. No, if Windows does not tell.

    pipe: a handle. listening: ours is the server's end.
    """
    try:
        return system.user_of(system.process_at(pipe, listening=listening)) == system.user_of(os.getpid())
    except OSError:
        return False


if sys.platform == "win32":

    class Windows:
        """The questions, asked of Windows itself."""

        def process_at(self, pipe: int, *, listening: bool) -> int:
            """Return the process at the other end."""
            kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            ask = kernel.GetNamedPipeClientProcessId if listening else kernel.GetNamedPipeServerProcessId
            number = ctypes.c_ulong()
            _done(ask(ctypes.c_void_p(pipe), ctypes.byref(number)))
            return number.value

        def user_of(self, process: int) -> bytes:
            """Return the user of a process."""
            kernel = ctypes.WinDLL("kernel32", use_last_error=True)
            rights = ctypes.WinDLL("advapi32", use_last_error=True)
            kernel.OpenProcess.restype = ctypes.c_void_p
            opened = ctypes.c_void_p(kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, ctypes.c_ulong(process)))
            _done(opened.value)
            token = ctypes.c_void_p()
            try:
                _done(rights.OpenProcessToken(opened, _TOKEN_QUERY, ctypes.byref(token)))
                found = ctypes.create_string_buffer(_LONGEST)
                size = ctypes.c_ulong()
                _done(rights.GetTokenInformation(token, _TOKEN_USER, found, _LONGEST, ctypes.byref(size)))
                user = ctypes.cast(found, ctypes.POINTER(ctypes.c_void_p))[
                    0
                ]  # TOKEN_USER begins with a pointer to the SID
                return ctypes.string_at(user, rights.GetLengthSid(ctypes.c_void_p(user)))
            finally:
                for handle in (token, opened):
                    if handle.value:
                        kernel.CloseHandle(handle)

    def _done(result: Any) -> None:
        """Raise OSError if a function of Windows has failed."""
        if not result:
            raise ctypes.WinError(ctypes.get_last_error())
