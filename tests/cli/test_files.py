from __future__ import annotations

import os
import stat
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
    with pytest.raises(PalimpsestError, match="belongs to somebody else"):
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
    with pytest.raises(PalimpsestError, match="may not be written"):
        files.write(files.read(str(path)), "new\n")
    assert path.read_bytes() == b"old\n"


def test_a_pipe_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PalimpsestError, match="device or pipe"):
        files.read(str(tmp_path / "pipe"))
