"""A model loads where no temporary file can be written, and torch's caches are in a folder of the user's own; the folder
that the process works in may be deleted.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import sys

import pytest

from palimpsest_engine.runtime.caches import make_private_caches

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
FILL = """
import logging, os, sys, tempfile
logging.basicConfig(format="%(message)s", stream=sys.stdout)
{first}
from palimpsest_engine import EngineSettings, FillRequest, Span, open_engine
engine = open_engine(EngineSettings("embedded", device="cpu"))
request = FillRequest("def f(a):\\n    return ", (Span(21, 21),), language="python", max_lines=1)
print(engine.submit(request).future.result(100).texts, os.environ["TORCHINDUCTOR_CACHE_DIR"])
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")  # so that it is put back as it was
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def filled(first="") -> str:
    run = subprocess.run([sys.executable, "-c", FILL.format(first=first)], capture_output=True, text=True, check=True)
    return run.stdout


def test_a_file_in_the_place_of_torchs_folder_is_left_alone(home):
    (home / f"torchinductor_{getpass.getuser()}").write_text("")
    assert filled().endswith(f" {home / 'cache' / 'palimpsest' / 'torch'}\n")


def test_no_folder_at_all_is_a_warning(home):
    (home / "cache").write_text("a file")
    first = "tempfile._candidate_tempdir_list = lambda: ['/nonexistent']"
    said = filled(first)
    assert said.startswith("there is no folder for torch's caches (")
    assert said.endswith(f" {os.sep}\n")


def test_the_folder_is_the_users_alone(home, monkeypatch, caplog):
    folder = home / "cache" / "palimpsest" / "torch"
    make_private_caches()
    assert os.environ.pop(VARIABLE) == str(folder)
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    make_private_caches()
    assert os.environ.pop(VARIABLE) == os.sep
    assert "others can write to" in caplog.text


def test_a_folder_that_the_user_names_is_used_if_it_can_be(home, monkeypatch, caplog):
    monkeypatch.setenv(VARIABLE, str(home / "mine"))
    make_private_caches()
    assert os.environ[VARIABLE] == str(home / "mine")
    assert not caplog.records
    (home / "file").write_text("")
    monkeypatch.setenv(VARIABLE, str(home / "file" / "mine"))
    make_private_caches()
    assert os.environ[VARIABLE] == os.sep
    assert "there is no folder for torch's caches (Not a directory)" in caplog.text


def test_a_deleted_working_directory_is_left(home):
    """torch's library for linear algebra ended the process."""
    said = filled("os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')")
    assert said.startswith(f"the working directory was deleted; this process goes on in {home}\n(")
