"""The process inside the sandbox: runs one program after the other, each in a fork of itself, within limits.

`execute.py` starts it as a script in a bare interpreter, so it imports the standard library only. It reads one JSON
object a line from standard input (`program`) and writes one to standard output (`outcome`, `detail`, `ms`).
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NoReturn

assert sys.platform != "win32"  # `execute.py` does not start it there

NOBODY = 65534
# Python's audit events that the hook refuses, in addition to all other limits.
_REFUSED = """
    os.chflags os.chmod os.chown os.exec os.fork os.forkpty os.kill
    os.killpg os.link os.mkdir os.posix_spawn os.putenv os.remove os.removexattr os.rename os.rmdir os.setxattr os.spawn
    os.symlink os.system os.truncate os.unsetenv os.utime pty.spawn signal.pthread_kill socket.bind socket.connect
    socket.getaddrinfo socket.gethostbyaddr socket.gethostbyname socket.sendmsg socket.sendto subprocess.Popen
    syslog.syslog
"""
_REFUSED_MODULES = ("ctypes.", "shutil.", "ftplib.", "http.", "urllib.", "smtplib.", "webbrowser.", "mmap.")
_FILES = 64  # of a program, which with the size of each is the room that it can fill
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# The modules that programs import most. They are imported once here, not once for each program.
_MODULES = (
    "array bisect cmath collections copy dataclasses datetime decimal enum fractions functools hashlib heapq itertools "
    "math operator random re statistics string sys textwrap typing unicodedata"
)


def main(seconds: float, memory: int, file_size: int, isolated: bool) -> None:
    """Run programs until standard input ends."""
    os.environ.clear()
    for module, name in ((os, "mkfifo"), (os, "mknod"), (signal, "pidfd_send_signal"), (os, "pidfd_open")):
        if hasattr(module, name):
            delattr(module, name)  # Python has no audit event for them
            vars(sys.modules.get("posix" if module is os else "_signal", module)).pop(name, None)
    for name in _MODULES.split():
        __import__(name)
    drop = may_drop()
    told = {"dropped": drop}
    print(json.dumps(told), flush=True)
    for line in sys.stdin.buffer:
        program = json.loads(line)["program"]
        folder = tempfile.mkdtemp(prefix="palimpsest-eval-")
        try:
            os.chmod(folder, 0o777 if drop else 0o700)
            begun = time.perf_counter()
            outcome, detail = run(program, folder, seconds, memory, file_size, drop, isolated)
            ms = round(1000 * (time.perf_counter() - begun), 1)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(json.dumps({"outcome": outcome, "detail": detail, "ms": ms}), flush=True)


def may_drop() -> bool:
    """Tell whether this is root and a child of it, as nobody, can still read Python's own modules."""
    if os.geteuid() != 0:
        return False
    child = os.fork()
    if child == 0:
        try:
            become_nobody()
            os._exit(0 if os.access(os.__file__, os.R_OK) else 1)
        except OSError:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def become_nobody() -> None:
    """Give up root permanently."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def run(
    program: str, folder: str, seconds: float, memory: int, file_size: int, drop: bool, isolated: bool
) -> tuple[str, str]:
    """Run a program. Returns `passed`, `failed`, `timed out` or `crashed`, and the name of the exception or signal."""
    reading, writing = os.pipe()
    secret = os.urandom(16)  # a program that ends early cannot send it
    child = os.fork()
    if child == 0:
        confined(program, folder, seconds, memory, file_size, drop, isolated, writing, secret)
    os.close(writing)
    said, late = b"", False
    until = time.monotonic() + seconds
    while not late:
        late = not select.select([reading], [], [], max(0.0, until - time.monotonic()))[0]
        if late or not (more := os.read(reading, 256)) or len(said) > 4096:
            break
        said += more
    for kill in (os.killpg, os.kill):  # the group is the child's own once it has called setsid
        try:
            kill(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    os.close(reading)
    status = os.waitpid(child, 0)[1]
    if said == secret:
        return "passed", ""
    if late:
        return "timed out", ""
    if said:
        return "failed", said.decode("utf-8", "replace")
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return ("timed out" if name == "SIGXCPU" else "crashed"), name
    return "crashed", f"exit status {os.waitstatus_to_exitcode(status)}"


def confined(
    program: str,
    folder: str,
    seconds: float,
    memory: int,
    file_size: int,
    drop: bool,
    isolated: bool,
    writing: int,
    secret: bytes,
) -> NoReturn:
    """Run in the child: set the limits, run the program, and report how it went."""
    leave: Callable[[int], NoReturn] = os._exit
    tell = os.write
    try:
        os.setsid()
        os.dup2(writing, 3)
        null = os.open(os.devnull, os.O_RDWR)
        for each in (0, 1, 2):
            os.dup2(null, each)
        os.closerange(4, 1024)
        os.chdir(folder)
        os.umask(0o077)
        if drop:
            become_nobody()
        cpu = int(seconds) + 1
        for what, limit in (
            (resource.RLIMIT_CPU, cpu),
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_FSIZE, file_size),
            (resource.RLIMIT_NPROC, 0),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, 32),
        ):
            resource.setrlimit(what, (limit, limit))
        code = compile(program, "<program>", "exec", dont_inherit=True)
        names: dict[str, Any] = {"__name__": "program"}
        sys.addaudithook(refusal(folder, isolated))
        exec(code, names)
        said = secret
    except BaseException as error:
        said = type(error).__name__.encode()[:200] or b"?"
    try:
        tell(3, said)
    finally:
        leave(0)


def refusal(folder: str, isolated: bool) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that refuses processes, connections, and writing outside the folder. It cannot be removed."""
    inside = os.path.realpath(folder) + os.sep
    realpath, fspath, error, refused = os.path.realpath, os.fsdecode, PermissionError, frozenset(_REFUSED.split())
    isdir, left = os.path.isdir, _FILES

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, int):
                return
            if path is not None and not flags & _WRITING:
                if isdir(path):  # and then there is a way to write beside it that no event tells of
                    raise error("programs may not open folders")
                return
            if path is not None and realpath(fspath(path)).startswith(inside):
                left -= 1
                if left < 0:
                    raise error(f"programs write {_FILES} files at most")
                return
            raise error("programs write in their own folder only")
        if event in refused or event.startswith(_REFUSED_MODULES) or (event == "socket.__new__" and not isolated):
            raise error(f"programs may not do this ({event})")

    return hook


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    main(given["seconds"], given["memory"], given["file_size"], given["isolated"])
