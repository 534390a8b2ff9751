"""From the keystroke to the ghost text on the screen, in real editors, with the embedded checkpoint and with none.

python tests/editors/bench.py [EDITOR ...]

Somebody types the last characters of half a line at a steady pace, and waits. `instant` is an engine that answers at
once: what is left is the wait for a pause in the typing, the protocol and the editor. The editor's own clock tells when
a screen with a suggestion was painted. The figures are written to build/bench-editors.json, too.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parents[1]))

from editors.editor import CURSOR, Editor
from editors.neovim import Neovim
from editors.programs import Unavailable, default_cache
from editors.stage import Stage
from editors.vscode import VSCode

EDITORS = ("vscode", "neovim")
SOURCE = Path(__file__).parents[2] / "server" / "palimpsest_server" / "session" / "debounce.py"
TYPED, INTERVAL = 6, 0.12  # characters, seconds: a good typist
PLACES, PATIENCE = 24, 4.0
INSTANT = {"": "instant(answer)"}
REPORT = Path(__file__).parents[2] / "build" / "bench-editors.json"


class Clocked(Editor, Protocol):
    """An editor that knows when it painted."""

    def forget(self) -> None:
        """Forget the screens that were painted so far."""

    def delay(self) -> float | None:
        """Seconds from the last key to the first screen with a suggestion; None before there is one."""


def places() -> Iterator[tuple[str, str]]:
    """(a real file without the second half of a line, the last characters before that): to be typed there."""
    lines = SOURCE.read_text("utf-8").splitlines()
    code = [
        at for at, line in enumerate(lines) if len(line.strip()) > 3 * TYPED and line[:1] == " " and ":" not in line
    ]
    for at in code[:: max(1, len(code) // PLACES)][:PLACES]:
        indent = len(lines[at]) - len(lines[at].lstrip())
        cut = (indent + len(lines[at])) // 2
        before, typed = lines[at][: cut - TYPED], lines[at][cut - TYPED : cut]
        yield "\n".join([*lines[:at], before + CURSOR, *lines[at + 1 :], ""]), typed


def measured(editor: Clocked) -> list[float | None]:
    """Seconds from the last key to the first suggestion, at each place; None where there was none."""
    found = list[float | None]()
    for number, (text, typed) in enumerate(places()):
        editor.open(f"place{number}.py", text)
        for key in typed[:-1]:
            editor.type(key)
            time.sleep(INTERVAL)
        found.append(_painted(editor, typed[-1]))
    return found


def _painted(editor: Clocked, key: str) -> float | None:
    editor.forget()
    begun = time.monotonic()
    editor.type(key)
    while time.monotonic() - begun < PATIENCE:
        if (seconds := editor.delay()) is not None:
            return seconds
        time.sleep(0.002)
    return None


def run(name: str, engine: str, folder: Path) -> dict[str, Any]:
    """One editor on one engine: its figures, in milliseconds; prints them."""
    stage = Stage(folder, Path(sys.executable))
    stage.play(INSTANT, real=engine == "checkpoint")
    home = folder / "home"
    home.mkdir()
    driver = importlib.import_module(f"editors.{name}")
    with driver.start(default_cache(), stage.server, home) as editor:
        editor.open("warm.py", f"import{CURSOR}\n")
        _painted(editor, " ")
        seconds = measured(editor)
        figures: dict[str, Any] = {"editor": name, "engine": engine, "places": len(seconds)}
        if isinstance(editor, VSCode) and engine == "instant":
            figures["activation"] = editor.activation()
            print(f"{name:10} the extension is active after {figures['activation']} ms")
        if isinstance(editor, Neovim) and engine == "instant":
            figures["require"] = editor.require_time()
            print(f"{name:10} require('palimpsest') takes {figures['require']:.2f} ms")
    shown = sorted(each for each in seconds if each is not None)
    if len(shown) < 2:
        print(f"{name:10} {engine:11} nothing was suggested")
        return figures
    p50, p95 = statistics.median(shown), statistics.quantiles(shown, n=20, method="inclusive")[-1]
    print(
        f"{name:10} {engine:11} p50 {1000 * p50:5.0f} ms   p95 {1000 * p95:5.0f} ms   {len(shown)} of {len(seconds)} places"
    )
    return figures | {
        "suggested": len(shown),
        "p50": 1000 * p50,
        "p95": 1000 * p95,
        "all": [1000 * each for each in shown],
    }


def main() -> None:
    """All editors that can be had, or those that are named."""
    report = []
    for name in sys.argv[1:] or EDITORS:
        for engine in ("instant", "checkpoint"):
            try:
                with tempfile.TemporaryDirectory(prefix="palimpsest-bench-", ignore_cleanup_errors=True) as folder:
                    report.append(run(name, engine, Path(folder)))
            except Unavailable as error:
                print(f"{name:10} skipped, because {error}")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
