"""Emacs: rewriting as a user says, following up, back and forward, explanations. The real Emacs, with its keys."""

from __future__ import annotations

import httpx
import pytest

from editors.editor import until

pytestmark = [pytest.mark.editors, pytest.mark.parametrize("staged", ["emacs"], indirect=True)]

RUN = "workspace/executeCommand"
TEXT = "def f(a):\n    return a\n"
SHOWN = """
(let ((buffer (get-buffer "*Palimpsest explanation*")))
  (and buffer (get-buffer-window buffer) (with-current-buffer buffer (buffer-string))))
"""


def command(editor, name, *said):
    editor.keys(f"\x1bxpalimpsest-{name}\r" + "".join(f"{each}\r" for each in said))


def test_a_conversation_is_held_by_commands(editor, stage):
    stage.play({"def f(a):\n": "    # <instruction>\n    return a\n"}, instructs=True)
    editor.open("main.py", f"{TEXT}‸")
    editor.select(10, 22)
    command(editor, "rewrite", "say it")
    one, two = (f"def f(a):\n    # {said}\n    return a\n" for said in ("say it", "shorter"))
    until(lambda: editor.text() == one)
    until(lambda: editor.said("version 1 of 1"))
    command(editor, "follow-up", "shorter")
    until(lambda: editor.text() == two)
    command(editor, "earlier")
    until(lambda: editor.text() == one)
    command(editor, "earlier")
    until(lambda: editor.text() == TEXT)
    until(lambda: editor.said("version 0 of 2"))
    for expected in (one, two):
        command(editor, "later")
        until(lambda expected=expected: editor.text() == expected)
    editor.press("undo")
    until(lambda: editor.text() == one)
    editor.keys("\x1bxpalimpsest-follow-up\r\x1bp\x1bp\r")  # from the history: the first one
    until(lambda: editor.said("nothing was changed: the fill is what is there already"))


def test_an_explanation_has_a_window_of_its_own(editor, stage, screenshots):
    stage.play({"def f(a):\n": "It returns **a**, and nothing else."}, instructs=True)
    editor.open("main.py", f"{TEXT}‸")
    editor.select(10, 22)
    command(editor, "explain")
    until(lambda: "It returns" in (editor.ask(SHOWN) or ""), "the explanation")
    editor.screenshot(screenshots / "emacs-explanation")
    assert editor.text() == TEXT


def test_ready_made_instructions_are_code_actions(editor, stage):
    stage.play({"def f(a):\n": "    # <instruction>\n    return a\n"}, instructs=True)
    editor.open("main.py", f"{TEXT}‸")
    editor.select(10, 22)
    editor.run("simplify")
    until(lambda: "# Simplify this code" in editor.text())
    command(editor, "earlier")
    until(lambda: editor.text() == TEXT)


def test_the_canvas_opens_in_a_browser(editor, stage):
    editor.open("main.py", f"{TEXT}‸")
    editor.ask("(setq browse-url-browser-function (lambda (url &rest _) (setq opened url)) opened nil)")
    command(editor, "canvas")
    address = until(lambda: editor.ask("opened"), "the page")
    assert "Palimpsest canvas" in httpx.get(address, follow_redirects=True, trust_env=False, timeout=60).text
    [asked] = stage.tap.messages(RUN, "client")
    assert asked.params["command"] == "palimpsest.canvas"
    assert asked.params["arguments"][0]["range"]["start"]["line"] == 2


def test_a_canvas_that_the_server_has_shown_is_not_opened_again(editor, stage):
    editor.open("main.py", f"{TEXT}‸")
    form = """
    (let (opened)
      (cl-letf (((symbol-function 'palimpsest--execute) (lambda (_ command arguments done)
                   (funcall done '(:url "http://127.0.0.1:1/a" :shown :json-false))
                   (funcall done '(:url "http://127.0.0.1:1/b" :shown t))))
                ((symbol-function 'browse-url) (lambda (url &rest _) (push url opened))))
        (palimpsest-canvas))
      (vconcat opened))
    """
    assert editor.ask(form.replace("\n", " ")) == ["http://127.0.0.1:1/a"]
