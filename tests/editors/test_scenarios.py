"""The scenarios of scenarios.toml, in every editor that can express them. A step is one key and its argument."""

from __future__ import annotations

import os
import signal
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editors.editor import CURSOR, Editor, until
from editors.stage import Stage

pytestmark = pytest.mark.editors

SCENARIOS = tomllib.loads(Path(__file__).with_name("scenarios.toml").read_text("utf-8"))["scenario"]
INLINE, LIST = "textDocument/inlineCompletion", "textDocument/completion"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each["name"] for each in SCENARIOS])
def test_scenario(editor: Editor, stage: Stage, scenario: dict[str, Any]) -> None:
    if missing := set(scenario["needs"]) - editor.abilities:
        pytest.skip(f"because {editor.name} has no {', '.join(sorted(missing))}")
    stage.play(scenario["answers"], **scenario.get("model", {}))
    text, start, end = placed(scenario["text"])
    shown = text[:end] + CURSOR + text[end:]
    options = {each: True for each in ("tabs", "pairs") if scenario.get(each)}
    editor.open(scenario.get("file", "main.py"), shown, **options)
    if start != end:
        editor.select(start, end)
    stage.mark()
    play = Play(editor, stage)
    for step in scenario["steps"]:
        for name, argument in step.items():
            getattr(play, name)(argument)


def placed(text: str) -> tuple[str, int, int]:
    """(the text without its marks, where the cursor or the selection begins, where it ends)."""
    if CURSOR in text:
        at = text.index(CURSOR)
        return text.replace(CURSOR, ""), at, at
    start, end = text.index("«"), text.index("»") - 1
    return text.replace("«", "").replace("»", ""), start, end


class Play:
    """The meaning of each step of a scenario."""

    def __init__(self, editor: Editor, stage: Stage) -> None:
        self.editor, self.stage = editor, stage

    def type(self, text: str) -> None:
        """Key by key."""
        self.editor.type(text)

    def press(self, key: Any) -> None:
        """A key, or what is bound to it."""
        self.editor.press(key)

    def run(self, action: str) -> None:
        """Begin a code action."""
        self.editor.run(action)

    def cancel(self, _: bool) -> None:
        """The action that runs."""
        self.editor.cancel()

    def edit(self, text: str) -> None:
        """Put a line before the first one, as a user can while an action runs."""
        self.editor.edit(text)

    def kill(self, _: bool) -> None:
        """The server's process, as an out-of-memory killer would."""
        pid = until(self.stage.tap.pid, "a server")
        os.kill(pid, signal.SIGKILL)

    def ghost(self, expected: str) -> None:
        """It is shown, exactly so; or nothing is."""
        self._until(self.editor.ghost, expected)

    def text(self, expected: str) -> None:
        """The document reads so, and the cursor is there."""
        self._until(self._shown, expected)

    def holds(self, expected: str) -> None:
        """The document reads so, wherever the cursor is."""
        self._until(self.editor.text, expected)

    def undo(self, expected: str) -> None:
        """One step back, if the editor can; the document reads so."""
        if "undo" in self.editor.abilities:
            self.editor.press("undo")
            self.holds(expected.replace(CURSOR, ""))

    def grows(self, full: str) -> None:
        """Text and suggestion together read so, and there is still something suggested."""

        def together() -> str:
            text, at, ghost = self.editor.text(), self.editor.cursor(), self.editor.ghost()
            return text[:at] + ghost + text[at:] if ghost else ""

        before = len(self.editor.text())
        self._until(together, full)
        assert len(self.editor.text()) >= before

    def has(self, part: str) -> None:
        """The document has that."""
        assert part in self.editor.text()

    def lacks(self, part: str) -> None:
        """The document does not have that."""
        assert part not in self.editor.text()

    def quiet(self, expected: str) -> None:
        """All is answered, nothing is shown, the document reads so."""
        until(lambda: any(self.stage.tap.messages(method, "client") for method in (INLINE, LIST)), "the editor asks")
        self._settled()
        assert self.editor.ghost() == ""
        self.text(expected)

    def stays(self, expected: str) -> None:
        """The document reads so, and does still when all is answered."""
        self.holds(expected)
        self._settled()
        assert self.editor.text() == expected

    def never(self, wrong: str) -> None:
        """It is neither in the document nor suggested."""
        assert wrong not in self.editor.text() + self.editor.ghost()

    def draft(self, final: str) -> None:
        """Something of the right length that is not the final text yet is shown, and grows into it."""
        seen = until(lambda: (ghost := self.editor.ghost()) != final and ghost, "a draft on the screen")
        assert len(seen) <= len(final)

    def let_go(self, _: bool) -> None:
        """The fill that is held goes on."""
        self.stage.let_go()

    def jobs(self, expected: int) -> None:
        """The model was asked so often, speculation aside."""
        assert len(self.stage.jobs()) == expected

    def began(self, expected: int) -> None:
        """So many fills have begun."""
        until(lambda: len(self.stage.jobs()) >= expected, "a fill begins")

    def ended(self, expected: int) -> None:
        """So many fills have ended."""
        until(lambda: len(self.stage.jobs(event="end")) >= expected, "the fill ends")

    def beside(self, expected: int) -> None:
        """So many fills began while another one of the document was at work that nobody had ended."""
        begun = self.stage.jobs() + self.stage.jobs(speculative=True)
        assert begun
        assert sum(each["beside"] for each in begun) == expected

    def starts(self, expected: int) -> None:
        """So many servers were started."""
        until(lambda: self.stage.tap.starts() >= expected, "the server is started again")
        assert self.stage.tap.starts() == expected

    def said(self, message: str) -> None:
        """The editor has shown that, once since its start; the server may have sent it when the script changed."""
        until(lambda: any(message in each for each in self.editor.messages()), f"the message {message!r}")
        self._settled()
        shown = self.editor.messages()
        assert sum(message in each for each in shown) == 1, shown

    def reason(self, part: str) -> None:
        """The editor tells why there is nothing, if it has a place for that."""
        if "status" in self.editor.abilities:
            until(lambda: part in self.editor.reason(), f"the reason {part!r}")

    def _shown(self) -> str:
        text, at = self.editor.text(), self.editor.cursor()
        return text[:at] + CURSOR + text[at:]

    def _until(self, look: Callable[[], str], expected: str) -> None:
        try:
            until(lambda: look() == expected)
        except AssertionError:
            assert look() == expected  # says what is there instead

    def _settled(self) -> None:
        """No request is open, and none comes for half a second; a fixed time, for what is to be shown is an absence."""
        since = time.monotonic()
        count = -1
        while time.monotonic() < since + 0.5:
            now = len(self.stage.tap.messages())
            if now != count or self.stage.tap.unanswered(INLINE) or self.stage.tap.unanswered(LIST):
                count, since = now, time.monotonic()
            time.sleep(0.05)
