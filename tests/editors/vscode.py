"""Drives the real VS Code: the workbench in headless Chromium, by its keys and by what it paints.

What cannot be seen on the screen, such as the whole text, a second extension reads out of the extension host (probe/).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from editors.editor import CURSOR, Ability, Key, Server, until
from editors.programs import chromium, vscode
from editors.workbench import Probe, Screen, packed, serving

HERE = Path(__file__).parent

QUIET = {
    "breadcrumbs.enabled": False,
    "chat.disableAIFeatures": True,
    "editor.acceptSuggestionOnEnter": "off",
    "editor.cursorBlinking": "solid",
    "editor.fontSize": 18,
    "editor.minimap.enabled": False,
    "editor.occurrencesHighlight": "off",
    "editor.wordBasedSuggestions": "off",
    "extensions.autoCheckUpdates": False,
    "extensions.ignoreRecommendations": True,
    "files.hotExit": "off",
    "git.enabled": False,
    "remote.autoForwardPorts": False,  # whatever else listens on this machine would be announced
    "telemetry.telemetryLevel": "off",
    "window.commandCenter": False,
    "window.title": "${activeEditorShort}",
    "workbench.activityBar.location": "hidden",
    "workbench.layoutControl.enabled": False,
    "workbench.reduceMotion": "on",
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
    "workbench.tips.enabled": False,
}
# What a user has on keys, or could have.
KEYS = {
    "ctrl+alt+enter": "editor.action.inlineSuggest.commit",
    "ctrl+alt+t": "palimpsest.toggle",
    "ctrl+alt+1": "palimpsest.fill",
    "ctrl+alt+2": "palimpsest.complete",
    "ctrl+alt+3": "palimpsest.touchUp",
    "ctrl+alt+4": "palimpsest.rework",
    "ctrl+alt+5": "palimpsest.rewrite",
    "ctrl+alt+6": "palimpsest.repair",
    "ctrl+alt+7": "palimpsest.fillHoles",
    "ctrl+alt+8": "palimpsest.instruct",
    "ctrl+alt+9": "palimpsest.followUp",
    "ctrl+alt+0": "palimpsest.explain",
    "ctrl+alt+b": "palimpsest.earlier",
    "ctrl+alt+f": "palimpsest.later",
    "ctrl+alt+u": "palimpsest.test",
    "ctrl+alt+c": "palimpsest.showCanvas",
}
PRESSES = {
    "accept": "Tab",
    "word": "Control+ArrowRight",
    "line": "Alt+l",
    "next": "Alt+]",
    "previous": "Alt+[",
    "trigger": "Alt+\\",
    "escape": "Escape",
    "undo": "Control+z",
    "left": "ArrowLeft",
    "right": "ArrowRight",
    "up": "ArrowUp",
    "down": "ArrowDown",
    "enter": "Enter",
    "toggle": "Control+Alt+t",
}

# VS Code has no active editor for a moment whenever another one comes into sight.
_SHOWN = """
const shown = async (is = () => true) => {
  for (let tries = 400; tries; tries--) {
    const editor = vscode.window.activeTextEditor;
    if (editor && is(editor.document)) return editor;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`no editor of that document is active, but ${vscode.window.activeTextEditor?.document.uri}`);
};
"""


class VSCode:
    """See Editor. project: the folder that is open."""

    name = "vscode"
    encoding = "utf-16"
    abilities: frozenset[Ability] = frozenset(
        {
            "ghost",
            "word",
            "line",
            "next",
            "trigger",
            "pairs",
            "indents",
            "drafts",
            "actions",
            "undo",
            "toggle",
            "status",
            "revives",
        }
    )

    def __init__(self, screen: Screen, probe: Probe, project: Path) -> None:
        self.screen, self.probe, self.project = screen, probe, project
        self._opened = 0
        self._tabs = False

    def open(self, name: str, text: str, *, tabs: bool = False, pairs: bool = False) -> None:
        self.close_all()
        self.show(name, text, tabs=tabs, pairs=pairs)
        self._offered()  # asked behind the document, on the same wire: when there is an answer the server knows it

    def show(self, name: str, text: str, *, tabs: bool = False, pairs: bool = False) -> None:
        """Open a document, whether or not there is a server."""
        closing = "languageDefined" if pairs else "never"
        self.configure({"editor.autoClosingBrackets": closing, "editor.autoClosingQuotes": closing})
        self._opened += 1
        self._tabs = tabs
        for older in self.project.glob("test*"):
            shutil.rmtree(older)
        folder = self.project / f"test{self._opened}"  # one of its own, for VS Code remembers files by their paths
        folder.mkdir()
        at = text.index(CURSOR)
        (folder / name).write_text(text.replace(CURSOR, ""), encoding="utf-8", newline="")
        self._in_editor(
            """
            // Not openTextDocument: the document would stay open for minutes after its tab is closed.
            const uri = vscode.Uri.file(argument.path);
            await vscode.commands.executeCommand("vscode.open", uri, { preview: false });
            const editor = await shown((document) => document.uri.fsPath === argument.path);
            const document = editor.document;
            editor.options = { insertSpaces: !argument.tabs, tabSize: 4, indentSize: 4 };
            const at = document.positionAt(argument.at);
            editor.selection = new vscode.Selection(at, at);
            """,
            {"path": str(folder / name), "tabs": tabs, "at": _units(text[:at])},
        )
        self.screen.do(lambda page: page.wait_for_selector(".monaco-editor.focused"))
        until(lambda: self.cursor() == at, "the cursor is placed")

    def text(self) -> str:
        return str(self._in_editor("return (await shown()).document.getText()"))

    def cursor(self) -> int:
        before = self._in_editor(
            """
            const { document, selection } = await shown();
            return document.getText(new vscode.Range(new vscode.Position(0, 0), selection.active));
            """
        )
        return len(before)

    def selection(self) -> tuple[int, int]:
        """From where to where."""
        before = self._in_editor(
            """
            const { document, selection } = await shown();
            const from = new vscode.Position(0, 0);
            return [selection.start, selection.end].map((to) => document.getText(new vscode.Range(from, to)));
            """
        )
        return len(before[0]), len(before[1])

    def type(self, text: str) -> None:
        self.screen.do(lambda page: page.keyboard.type(text))

    def press(self, key: Key) -> None:
        stroke = PRESSES[key]
        if key == "accept" and self.ghost().startswith((" " * 4, "\t")):
            stroke = "Control+Alt+Enter"  # Tab indents the line before it accepts what begins with an indentation
        self.screen.do(lambda page: page.keyboard.press(stroke))

    def select(self, start: int, end: int) -> None:
        text = self.text()
        self._in_editor(
            """
            const editor = await shown();
            const [start, end] = argument.map((at) => editor.document.positionAt(at));
            editor.selection = new vscode.Selection(start, end);
            """,
            [_units(text[:start]), _units(text[:end])],
        )

    def ghost(self) -> str:
        first, *more = str(self.screen.evaluate("seen.ghost()")).split("\n")
        if self._tabs:  # they are painted as spaces
            more = [re.sub(r"^( {4})+", lambda found: "\t" * (len(found[0]) // 4), line) for line in more]
        return "\n".join([first, *more])

    def edit(self, text: str) -> None:
        def type_there(page: Page) -> None:
            page.keyboard.press("Control+Home")
            page.keyboard.type(text)

        # The first draft of an action takes the selection away, and with it the cursor to where that began.
        until(lambda: len(set(self.selection())) == 1, "nothing is selected")
        until(lambda: not self.screen.evaluate("document.querySelectorAll('.selected-text').length"), "to be seen, too")
        self.screen.do(type_there)

    def run(self, action: str) -> None:
        [key] = [key for key, command in KEYS.items() if command == f"palimpsest.{action}"]
        self.screen.do(lambda page: page.keyboard.press(key.title().replace("Ctrl", "Control")))

    def cancel(self) -> None:
        self.press("escape")

    def reason(self) -> str:
        return str(
            self.screen.evaluate(
                """document.querySelector(".statusbar-item[id$='palimpsest.status'] [aria-label]")?.ariaLabel ?? ''"""
            )
        )

    def messages(self) -> list[str]:
        return list(self.screen.evaluate("seen.messages.filter((each) => !each.progress).map((each) => each.text)"))

    def toasts(self) -> list[str]:
        """Messages that are on the screen now."""
        message = ".notification-toast .notification-list-item-message"
        return list(
            self.screen.evaluate(f"[...document.querySelectorAll('{message}')].map((each) => each.textContent)")
        )

    def answer(self, button: str) -> None:
        """Press a button of a message."""
        self.screen.do(lambda page: page.click(f".notification-toast .monaco-button:has-text('{button}')"))

    def pick(self, title: str, text: str) -> None:
        """Take an entry of the list with that title, or give a path to the dialog with that title."""
        widget = ".quick-input-widget:not([style*='display: none'])"
        box = f"{widget} input.input"
        rows = f"{widget} .monaco-list-row"
        heading = f"{widget} .quick-input-title:text-is('{title}')"

        def fill(page: Page) -> None:
            page.wait_for_selector(heading)
            if text.startswith("/"):
                # By the list: a dialog that has not listed a folder yet can stay for ever at Enter, and it completes names.
                folder, name = os.path.split(text)
                page.wait_for_selector(f"{rows}:has-text('..')")
                page.fill(box, f"{folder}/")
                page.locator(rows).get_by_text(name, exact=True).click()
            else:
                page.fill(box, text)
                page.wait_for_function("(rows) => document.querySelectorAll(rows).length === 1", arg=rows)
                page.keyboard.press("Enter")
            page.wait_for_selector(heading, state="hidden")

        self.screen.do(fill)

    def restart(self) -> None:
        self.command("palimpsest.restart")  # not by a key: the server before could still answer what is asked next
        self.wait_for_server()

    def wait_for_server(self) -> None:
        """Until it has something to offer for the text, which has to have code in it."""
        until(self._offered, "the server offers a code action", 60)

    def screenshot(self, path: Path) -> None:
        # Not while something fades in or out; what is animated for ever, such as the cursor, is left alone.
        fading = "document.getAnimations().filter((each) => each.effect.getComputedTiming().endTime < Infinity)"
        self.screen.evaluate(f"Promise.allSettled({fading}.map((each) => each.finished))")
        self.screen.do(lambda page: page.screenshot(path=path))

    def painted(self) -> list[tuple[float, str]]:
        """Return each text that the ghost text showed since `forget`, with the page's time in seconds."""
        return [(each["at"] / 1000, each["text"]) for each in self.screen.evaluate("seen.ghosts")]

    def forget(self) -> None:
        """Forget the frames that were painted, and the keys."""
        self.screen.evaluate("seen.ghosts.length = seen.keys.length = 0")

    def delay(self) -> float | None:
        """Seconds from the last key to the first frame with a suggestion in it, by the page's own clock; `forget` first."""
        key = self.screen.evaluate("seen.keys.at(-1)?.at / 1000")
        return next((at - key for at, text in self.painted() if text and at > key), None)

    def activation(self) -> int:
        """Milliseconds that the extension took to activate, as VS Code's own list of running extensions has it."""
        self.command("workbench.action.showRuntimeExtensions")
        rows = ".runtime-extensions-editor .monaco-list-row"

        def shown() -> list[str]:
            self.screen.do(lambda page: page.mouse.wheel(0, 200))  # only what is in sight is there
            return list(self.screen.evaluate(f"[...document.querySelectorAll('{rows}')].map((row) => row.innerText)"))

        self.screen.do(lambda page: page.hover(rows))
        own = until(lambda: [row for row in shown() if row.startswith("Palimpsest")], "the extension in the list")
        took = re.search(r"Activation: (\d+)ms", own[0])
        assert took, own
        return int(took[1])

    def preview(self) -> str:
        """Return the text that is painted over the document, or between its lines, and is not part of it."""
        return str(self.screen.evaluate("seen.preview()"))

    def struck(self) -> str:
        """Return the text of the document that is painted as going, and can be read."""
        return str(
            self.screen.evaluate(
                """[...document.querySelectorAll(".monaco-editor.focused .view-lines [class*=ced-]")]
                .filter((each) => getComputedStyle(each).textDecorationLine.includes("line-through"))
                .filter((each) => parseFloat(getComputedStyle(each).fontSize) > 8)
                .map((each) => each.textContent).join("").replaceAll("\u00a0", " ")"""
            )
        )

    def compared(self) -> tuple[str, str]:
        """Return what the view of differences shows: the old text and the new one, with what is painted over them."""
        sides = self.screen.evaluate(
            """["original", "modified"].map((side) =>
                [...document.querySelectorAll(`.editor.${side} .view-lines .view-line`)]
                .sort((a, b) => parseInt(a.style.top) - parseInt(b.style.top))
                .map((line) => [...line.querySelectorAll("span span"), line].map((each) =>
                    ["::before", "::after"].map((which) => getComputedStyle(each, which).content)
                    .filter((content) => content.startsWith('"')).join("")).join("") + line.textContent)
                .join("\\n").replaceAll("\u00a0", " "))"""
        )
        return sides[0], sides[1]

    def lenses(self) -> list[str]:
        """Links above a line of code."""
        return list(
            self.screen.evaluate("[...document.querySelectorAll('.codelens-decoration a')].map((a) => a.innerText)")
        )

    def lens_lines(self) -> str:
        """All that stands above lines of code, links or not."""
        script = "[...document.querySelectorAll('.codelens-decoration')].map((each) => each.innerText).join('\\n')"
        return str(self.screen.evaluate(script)).replace("\u00a0", " ")

    def hover_status(self) -> None:
        """Rest the mouse on the status item."""
        self.screen.do(lambda page: page.hover(".statusbar-item[id$='palimpsest.status']"))

    def hovered(self) -> str:
        """The tooltip that is shown."""
        return str(self.screen.evaluate("document.querySelector('.workbench-hover')?.innerText ?? ''")).replace(
            "\u00a0", " "
        )

    def command(self, name: str, *arguments: Any) -> Any:
        """Run a command of VS Code."""
        return self.probe.run(
            "return await vscode.commands.executeCommand(argument.name, ...argument.arguments)",
            {"name": name, "arguments": arguments},
        )

    def configure(self, settings: dict[str, Any]) -> None:
        """Write into the user's settings; `None` takes a key out. Returns when they count."""
        self.probe.run(
            """
            for (const [key, value] of Object.entries(argument)) {
              const known = vscode.workspace.getConfiguration().inspect(key)?.globalValue;
              if (JSON.stringify(known) !== JSON.stringify(value ?? undefined))
                await vscode.workspace.getConfiguration().update(key, value ?? undefined, vscode.ConfigurationTarget.Global);
            }
            """,
            settings,
        )

    def _offered(self) -> int:
        return int(
            self._in_editor(
                """
                const { document } = await shown();
                const all = new vscode.Range(document.positionAt(0), document.positionAt(Infinity));
                const ask = "vscode.executeCodeActionProvider";
                const kind = "refactor.rewrite.palimpsest";
                for (let tries = 50; ; tries--) {
                  try {
                    return (await vscode.commands.executeCommand(ask, document.uri, all, kind)).length;
                  } catch (error) {
                    // It is cancelled if another one registers meanwhile who can be asked.
                    if (error.name !== "Canceled" || !tries) throw error;
                    await new Promise((resolve) => setTimeout(resolve, 50));
                  }
                }
                """
            )
        )

    def close_all(self) -> None:
        """Notifications, and documents without a question; what the server says to that is seen."""
        self.probe.run(
            """
            const run = vscode.commands.executeCommand;
            await run("notifications.clearAll");
            // By the tabs: between two of them there is no active editor, and one that is left with changes asks a question.
            const open = () => vscode.window.tabGroups.all.some((group) => group.tabs.length);
            for (let tries = 100; open() && tries; tries--) await run("workbench.action.revertAndCloseActiveEditor");
            await run("workbench.action.closeAllEditors");
            """
        )

    def _in_editor(self, code: str, argument: Any = None) -> Any:
        """Run JavaScript with `shown`, which gives the active editor, or waits for that of a document that comes."""
        return self.probe.run(_SHOWN + code, argument)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@contextlib.contextmanager
