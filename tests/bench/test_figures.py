"""The server's own share, measured with stand-ins: typing, large files, memory, sessions."""

from __future__ import annotations

import pytest

from palimpsest_bench import parts
from palimpsest_bench.server import figures, observe, real, replay
from palimpsest_bench.server.client import Editor
from palimpsest_engine import PalimpsestError

from .conftest import DOCUMENT


def test_a_sized_file_is_python_around_its_middle() -> None:
    for size in (1000, 10_000, 100_000):
        text, lines = real.sized(DOCUMENT, size)
        assert 0.9 * size < len(text) <= size
        assert observe.typing(text, 8, lines)
        assert all(0 <= line < text.count("\n") for line, _ in observe.typing(text, 8, lines))
    assert real.sized(DOCUMENT, 100_000)[1].start > 0


def test_sessions_in_no_language_of_the_checkpoint_are_an_error() -> None:
    with pytest.raises(PalimpsestError, match="cobol"):
        real.sessions(parts.SCRIPTED_SERVER, {}, ["cobol"], 5)


def test_typing_is_measured() -> None:
    assert set(figures.typing(DOCUMENT, 30)) == {"p50", "p95", "p99", "samples"}


def test_a_big_file_is_measured() -> None:
    assert figures.big_file(DOCUMENT, 100_000, 5)["samples"] == 5


def test_typing_along_is_measured() -> None:
    assert figures.along(DOCUMENT, 150)["samples"] >= 150


def test_nothing_to_type_along_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_FORETOLD", "")
    with pytest.raises(PalimpsestError, match="no suggestion to type along"):
        figures.along(DOCUMENT, 5)


def test_memory_is_measured_over_files_that_come_and_go() -> None:
    figure = figures.memory_growth(0.01)
    assert figure["ratio"] > 0
    assert figure["after_hour_mb"] > 1


def test_the_share_is_what_the_server_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def counters(self: Editor) -> dict[str, int]:
        return {"model": 2}

    some = {name: replay.sessions()[name] for name in ("widget", "module")}
    monkeypatch.setattr(replay, "sessions", lambda: some)
    monkeypatch.setattr(Editor, "counters", counters)
    share = figures.model_share(5)
    assert share["sessions"].keys() == some.keys()
    assert share["keystrokes"] == 10
    assert (share["all"], share["never_right"]) == (0.4, 0.4)
