"""The template for LSP4IJ, and what is its client's own way. The client is an emulation (lsp4ij.py); the server is not."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sysconfig
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from editors import lsp4ij
from editors.editor import until
from editors.lsp4ij_installer import Installer
from editors.lsp4ij_template import TEMPLATE, Template, expanded, words
from palimpsest_server.settings import KEYS, Settings, parse, section_of

pytestmark = pytest.mark.editors
emulated = pytest.mark.parametrize("staged", ["lsp4ij"], indirect=True)

INLINE, RUN = "textDocument/inlineCompletion", "workspace/executeCommand"
DOCS = (Path(__file__).parents[2] / "docs" / "settings.md").read_text("utf-8")


def load(name: str) -> dict[str, Any]:
    return json.loads((TEMPLATE / name).read_text("utf-8"))


# The files


def test_the_folder_has_what_lsp4ij_reads_and_nothing_else():
    """Any other name would be left out without a word; these are the names that the loader knows."""
    known = {"template.json", "installer.json", "initializationOptions.json", "settings.json", "settings.schema.json"}
    known |= {"clientSettings.json", "README.md"}
    assert {path.name for path in TEMPLATE.iterdir()} == known


def test_the_template_names_a_command_for_every_system_and_files_of_python():
    template = Template.read()
    assert template.command("unix") == ["sh", "-c", "exec palimpsest serve"]
    assert template.command("windows") == ["palimpsest", "serve"]
    assert [template.language(name) for name in ("a.py", "a.pyi", "a.rs")] == ["python", "python", None]
    assert {"id", "name"} <= template.description.keys()


def test_the_settings_are_those_of_the_server():
    section, strange = section_of(load("initializationOptions.json"))
    assert strange == ()
    settings, problems = parse(section, load("settings.json")["palimpsest"])
    assert problems == ()
    assert settings == Settings(answer_within_ms=10_000)
    jsonschema.validate(load("settings.json"), load("settings.schema.json"))


SCHEMA = load("settings.schema.json")
SECTION = SCHEMA["properties"]["palimpsest"]
CONFIGURED = {name: key for name, key in KEYS.items() if not key.own}


def test_the_schema_has_all_settings_but_those_that_a_workspace_may_not_choose():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert SECTION["properties"].keys() == CONFIGURED.keys()
    assert SECTION["additionalProperties"] is False
    assert all(name in SCHEMA["description"] for name in KEYS.keys() - CONFIGURED.keys())


@pytest.mark.parametrize("name", CONFIGURED)
def test_defaults_and_descriptions_are_those_of_the_server(name):
    default = getattr(Settings(), CONFIGURED[name].field)
    here = SECTION["properties"][name]
    assert here["default"] == (list(default) if isinstance(default, tuple) else default)
    [described] = re.findall(rf"^\| `{name}` \|.*\| (.*?) \| [a-z, ]*\|$", DOCS, re.MULTILINE)
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", described).replace("`", "")
    assert plain.startswith(re.split(r"[.;]", here["description"])[0])


MARKS = [None, True, False, "", "auto", "on", "off", "debug", "info", "markdown", [], ["documents"], [""], [1], {}, 0.5]
NUMBERS = sorted({n + d for n in (0, 1, 8, 64, 1000, 2000, 60_000, 600_000, 2**32) for d in (-1, 0, 1)})


@pytest.mark.parametrize("name", CONFIGURED)
@given(
    value=st.sampled_from([*MARKS, *NUMBERS]) | st.integers() | st.text() | st.lists(st.text(max_size=3), max_size=3)
)
def test_the_schema_takes_what_the_server_takes(name, value):
    taken = not parse(None, {name: value})[1]
    assert jsonschema.Draft7Validator(SCHEMA).is_valid({"palimpsest": {name: value}}) is taken


def test_keys_with_dots_are_taken_apart():
    assert expanded({"palimpsest.maxLines": 6, "palimpsest": {"seed": 1}, "a.b": {"c": []}}) == {
        "palimpsest": {"maxLines": 6, "seed": 1},
        "a": {"b": {"c": []}},
    }
    assert expanded({"palimpsest": {"seed": 1}}) == {"palimpsest": {"seed": 1}}


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ('sh -c "exec palimpsest serve"', ["sh", "-c", "exec palimpsest serve"]),
        ("a  b ", ["a", "b"]),
        ('"a b"/c d', ["a b/c", "d"]),
    ],
)
def test_command_lines_are_parted_as_lsp4ij_does(line, parts):
    assert words(line) == parts


# The installer


def installer(home: Path, command: str, **environment: str) -> Installer:
    home.mkdir(exist_ok=True)
    return Installer(load("installer.json"), command, home, environment)


def test_a_command_that_starts_is_installed(installed, tmp_path):
    found = installer(
        tmp_path, Template.read().description["programArgs"]["default"], PATH=f"{installed.parent}:{os.defpath}"
    )
    assert found.start()
    assert found.steps == ["Start the command of the Server tab"]
    assert found.shown == []


@pytest.mark.parametrize("command", ['sh -c "exec palimpsest serve"', "/nowhere/palimpsest serve", "false"])
def test_without_a_wheel_it_says_what_to_do_and_installs_nothing_by_name(tmp_path, command):
    """The name is not registered on any index: whoever registers it would be run."""
    found = installer(tmp_path / "home", command, PATH=os.defpath)
    assert not found.start()
    [message] = found.shown
    assert "on no package index" in message
    assert "write its whole path in the Server tab" in message
    assert found.command == command
    assert [path.name for path in (tmp_path / "home").rglob("*")] == [".lsp4ij", "lsp", "palimpsest"]


def test_nothing_is_installed_but_by_the_path_of_a_file():
    text = (TEMPLATE / "installer.json").read_text("utf-8")
    installs = re.findall(r"pip install ([^\"]*)", text)
    assert len(installs) == 2
    for each in installs:
        assert each.startswith(("--disable-pip-version-check ./`", "--disable-pip-version-check .\\\\%f"))


def test_a_wheel_is_installed_and_started(installed, tmp_path):
    """All steps, really run, with the built wheel; what it needs is lent from the environment of the tests."""
    home = tmp_path / "a home"
    folder = home / ".lsp4ij" / "lsp" / "palimpsest"
    folder.mkdir(parents=True)
    [wheel] = installed.parents[2].glob("*.whl")
    shutil.copy(wheel, folder)
    python = str(Path(installed).resolve().parent)
    found = installer(
        home, "/nowhere/palimpsest serve", PATH=f"{python}:{os.defpath}", PIP_NO_DEPS="1", PIP_NO_INDEX="1"
    )
    assert found.start(), found.shown
    assert found.command == '"$USER_HOME$/.lsp4ij/lsp/palimpsest/venv/bin/palimpsest" serve'
    [site] = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    again = installer(home, found.command)
    assert again.start()
    assert again.steps == ["Start the command of the Server tab"]


def test_a_wheel_that_cannot_be_installed_is_told(installed, tmp_path):
    folder = tmp_path / ".lsp4ij" / "lsp" / "palimpsest"
    folder.mkdir(parents=True)
    (folder / "palimpsest_ls-0.0.0-py3-none-any.whl").write_bytes(b"no wheel")
    python = str(Path(installed).resolve().parent)
    found = installer(tmp_path, "false", PATH=f"{python}:{os.defpath}", PIP_NO_INDEX="1")
    assert not found.start()
    assert "pip could not install it" in found.shown[0]
    assert found.command == "false"


# The client's own way


@emulated
def test_the_client_waits_after_the_last_key_and_asks_once(editor, stage):
    stage.play({"total = ": "12"})
    editor.open("main.py", "‸\n")
    stage.mark()
    before = time.monotonic()
    editor.type("total = ")
    until(lambda: editor.ghost() == "12")
    [asked] = stage.tap.messages(INLINE, "client")
    assert asked.at - before >= lsp4ij.DEBOUNCE  # not from when the change went out: that may be late, too
    assert asked.params["context"] == {"triggerKind": 2}
    assert asked.params["position"] == {"line": 0, "character": 8}


@emulated
def test_the_first_answer_is_waited_for_because_nothing_is_asked_twice(editor, stage):
    """LSP4IJ keeps even an empty answer, and asks again by no key: so the template has a long `answerWithinMs`."""
    stage.play({"x = ": "slow()"}, steps=20, seconds=0.1)
    editor.open("main.py", "x =‸\n")
    stage.mark()
    editor.type(" ")
    until(lambda: editor.ghost() == "slow()")
    [asked] = stage.tap.messages(INLINE, "client")
    assert stage.tap.answer(asked).at - asked.at > 1
    editor.press("escape")
    editor.press("trigger")
    until(lambda: editor.ghost() == "slow()")
    assert len(stage.tap.messages(INLINE, "client")) == 1


@emulated
def test_asking_by_hand_is_told_apart_from_typing_by_nothing(editor, stage):
    """`triggerKind` is Automatic even then, so there is one suggestion, and none in a comment."""
    stage.play({"x = ": ["first()", "second()"], "# a note ": "WRONG"})
    editor.open("main.py", "x = ‸\n")
    stage.mark()
    editor.press("trigger")
    until(lambda: editor.ghost() == "first()")
    [asked] = stage.tap.messages(INLINE, "client")
    assert asked.params["context"]["triggerKind"] == 2
    assert len(stage.tap.answer(asked).body["result"]) == 1
    editor.open("main.py", "x = 1  # a note ‸\n")
    stage.mark()
    editor.press("trigger")
    [asked] = until(lambda: stage.tap.messages(INLINE, "client"))
    assert until(lambda: stage.tap.answer(asked)).body["result"] is None


@emulated
def test_an_item_has_only_the_fields_that_the_client_reads(editor, stage):
    """No `command`, no `filterText`, no snippets: the text alone, at the caret."""
    stage.play({"f(": "${1:a}, $0)"})
    editor.open("main.py", "f‸\n", pairs=True)
    stage.mark()
    editor.type("(")
    until(lambda: editor.ghost() == "${1:a}, $0")
    [item] = stage.tap.answer(stage.tap.messages(INLINE, "client")[0]).body["result"]
    assert item.keys() == {"insertText", "range"}
    assert item["range"]["start"] == item["range"]["end"]
    editor.press("accept")
    assert editor.text() == "f(${1:a}, $0)\n"


@emulated
def test_an_older_request_is_cancelled_late_and_its_fill_at_once(editor, stage, monkeypatch):
    """Not until the next request; the server ends the fill with the change that comes before."""
    stage.play({"x = ": "stale"}, steps=2000, seconds=0.05)
    editor.open("main.py", "x =‸\n")
    stage.mark()
    editor.type(" ")
    until(stage.jobs, "a fill begins")
    [older] = stage.tap.messages(INLINE, "client")
    stage.play({})
    monkeypatch.setattr(lsp4ij, "DEBOUNCE", 600)  # the next request is not made before all of this has been looked at
    editor.type("y")
    until(lambda: stage.jobs(event="end"), "it ends")
    assert older.body["id"] not in {each.params["id"] for each in stage.tap.messages("$/cancelRequest", "client")}
    editor.press("trigger")
    until(lambda: len(stage.tap.messages(INLINE, "client")) == 2)
    until(lambda: not stage.tap.unanswered(INLINE))
    assert editor.ghost() == ""


@emulated
def test_settings_reach_the_server_and_it_complains_about_none(editor, stage):
    editor.open("main.py", "‸\n")
    stage.mark()
    editor.restart()
    [sent] = stage.tap.messages("workspace/didChangeConfiguration", "client")
    assert sent.params == {"settings": {"palimpsest": {"answerWithinMs": 10_000}}}
    [initialize] = stage.tap.messages("initialize", "client")
    assert initialize.params["initializationOptions"] == {"palimpsest": {}, "client": {"onlyAutomatic": True}}
    answer = stage.tap.answer(initialize).body["result"]["capabilities"]
    assert answer["inlineCompletionProvider"] == {}
    assert "completionProvider" not in answer
    assert answer["textDocumentSync"]["change"] == 2
    assert answer["positionEncoding"] == "utf-16"
    assert not [each for each in editor.messages() if "palimpsest" in each]


@emulated
def test_actions_are_offered_as_intentions(editor, stage):
    """At a pause: no diagnostics, Automatic. All fit in the twenty places, and none is of the kind that is left out."""
    editor.open("main.py", "def f(a):\n    x = 1\n    ...\n‸")
    stage.mark()
    editor.select(14, 19)
    [asked] = until(lambda: stage.tap.messages("textDocument/codeAction", "client"))
    assert asked.params["context"] == {"diagnostics": [], "triggerKind": 2}
    titles = [each["title"] for each in until(lambda: stage.tap.answer(asked)).body["result"]]
    for title in ("fill the selection", "complete this function or class", "touch up", "rework", "rewrite"):
        assert any(each.startswith(f"Palimpsest: {title} (") for each in titles)


READY_MADE = ["add a docstring", "add types", "simplify", "handle errors", "translate the comments"]


@emulated
def test_instructions_are_among_the_intentions_for_a_selection(editor, stage):
    """The client asks automatically alone, and says so; there is no place to type an instruction in."""
    stage.play({"def f(a):\n": "    # <instruction>\n    return a\n"}, instructs=True)
    editor.open("main.py", "def f(a):\n    return a\n‸")
    stage.mark()
    editor.select(10, 22)
    [asked] = until(lambda: stage.tap.messages("textDocument/codeAction", "client"))
    offered = until(lambda: stage.tap.answer(asked)).body["result"]
    assert len(offered) <= 20
    kind = "refactor.rewrite.palimpsest.instruct"
    titles = [each["title"].removeprefix("Palimpsest: ") for each in offered if each["kind"] == kind]
    assert titles == [*READY_MADE, "write a test", "explain"]
    editor.run("simplify")
    until(lambda: "    # Simplify this code without changing what it does.\n" in editor.text())
    editor.press("undo")
    until(lambda: editor.text() == "def f(a):\n    return a\n")


@emulated
def test_an_explanation_is_a_notification_and_a_test_a_file(editor, stage):
    stage.play({"def f(a):\n": "It returns a.", "": "def test_f():\n    assert f(1) == 1\n"}, instructs=True)
    editor.open("main.py", "def f(a):\n    return a\n‸")
    editor.select(10, 22)
    editor.run("explain")
    until(lambda: "It returns a." in editor.messages())
    editor.select(10, 22)
    stage.mark()
    editor.run("write a test")
    [asked] = until(lambda: [each for each in stage.tap.messages(RUN, "client") if stage.tap.answer(each)])
    result = stage.tap.answer(asked).body["result"]
    assert result["applied"]
    written = Path(result["uri"].removeprefix("file://"))
    assert written.name == "test_main.py"
    assert written.read_text() == "def test_f():\n    assert f(1) == 1\n"
    assert editor.text() == "def f(a):\n    return a\n"


@emulated
def test_an_edit_in_the_wire_when_one_types_is_the_clients_to_refuse_but_it_does_not(editor, stage):
    """LSP4IJ looks at no version. What the server can do, it does: it sends no edit once it knows of a change."""
    stage.play({"t = ": "new"}, steps=2000, seconds=0.05)  # it ends because of the change alone
    editor.open("main.py", "t = old\n‸")
    editor.select(4, 7)
    stage.mark()
    editor.run("rewrite")
    until(stage.jobs, "a fill begins")
    editor.edit("u = 1\n")
    done = until(lambda: [each for each in stage.tap.messages(RUN, "client") if stage.tap.answer(each)])
    assert stage.tap.answer(done[0]).body["result"]["applied"] is False
    assert stage.tap.messages("workspace/applyEdit") == []
    assert editor.text() == "u = 1\nt = old\n"


@emulated
def test_the_reason_for_a_failure_is_popped_up_once(editor, stage):
    before = len(editor.messages())
    stage.play({})
    editor.open("main.py", "t = old\n‸")
    editor.select(4, 7)
    editor.run("rewrite")
    [told] = until(lambda: editor.messages()[before:], "a reason")
    assert "the script has nothing here" in told


@emulated
def test_a_server_that_ends_is_announced_and_started_again(editor, stage):
    editor.open("main.py", "x =‸\n")
    stage.mark()
    before = len(editor.messages())
    os.kill(until(stage.tap.pid), signal.SIGKILL)
    until(lambda: "The server was stopped unexpectedly." in editor.messages()[before:])
    stage.play({"x = ": "42"})
    editor.type(" ")
    until(lambda: editor.ghost() == "42")
    assert stage.tap.starts() == 1


def loaded(stage):
    told = stage.tap.messages("palimpsest/status", "server")
    return told and told[-1].params["model"] not in ("", "scripted") and told[-1].params["state"] == "ready"


@emulated
def test_the_model_itself(editor, stage, screenshots):
    """The installed server with the checkpoint that comes with it."""
    stage.play({}, real=True)
    editor.open("area.py", "import math\n\n\ndef area(radius):\n    return math‸\n\n\nprint(area(2))\n")
    editor.restart()
    try:
        editor.type(" ")
        until(lambda: loaded(stage), "the checkpoint", seconds=120)
        editor.press("undo")
        editor.type(".")
        suggested = until(editor.ghost, "a suggestion of the model", seconds=60)
        editor.screenshot(screenshots / "lsp4ij")
        editor.press("accept")
        assert editor.text() == f"import math\n\n\ndef area(radius):\n    return math.{suggested}\n\n\nprint(area(2))\n"
        compile(editor.text(), "area.py", "exec")
    finally:
        stage.play({})
        editor.restart()
