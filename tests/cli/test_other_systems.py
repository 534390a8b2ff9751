"""The command line where the output has few characters, and where the event loop knows no signals, as on Windows."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from palimpsest_server.cli.engine import heed_signals


@pytest.mark.parametrize("encoding", ["cp1252", "cp437"])
def test_a_name_that_the_output_cannot_show_is_escaped(tmp_path, encoding):
    (model := tmp_path / "模型").mkdir()
    command = [sys.executable, "-m", "palimpsest_server", "doctor", "--model", str(model)]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=False)
    assert rb"\u6a21\u578b" in done.stdout
    assert b"see the errors above" in done.stdout, done.stderr


async def test_a_signal_ends_the_engine_process_where_the_loop_knows_none(monkeypatch):
    def refuse(*_):
        raise NotImplementedError

    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    monkeypatch.setattr(loop, "add_signal_handler", refuse, raising=False)
    try:
        heed_signals(loop, ended.set)
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(ended.wait(), 10)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
