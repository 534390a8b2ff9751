"""A finished file takes the place of an old one, also where a reader has the old one open for a moment."""

import os
import sys

import pytest

from palimpsest_engine import replace, replacing


@pytest.fixture
def refusals(monkeypatch):
    """Have the system refuse to rename so many times; the waits take no time. Yields the list of the waits."""
    waited, rename = [], os.replace

    def install(times):
        left = iter(range(times))

        def refuse(new, old):
            if next(left, None) is not None:
                raise PermissionError(13, "Access is denied", str(old))
            rename(new, old)

        monkeypatch.setattr(replacing.os, "replace", refuse)
        monkeypatch.setattr(replacing.time, "sleep", waited.append)
        return waited

    return install


def pair(folder):
    new, old = folder / "new", folder / "old"
    new.write_text("new", "utf-8")
    old.write_text("old", "utf-8")
    return new, old


def test_windows_is_asked_again_while_somebody_reads(tmp_path, monkeypatch, refusals):
    monkeypatch.setattr(sys, "platform", "win32")
    waited = refusals(2)
    new, old = pair(tmp_path)
    replace(new, old)
    assert old.read_text("utf-8") == "new"
    assert len(waited) == 2


def test_a_file_that_stays_open_is_an_error_in_the_end(tmp_path, monkeypatch, refusals):
    monkeypatch.setattr(sys, "platform", "win32")
    refusals(1000)
    new, old = pair(tmp_path)
    with pytest.raises(PermissionError):
        replace(new, old)
    assert old.read_text("utf-8") == "old"


def test_a_refusal_is_final_elsewhere(tmp_path, monkeypatch, refusals):
    monkeypatch.setattr(sys, "platform", "linux")
    waited = refusals(1)
    with pytest.raises(PermissionError):
        replace(*pair(tmp_path))
    assert waited == []