def start(cache: Path, server: Server, folder: Path) -> Iterator[VSCode]:
    """VS Code with the extension in it, on an empty workspace; closed with all its processes."""
    own = {"palimpsest.server.path": str(server.command), "palimpsest.ui.preview": False}
    own |= {f"palimpsest.{key}": value for key, value in server.initialization.items()}
    with launched(cache, folder, own) as editor:
        editor.open("first.py", f"first = 1{CURSOR}\n")
        editor.wait_for_server()
        yield editor


@contextlib.contextmanager
def launched(
    cache: Path,
    folder: Path,
    own: Mapping[str, Any],
    variables: Mapping[str, str] | None = None,
    extension: Path | None = None,
) -> Iterator[VSCode]:
    """VS Code with the extension and those settings of the user's, before any document is open.

    variables: of its environment, in place of those of this process. extension: its package; None builds it.
    """
    program, browser = vscode.get(cache), chromium.get(cache)
    extension = extension or vscode.extension(program.node)
    project, profile = folder / "project", folder / "profile"
    project.mkdir(exist_ok=True)
    # The browser is far from the extension, so what has the scope of a machine counts in its settings, not in the user's.
    for place, settings in (("User", QUIET), ("Machine", own)):
        (profile / place).mkdir(parents=True)
        (profile / place / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    bound = [{"key": key, "command": command} for key, command in KEYS.items()]
    (profile / "User" / "keybindings.json").write_text(json.dumps(bound), encoding="utf-8")
    with contextlib.ExitStack() as stack:
        sockets = Path(tempfile.mkdtemp(prefix="palimpsest-"))  # paths of sockets have to be short
        stack.callback(shutil.rmtree, sockets, ignore_errors=True)
        common = ["--user-data-dir", str(profile), "--extensions-dir", str(folder / "extensions")]
        common += ["--config", str(folder / "config.yaml")]
        (folder / "config.yaml").write_text("{}\n", encoding="utf-8")
        code = [str(program.node.node), str(program.entry), *common]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("VSCODE_", "CODE_SERVER"))}
        environment |= {"PALIMPSEST_PROBE": str(sockets / "probe"), **(variables or {})}
        probe = packed(HERE / "probe", folder / "probe.vsix")
        install = [*code, "--install-extension", str(extension), "--install-extension", str(probe)]
        subprocess.run(install, env=environment, check=True, capture_output=True, timeout=120)
        url = stack.enter_context(serving(code, environment, folder / "code-server.log"))
        screen = Screen(f"{url}?folder={project}", browser.executable)
        stack.callback(screen.close)
        connected = Probe(sockets / "probe")
        stack.callback(connected.close)
        editor = VSCode(screen, connected, project)
        editor.command("workbench.action.closeSidebar")
        yield editor
