from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from palimpsest_engine import PalimpsestError
from palimpsest_engine.errors import DocumentChanged
from palimpsest_server.cli import files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.py"
    path.write_bytes(b"old\n")
    return path


def only(path: Path) -> bool:
    """There is nothing but this file: no temporary one was left behind."""
    return list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o664])
def test_mode_is_kept(path: Path, mode: int) -> None:
    path.chmod(mode)
    files.write(files.read(str(path)), "new\n")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new\n"
    assert only(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_owner_is_kept(path: Path) -> None:
    os.chown(path, 1234, 4321)
    files.write(files.read(str(path)), "new\n")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


def test_a_file_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    file = files.read(str(path))
    monkeypatch.setattr(os, "chown", refuse)
    theirs = os.stat_result((0o100644, 0, 0, 1, 1234, 4321, 4, 0, 0, 0))
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **options: theirs if self == path else real(self, **options))
    with pytest.raises(PalimpsestError, match="belongs to another user"):
        files.write(file, "new\n")
    assert path.read_bytes() == b"old\n"


def test_the_modification_time_is_new(path: Path) -> None:
    os.utime(path, (1, 1))
    files.write(files.read(str(path)), "new\n")
    assert path.stat().st_mtime > 1


def test_a_link_is_followed(path: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    link = inner / "link.py"
    link.symlink_to(path)
    files.write(files.read(str(link)), "new\n")
    assert link.is_symlink()
    assert path.read_bytes() == b"new\n"
    assert list(inner.iterdir()) == [link]


@pytest.mark.parametrize("now", [b"other\n", b"old", b"", None])
def test_a_file_that_changed_meanwhile_is_left_alone(path: Path, now: bytes | None) -> None:
    file = files.read(str(path))
    path.unlink() if now is None else path.write_bytes(now)
    with pytest.raises(DocumentChanged):
        files.write(file, "new\n")
    assert list(path.parent.iterdir()) == ([] if now is None else [path])
    assert now is None or path.read_bytes() == now


@pytest.mark.parametrize("step", ["fsync", "replace", "utime"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_at_any_step_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    file = files.read(str(path))
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        files.write(file, "new\n")
    assert path.read_bytes() == b"old\n"
    assert only(path)


def test_a_file_that_may_not_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PalimpsestError, match="is read-only"):
        files.write(files.read(str(path)), "new\n")
    assert path.read_bytes() == b"old\n"


# Writes its lines, each after those that are there. Nobody else may be in the middle of that: `busy` is there meanwhile.
WRITER = """
import os, sys
from palimpsest_engine.errors import DocumentChanged
from palimpsest_server.cli import files
path, name, count, busy = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
sync, now = os.fsync, files._now
def begun(descriptor):
    os.mkdir(busy)
    sync(descriptor)
def compared(target):
    found = now(target)
    os.rmdir(busy)
    return found
os.fsync, files._now = begun, compared
files._PATIENCE_SECONDS = 1000.0  # the other one writes on and on: on a slow disk it gives the lock away for a moment only
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    while True:
        file = files.read(path)
        try:
            files.write(file, file.text + f"{name}{number}\\n")
            break
        except DocumentChanged:
            pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_two_processes_that_write_one_file_lose_nothing(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    count, busy = 150, tmp_path_factory.mktemp("busy") / "now"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), name, str(count), str(busy)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(["old", *(f"{name}{number}" for name in "ab" for number in range(count))])
    assert only(path)


def test_a_lock_beside_the_folder_keeps_others_out(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "_PATIENCE_SECONDS", 0.0)
    with files._lock_beside(path.parent) as locked, files._lock_beside(tmp_path / "other") as elsewhere:
        assert (locked, elsewhere) == (True, True)
        with (
            pytest.raises(PalimpsestError, match=r"another process keeps .* locked; nothing was written"),
            files._lock_beside(path.parent),
        ):
            pass
    with files._lock_beside(path.parent) as locked:
        assert locked


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has its own place")
def test_a_lock_beside_the_folder_that_cannot_be_made_is_none(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file, where a folder is sought")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with files._lock_beside(path.parent) as locked:
        assert not locked


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_lock_that_is_never_given_back_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(files, "_PATIENCE_SECONDS", 0.0)
    file = files.read(str(path))
    held = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(PalimpsestError, match=r"another process keeps .* locked; nothing was written"):
        files.write(file, "new\n")
    os.close(held)
    files.write(file, "new\n")
    assert only(path)


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_process_that_was_killed_leaves_nothing_for_long(path: Path, step: str) -> None:
    kill = (
        "import os, signal, sys\n"
        "from palimpsest_server.cli import files\n"
        f"os.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write(files.read(sys.argv[1]), 'new')\n"
    )
    assert subprocess.run([sys.executable, "-c", kill, str(path)]).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old\n"
    assert not only(path)
    files.write(files.read(str(path)), "new\n")
    assert path.read_bytes() == b"new\n"
    assert only(path)


def test_a_file_with_another_name_is_not_parted_from_it(path: Path) -> None:
    os.link(path, path.with_name("b.py"))
    with pytest.raises(PalimpsestError, match=r"a.py has 2 names \(hard links\)"):
        files.write(files.read(str(path)), "new\n")
    assert path.samefile(path.with_name("b.py"))
    assert path.read_bytes() == b"old\n"
    assert len(list(path.parent.iterdir())) == 2


def test_a_file_of_a_foreign_group_is_not_said_to_be_somebody_elses(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    file = files.read(str(path))
    monkeypatch.setattr(os, "chown", refuse)
    theirs = os.stat_result((0o100644, 0, 0, 1, os.getuid(), 4321, 4, 0, 0, 0))
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **options: theirs if self == path else real(self, **options))
    with pytest.raises(PalimpsestError, match="its group is not one of yours"):
        files.write(file, "new\n")


def test_a_pipe_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PalimpsestError, match="device or pipe"):
        files.read(str(tmp_path / "pipe"))
