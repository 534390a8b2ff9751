"""Drives a real Emacs with Eglot in a terminal: keys go in by the terminal, and its own server tells how things are.

What it loads is editors/emacs/palimpsest.el; the rest of its set-up is in `INIT`. A suggestion is shown by Emacs' own
`completion-preview-mode`, and TAB takes it; in the completion list (`M-x completion-help-at-point`) it is an entry.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from editors.editor import CURSOR, Ability, Key, Server, until
from editors.programs import emacs
from editors.terminal import Terminal

PACKAGE = Path(__file__).parents[2] / "editors" / "emacs" / "palimpsest.el"

INIT = """\
(setq native-comp-jit-compilation nil native-comp-enable-subr-trampolines nil inhibit-startup-screen t
      make-backup-files nil auto-save-default nil create-lockfiles nil ring-bell-function #'ignore
      project-vc-extra-root-markers '(".root")
      server-socket-dir {folder} server-name "socket" use-short-answers t python-indent-guess-indent-offset nil)
(set-language-environment "UTF-8")
(menu-bar-mode -1)
(setq frame-background-mode 'dark)
(mapc #'frame-set-background-mode (frame-list))
(server-start)
"""
OURS = """\
(setq palimpsest-command '({command} "serve") palimpsest-modes '(python-mode c-mode)
      palimpsest-options '{options})
(load {package} nil t)
(add-hook 'python-mode-hook #'eglot-ensure)
(add-hook 'c-mode-hook #'eglot-ensure)
(add-hook 'eglot-managed-mode-hook #'palimpsest-preview-mode)
"""
KEYS: dict[Key, str] = {
    "accept": "\t",
    "trigger": "\x1bxcompletion-help-at-point\r",
    "escape": "\x07",
    "undo": "\x1f",
    "left": "\x02",
    "right": "\x06",
    "up": "\x10",
    "down": "\x0e",
    "enter": "\r",
    "toggle": "\x1bxpalimpsest-pause\r",
}
TITLES = {
    "fill": "Palimpsest: fill the selection",
    "complete": "Palimpsest: complete this function or class",
    "fillHoles": r"Palimpsest: fill \d+ holes?",
}


class Emacs:
    """The editor."""

    name = "emacs"
    encoding: Literal["utf-8", "utf-16", "utf-32"] = "utf-32"
    abilities: frozenset[Ability] = frozenset(
        {"ghost", "list", "indents", "pairs", "actions", "undo", "toggle", "status"}
    )

    def __init__(self, program: emacs.Emacs, folder: Path, init: str) -> None:
        self._folder, self._files = folder, 0
        self._project = folder / "project"
        self._project.mkdir()
        (self._project / ".root").touch()
        (folder / "init.el").write_text(init, "utf-8")
        environment = {**program.environment, "HOME": str(folder)}
        command = [*program.command, "-nw", "-Q", "-l", str(folder / "init.el")]
        self._socket = folder / "own" / "socket"
        self._socket.parent.mkdir(mode=0o700)  # Emacs wants it to be nobody else's
        self.terminal = Terminal(command, environment, folder)
        try:
            until(self._listens, "Emacs starts", seconds=30)
        except AssertionError:
            shown = self.terminal.text()
            self.terminal.close()
            raise AssertionError(f"Emacs does not start:\n{shown}") from None

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self._socket))
            return True
        return False

    def open(self, name: str, text: str, *, tabs: bool = False, pairs: bool = False) -> None:
        """By C-x C-f; the older file is closed before that."""
        self._files += 1
        path = self._project / str(self._files) / name
        path.parent.mkdir()
        path.write_text(text.replace(CURSOR, ""), "utf-8")
        if self.ask("(> (minibuffer-depth) 0)"):
            self.keys("\x07")  # throws away what was typed ahead, so nothing may follow before it is done
            until(lambda: self.ask("(= (minibuffer-depth) 0)"), "the minibuffer is left")
        self.ask("(progn (delete-other-windows) (set-buffer-modified-p nil) (kill-buffer) t)")
        self.keys(f"\x18\x06{path}\r")
        until(lambda: self.ask("(buffer-file-name (window-buffer))") == str(path), f"{name} is opened")
        self.ask(f"(progn (setq-local indent-tabs-mode {lisp(tabs)} tab-width 4) t)")
        self.ask(f"(progn (electric-pair-local-mode {1 if pairs else -1}) t)")
        self.ask("(progn (goto-char %s) t)", text.index(CURSOR) + 1)
        if self.ask("(and (apply #'derived-mode-p palimpsest-modes) t)"):
            self.connected()

    def connected(self) -> None:
        """Wait until the server knows the document."""
        until(lambda: self.ask("(and (eglot-current-server) (eglot-managed-p) t)"), "Eglot connects", seconds=30)

    def text(self) -> str:
        """The buffer."""
        return str(self.ask("(buffer-substring-no-properties (point-min) (point-max))"))

    def cursor(self) -> int:
        """Point."""
        return int(self.ask("(1- (point))"))

    def type(self, text: str) -> None:
        """Through the terminal."""
        for c in text:
            self.keys("\r" if c == "\n" else c)

    def press(self, key: Key) -> None:
        """A key, or a command by its name."""
        if key == "escape":
            time.sleep(0.2)  # C-g would end our last question instead, if Emacs is not done with it
        self.keys(KEYS[key])

    def select(self, start: int, end: int) -> None:
        """Go there, set the mark, go there."""
        self.keys(f"\x1bgc{start + 1}\r\x00\x1bgc{end + 1}\r")
        where = "(and (region-active-p) (list (1- (region-beginning)) (1- (region-end))))"
        until(lambda: self.ask(f"(vconcat {where})") == [start, end], "the selection")

    def ghost(self) -> str:
        """The entry of the list, without the word that is there already; or the preview, if that mode is on."""
        return str(self.ask(GHOST))

    def edit(self, text: str) -> None:
        """M-<, and type."""
        self.keys("\x1b<")
        self.type(text)

    def run(self, action: str) -> None:
        """M-x eglot-code-actions, and the title."""
        title = re.compile(TITLES.get(action) or "Palimpsest: " + re.sub("[A-Z]", lambda m: f" {m[0].lower()}", action))
        self.keys("\x1bxeglot-code-actions\r")
        offered = until(lambda: self.ask(OFFERED), "actions are offered")
        [chosen] = [each for each in offered if title.fullmatch(each.partition(" (")[0])]
        self.keys(chosen.replace(" ", "\x11 ") + "\r")

    def cancel(self) -> None:
        """By its command."""
        self.keys("\x1bxpalimpsest-cancel\r")

    def reason(self) -> str:
        """Return the answer of `palimpsest-why`, or what was said meanwhile; nobody asks again before that is there."""
        before = self.said("[palimpsest]")
        self.keys("\x1bxpalimpsest-why\r")
        until(lambda: self.said("[palimpsest]") != before, "a reason")  # the same one twice is a line with a number
        return self.said("[palimpsest]")[-1]

    def messages(self) -> list[str]:
        """Return Eglot's reports of the server's messages."""
        return self.said("[eglot] Server reports")

    def said(self, about: str) -> list[str]:
        """Lines of the echo area with that."""
        every = str(self.ask("(with-current-buffer (messages-buffer) (buffer-string))")).splitlines()
        return [line for line in every if about in line]

    def restart(self) -> None:
        """M-x eglot-reconnect."""
        older = self.ask("(process-id (jsonrpc--process (eglot-current-server)))")
        self.keys("\x1bxeglot-reconnect\r")
        now = "(and (eglot-current-server) (process-id (jsonrpc--process (eglot-current-server))))"
        until(lambda: self.ask(now) not in (None, older), "another server")
        self.connected()

    def screenshot(self, path: Path) -> None:
        """The terminal, as a picture and as text."""
        path.with_suffix(".svg").write_text(self.terminal.svg(), "utf-8")
        path.with_suffix(".txt").write_text(self.terminal.text(), "utf-8")

    def keys(self, keys: str) -> None:
        """Type that, in the codes of a terminal."""
        self.terminal.send(keys)

    def ask(self, form: str, *values: str | int) -> Any:
        """Return the value of a Lisp form in the buffer on the screen; it must be one that JSON has."""
        form = form % tuple(map(lisp, values)) if values else form
        inner = f"(with-current-buffer (window-buffer (or (minibuffer-selected-window) (selected-window))) {form})"
        encoded = f"(base64-encode-string (json-serialize (vector {inner}) :null-object nil :false-object :no) t)"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(self._socket))
            client.sendall(b"-eval " + quoted(encoded).encode() + b" \n")
            answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        if error := re.search(r"^-error (.*)$", answer, re.MULTILINE):
            raise AssertionError(f"Emacs: {error[1].replace('&_', ' ')}: {form}")
        printed = "".join(re.findall(r"^-print(?:-nonl)? (.*)$", answer, re.MULTILINE))
        try:
            return json.loads(base64.b64decode(printed.split('"')[1]))[0]
        except (ValueError, IndexError):
            raise AssertionError(f"Emacs answers {answer!r} to {form}") from None

    def close(self) -> None:
        """As a user would, but for the questions."""
        with contextlib.suppress(OSError, AssertionError, ValueError):
            end = "(when (featurep 'eglot) (eglot-shutdown-all)) (kill-emacs)"
            self.ask(f"(progn (run-with-timer 0 nil (lambda () {end})) t)")
            self.terminal.process.wait(10)
        self.terminal.close()


GHOST = """
(cond
 ((and (bound-and-true-p completion-preview-active-mode) (overlayp completion-preview--overlay))
  (substring-no-properties (or (overlay-get completion-preview--overlay 'after-string) "")))
 ((get-buffer-window "*Completions*")
  (let ((word (or (thing-at-point 'symbol t) "")))
    (with-current-buffer "*Completions*"
      (goto-char (point-min))
      (let ((found (text-property-search-forward 'completion--string)))
        (if found (string-remove-prefix word (substring-no-properties (prop-match-value found))) "")))))
 (t ""))
"""
OFFERED = """
(let ((window (active-minibuffer-window)))
  (and window
       (with-current-buffer (window-buffer window)
         (and minibuffer-completion-table
              (string-search "Pick an action" (or (minibuffer-prompt) ""))
              (vconcat (all-completions "" minibuffer-completion-table))))))
"""


def lisp(value: Any) -> str:
    """A value as a form."""
    if isinstance(value, bool) or value is None:
        return "t" if value else "nil"
    if isinstance(value, dict):
        return "(" + " ".join(f":{key} {lisp(each)}" for key, each in value.items()) + ")"
    return str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)


def quoted(text: str) -> str:
    """An argument in the protocol of emacsclient."""
    text = text.replace("&", "&&").replace(" ", "&_").replace("\n", "&n")
    return "&" + text if text.startswith("-") else text


@contextlib.contextmanager
def start(cache: Path, server: Server, folder: Path, ours: str = OURS) -> Iterator[Emacs]:
    """Emacs with our package. ours: what of the set-up is about it, with places for command, options and package."""
    program = emacs.get(cache)
    options = lisp({"answerWithinMs": 9000, **server.initialization})
    init = INIT.format(folder=lisp(str(folder / "own")))
    init += ours.format(command=lisp(str(server.command)), options=options, package=lisp(str(PACKAGE)))
    editor = Emacs(program, folder, init)
    try:
        yield editor
    finally:
        editor.close()
