"""Test the most frequent complaints about tools of this kind, one test each, against the real server process.

Run as a program, this file is that process, with an engine that tells all it has seen: `WITNESS`.
"""

import asyncio
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic

import psutil
import pytest
from lsprotocol import types

from palimpsest_engine import EngineSettings, EngineStatus, FillRequest, Job
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server import settings
from palimpsest_server.app import create_server, serve

WITNESS = [sys.executable, __file__]
NEVER = {"steps": 1000, "step_seconds": 60.0}
BARE = types.ClientCapabilities()
AT_ONCE = {"debounceMs": 0, "answerWithinMs": 60_000}
PATIENCE = 60  # seconds; the engine that never finishes takes hours
DOCS = Path(__file__).parents[2] / "docs"
OWN = {"palimpsest/status", "palimpsest/draft"}
NEXT_EDIT = {  # has no standard method: these are the names that clients know
    "textDocument/copilotInlineEdit",
    "textDocument/didShowInlineEdit",
    "textDocument/didShowCompletion",
    "textDocument/didPartiallyAcceptCompletion",
    "textDocument/didFocus",
    "palimpsest/didCloseInlineEdit",
}


class Witness(ScriptedEngine):
    """Tells, as the reason in its status: its counts, the titles of the latest context, and all that the process has opened
    (Python files below the folder `watched`, and connections).
    """

    def __init__(self, watched: str = "", **script) -> None:
        super().__init__(**script)
        self.titles, self.opened, self.sockets = [], [], []
        sys.addaudithook(lambda event, args: self.note(watched, event, args))

    def note(self, watched: str, event: str, args) -> None:
        if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            self.sockets.append(event)
        elif event == "open" and watched and str(args[0]).startswith(watched) and str(args[0]).endswith(".py"):
            self.opened.append(os.path.basename(args[0]))

    def submit(self, request: FillRequest, on_draft=None) -> Job:
        self.titles = [excerpt.title for excerpt in request.context]
        job = super().submit(request, on_draft)
        job.future.add_done_callback(lambda _: self.forget(job))  # the engine of tests remembers for good
        return job

    def forget(self, job: Job) -> None:
        if self._latest.get(job.request.document) is job:
            del self._latest[job.request.document]

    def status(self) -> EngineStatus:
        seen = ("started", "running", "most_running", "cancelled", "titles", "opened", "sockets")
        return replace(super().status(), reason=json.dumps({name: getattr(self, name) for name in seen}))


def witness(**engine):
    return [*WITNESS, json.dumps(engine)]


async def seen(editor):
    """Return the present reason of the witness."""
    return json.loads((await editor.status()).reason)


async def wait_for(read, condition):
    """Read until a condition holds, and return what was read last."""
    end = monotonic() + PATIENCE
    while not condition(value := await read()):
        assert monotonic() < end, value
        await asyncio.sleep(0.01)
    return value


async def soon(answer):
    """Return an answer that must not wait for the engine."""
    return await asyncio.wait_for(answer, PATIENCE)


def pending(answer):
    return asyncio.ensure_future(answer)


async def settled(editor):
    """Wait until the server has the configuration that it asked for; another one would end the running job."""
    for _ in range(2):
        await editor.status()
    return editor


async def running(editor):
    """Wait until the engine is at work."""
    await wait_for(editor.status, lambda status: status.state == "busy" and status.counters.model)


def place(before):
    """Return the position of a cursor that has this text before it."""
    return before.count("\n"), len(before.rpartition("\n")[2])


def accept(editor, line, character, text):
    editor.type(line, character, text)
    return character + len(text)


async def completed(editor, line, character):
    """Return the texts that the completion list offers."""
    params = types.CompletionParams(types.TextDocumentIdentifier(editor.uri), types.Position(line, character))
    return (await editor.client.text_document_completion_async(params)).items


async def actions_at_once(editor):
    """Return the arguments of the code actions for the first line, from a server that has other things to do."""
    where = types.Range(types.Position(0, 0), types.Position(0, 1))
    params = types.CodeActionParams(
        types.TextDocumentIdentifier(editor.uri), where, types.CodeActionContext(diagnostics=[])
    )
    protocol = editor.client.protocol
    asked = protocol.send_request(types.TEXT_DOCUMENT_CODE_ACTION, params, msg_id="actions")
    del protocol._result_types["actions"]  # the client library takes every action for a bare command
    return [each["command"]["arguments"][0] for each in await soon(asyncio.wrap_future(asked))]


def close(editor):
    document = types.TextDocumentIdentifier(editor.uri)
    editor.client.text_document_did_close(types.DidCloseTextDocumentParams(document))


@pytest.mark.parametrize("engine", [NEVER, {"kind": "faulty"}], ids=["never done", "hangs"])
async def test_01_ghost_text_delays_the_normal_completion(connect, capabilities, engine):
    """The list of completions comes late because the editor waits for the ghost text."""
    editor = await connect(engine)
    assert editor.initialized.capabilities.completion_provider is None, "where there is ghost text there is no entry"
    editor.open("x = ", uri="file:///project/hangs.py")
    for _ in range(3):
        assert await soon(editor.ask(0, 4, automatic=True)) is None
        assert await editor.reason() == "still denoising"
    listing = await connect(engine, able=BARE)
    listing.open("x = ", uri="file:///project/hangs.py")
    assert len(await soon(completed(listing, 0, 4))) == 0


@pytest.mark.parametrize("engine", [NEVER, {"kind": "faulty"}], ids=["never done", "hangs"])
async def test_02_typing_lags_and_the_editor_freezes(connect, engine):
    """While a suggestion is made nothing else gets through."""
    editor = await connect(engine)
    editor.open("x = 1\n", uri="file:///project/hangs.py")
    for key in range(5):
        asked = pending(editor.ask(1, key))
        await running(editor)
        assert {each["version"] for each in await actions_at_once(editor)} == {editor.version}
        assert not asked.done()
        editor.type(1, key, "y")
        assert {each["version"] for each in await actions_at_once(editor)} == {editor.version}
        assert await soon(asked) is None
        assert await editor.reason() == "the document changed"


async def typed(editor, keys):
    """Type so many characters, quicker than anybody can, ask after each, and return the answers.

    The pace leaves time for an answer in between, if the server does not wait for a pause.
    """
    asked = []
    for key in range(keys):
        editor.type(0, key, "x")
        asked.append(pending(editor.ask(0, key + 1, automatic=True)))
        await asyncio.sleep(0.01)
    return await asyncio.gather(*asked)


async def test_03_a_request_for_every_keystroke(connect):
    """Every key asks the model, and how long it waits cannot be set."""
    editor = await connect({"script": [" = 1"]}, {"speculate": False, "drafts": True})
    editor.open("")
    await typed(editor, 40)
    assert (await editor.status()).counters.model <= 10
    patient = await connect({"script": [" = 1"]}, {"debounceMs": 1000, "answerWithinMs": 60_000, "speculate": False})
    patient.open("")
    *older, last = await typed(patient, 40)
    assert (set(older), last) == ({None}, " = 1")
    assert (await patient.status()).counters.model == 1
    eager = await connect({"script": [" = 1"]}, AT_ONCE | {"speculate": False})
    eager.open("")
    for key in range(5):
        eager.type(0, key, "x")
        assert await eager.ask(0, key + 1, automatic=True) == " = 1"
    assert (await eager.status()).counters.model == 5


async def test_04_old_requests_keep_the_machine_busy(connect):
    """Requests that nobody waits for any more are computed to their end."""
    editor = await connect(command=witness(**NEVER))
    editor.open("\n" * 10)
    asked = []
    for turn in range(1, 11):
        asked.append(pending(editor.ask(turn - 1, 0)))
        now = await wait_for(lambda: seen(editor), lambda now, turn=turn: now["started"] == turn)
        now = await wait_for(lambda: seen(editor), lambda now: now["running"] == 1)
        assert now["cancelled"] == turn - 1
        if turn % 2:  # every other one is superseded by the next
            editor.type(turn, 0, "x")
            await wait_for(lambda: seen(editor), lambda now: now["running"] == 0)
    close(editor)
    assert await soon(asyncio.gather(*asked)) == [None] * 10
    now = await wait_for(lambda: seen(editor), lambda now: now["running"] == 0)
    assert (now["started"], now["cancelled"]) == (10, 10)
    assert (await editor.status()).counters.superseded == 9


async def test_05_a_stale_suggestion_repeats_what_was_just_typed(connect):
    """`return` is typed, `return value` shows behind it."""
    suggestion = "return value"
    editor = await connect({"script": [suggestion, "other"]}, AT_ONCE | {"speculate": False})
    editor.open("def f(value):\n    ")
    assert await editor.ask(1, 4) == suggestion
    for at, key in enumerate(suggestion[:-1]):
        editor.type(1, 4 + at, key)
        assert await editor.ask(1, 5 + at, automatic=True) == suggestion[at + 1 :]
    assert (await editor.status()).counters.model == 1
    editor.type(1, 15, "x")
    assert await editor.ask(1, 16, automatic=True) == "other"
    late = await connect({"script": [suggestion], **NEVER})
    late.open("def f(value):\n    ")
    asked = pending(late.ask(1, 4))
    await running(late)
    late.type(1, 4, "return ")
    assert await soon(asked) is None
    again = await connect({"script": ["x = 1"]})
    again.open("x = 1\n")
    assert await again.ask(1, 0) is None
    assert await again.reason() == "what the model wrote is there already, or has no place here"


BRACKETS = [
    ("print(|)", "value)", "print(value)", "python"),
    ("print(|)", "max(a, b)", "print(max(a, b))", "python"),
    ("print(max(|))", "a, b))", "print(max(a, b))", "python"),
    ("foo([|])", "1, 2])", "foo([1, 2])", "python"),
    ("d = {|}", '"a": 1}', 'd = {"a": 1}', "python"),
    ('s = "|"', 'text"', 's = "text"', "python"),
    ("f(|);", "a);", "f(a);", "javascript"),
    ("print(|", "value)", "print(value)", "python"),
]
INDENTATION = [
    ("def f(x):\n\t|\n", "if x:\n    return 1", "def f(x):\n\tif x:\n\t\treturn 1\n", "python"),
    ("def f(x):\n    |\n", "if x:\n\t\treturn 1", "def f(x):\n    if x:\n        return 1\n", "python"),
    ("def f(x):\n    |\n", "    return 1", "def f(x):\n    return 1\n", "python"),
    (
        "class A:\n    def f(self):\n        for x in y:\n            |\n",
        "if x:\n    return x",
        "class A:\n    def f(self):\n        for x in y:\n            if x:\n                return x\n",
        "python",
    ),
    (
        "function f(a) {\n  if (a) {\n    |\n  }\n}\n",
        "for (;;) {\n\t\t\tg();\n\t\t}",
        "function f(a) {\n  if (a) {\n    for (;;) {\n      g();\n    }\n  }\n}\n",
        "javascript",
    ),
    (
        "def f():\n    |\n\n\nz = 1\n",
        "x = 1\n    return x\n\n\ndef g():\n    pass",
        "def f():\n    x = 1\n    return x\n\n\nz = 1\n",
        "python",
    ),
]


async def all_written(connect, cases):
    """Accept the suggestion of each case; return the documents' texts then, and the expected ones."""
    editor = await connect({"script": [model for _, model, _, _ in cases]}, {"speculate": False})
    found = []
    for at, (document, _, _, language) in enumerate(cases):
        before, after = document.split("|")
        editor.open(before + after, language, f"file:///project/{at}")
        offered = await editor.ask(*place(before))
        found.append(before + (offered or "") + after)
    return found, [expected for _, _, expected, _ in cases]


async def test_06_closing_brackets_are_doubled(connect):
    """The editor has closed the bracket, and so does the suggestion."""
    found, expected = await all_written(connect, BRACKETS)
    assert found == expected


async def test_07_the_indentation_is_wrong(connect):
    """Spaces among tabs, blocks at the margin."""
    found, expected = await all_written(connect, INDENTATION)
    assert found == expected


async def test_08_methods_of_its_own_where_there_is_a_standard_one(connect):
    """It works only with the maker's own extension."""
    plain = await connect({"script": ["1"]}, AT_ONCE, able=BARE)
    plain.open("x = ")
    assert [item.text_edit.new_text for item in await completed(plain, 0, 4)] == ["1"]
    features = create_server(lambda _: ScriptedEngine()).protocol.fm.features
    assert set(features) - set(types.METHOD_TO_TYPES) == {"palimpsest/status", *NEXT_EDIT}
    heard = set()
    editor = await connect({"script": ["2"], "steps": 3, "step_seconds": 0.15}, {"drafts": True})
    handle = editor.client.protocol.handle_message

    def listen(message):
        heard.add(getattr(message, "method", None))
        return handle(message)

    editor.client.protocol.handle_message = listen
    editor.open("1\n")
    assert await editor.ask(1, 0) == "2"
    where = {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}
    assert (await editor.command("palimpsest.fillSelection", {"uri": editor.uri, "range": where}))["applied"]
    assert types.WORKSPACE_APPLY_EDIT in heard
    assert heard - set(types.METHOD_TO_TYPES) - {None} == OWN


@pytest.mark.parametrize("ghost", [True, False], ids=["ghost text", "completion list"])
async def test_09_the_next_edit_is_for_one_editor_only(connect, capabilities, ghost):
    """Only one editor knows the edit that follows an accepted suggestion."""
    editor = await connect({"script": ["total", " = compute()"]}, AT_ONCE, able=capabilities() if ghost else BARE)

    async def asked(character):
        if ghost:
            return await editor.ask(0, character, automatic=True)
        (item,) = await completed(editor, 0, character)
        return item.text_edit.new_text.removeprefix("total" if character else "")

    editor.open("")
    assert await asked(0) == "total"
    before = await wait_for(editor.status, lambda now: now.state == "ready" and now.counters.speculative == 1)
    assert await asked(accept(editor, 0, 0, "total")) == " = compute()"
    after = (await editor.status()).counters
    assert (after.cache, after.model) == (before.counters.cache + 1, before.counters.model)


async def test_10_it_does_not_work_offline_and_code_leaves_the_machine(connect):
    """Every keystroke goes to somebody's server."""
    editor = await connect(command=witness(**NEVER))
    process = psutil.Process(editor.client._server.pid)
    editor.open("1\n")
    asked = pending(editor.ask(1, 0))
    await running(editor)
    assert process.net_connections("inet") == []
    assert process.children(recursive=True) == []
    editor.type(1, 0, "x")
    await soon(asked)
    assert (await editor.command("palimpsest.pause", {"scope": "all"}))["paused"]
    assert process.net_connections("inet") == []
    await editor.command("palimpsest.pause", {"scope": "all"})
    assert (await seen(editor))["sockets"] == []


RULED_OUT = {"ignore": ["vendor/"], "disabledLanguages": ["ruby"], "disabledFolders": ["off"]}
CAUSES = [
    (
        {},
        RULED_OUT,
        [
            ("# a |\n", "a.py", "python", "the cursor is in a comment (palimpsest.inComments is false)"),
            ("x = 'a |'\n", "b.py", "python", "the cursor is in a string (palimpsest.inComments is false)"),
            ("val|ue\n", "c.py", "python", "the cursor is in the middle of a word"),
            ("x = 1;|", "d.py", "python", "the statement before the cursor is complete"),
            ("x = [" + "1, " * 2000 + "|]", "e.py", "python", "the file looks minified"),
            ("# @generated\n|", "f.py", "python", "the file says that it is generated"),
            ("|", "a_pb2.py", "python", "the file's name says that it is generated"),
            ("|", ".env", "shellscript", "secret"),
            ("|", "vendor/a.py", "python", "vendor/"),
            ("|", "a.rb", "ruby", "palimpsest.disabledLanguages has ruby"),
            ("|", "off/a.py", "python", "palimpsest.disabledFolders has off"),
        ],
    ),
    ({}, {"enable": False}, [("|", "a.py", "python", "the setting palimpsest.enable is false")]),
    ({"script": [""]}, {}, [("|", "a.py", "python", "the script has nothing here")]),
    (
        {"script": ["  \n"]},
        {},
        [("|", "a.py", "python", "what the model wrote is there already, or has no place here")],
    ),
    ({"error": "it needs 52 GiB"}, {}, [("|", "a.py", "python", "it needs 52 GiB")]),
    (NEVER, {"answerWithinMs": 0}, [("|", "a.py", "python", "still denoising")]),
    (
        {"kind": "faulty"},
        {"deadlineMs": 1000},
        [
            ("|", "in-ValueError.py", "python", "the engine failed: ValueError"),
            ("|", "at-MemoryError.py", "python", "the engine failed: MemoryError"),
            ("|", "hangs.py", "python", "the engine has shown no sign of life for 1 s"),
            ("|", "a.py", "python", "the engine shows no sign of life; restarting the server may help"),
        ],
    ),
]


@pytest.mark.parametrize(
    ("engine", "given", "causes"),
    CAUSES,
    ids=["rules", "switched off", "no text", "blanks", "no memory", "slow", "faults"],
)
async def test_11_silence(connect, engine, given, causes):
    """Nothing is shown, and nobody says why."""
    editor = await settled(await connect(engine, AT_ONCE | given, folders=["file:///project"]))
    for document, name, language, reason in causes:
        before, after = document.split("|")
        editor.open(before + after, language, f"file:///project/{name}")
        assert await soon(editor.ask(*place(before), automatic=True)) is None
        told = (await editor.status()).lastEmpty
        assert told.request == types.TEXT_DOCUMENT_INLINE_COMPLETION
        assert reason in told.reason
        await editor.until(lambda told=told: editor.statuses and editor.statuses[-1].lastEmpty == told)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


async def test_12_telemetry_is_switched_on_in_silence(connect, tmp_path, monkeypatch):
    """Something is sent or kept that nobody asked for."""
    spying = re.compile("telemetr|analytic|metric|usage|report|tracking|crash|statistic", re.IGNORECASE)
    # `statistics` counts on this machine, for its user (`palimpsest stats`); nothing in the program sends it.
    assert [name for name in settings.KEYS if spying.search(name)] == ["statistics"]
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.py").write_text("x = \n", "utf-8")
    for name in os.environ:
        if name.startswith("XDG_"):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA", "TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.chdir(work)
    before = files(tmp_path)
    editor = await connect({"script": ["1"]}, {"telemetry": True, "drafts": True}, folders=[work.as_uri()])
    pid = editor.client._server.pid
    await settled(editor)
    (warning,) = editor.client.messages
    assert warning.message.startswith("Palimpsest: palimpsest.telemetry: no such setting")
    editor.open("x = \n", uri=(work / "a.py").as_uri())
    assert await editor.ask(0, 4) == "1"

    async def now():
        return files(tmp_path) - before

    live = re.compile(rf"{pid}\.json")
    kept = await wait_for(now, lambda names: any(live.fullmatch(Path(name).name) for name in names))
    # Another one with the pid in front is the new content of the file, until it takes its place.
    assert not [name for name in kept if Path(name).name.partition(".")[0] != str(pid)]
    await editor.client.shutdown_session()
    await wait_for(now, lambda names: not names)


async def test_13_memory_grows_and_the_whole_disk_is_indexed(connect, tmp_path):
    """It takes gigabytes after a day, and reads every file there is."""
    editor = await connect(command=witness(script=["return value"]), settings={"speculate": False})
    process = psutil.Process(editor.client._server.pid)
    text = "def f(value):\n    x = compute(value, value)\n" * 1200 + "    "

    async def work(first, last):
        for at in range(first, last):
            editor.open(f"{text}# {at}\n    ", uri=f"file:///project/{at}.py")
            assert await editor.ask(2401, 4) == "return value"
            close(editor)
        await editor.status()
        return process.memory_info().rss / 1e6

    warm = await work(0, 300)  # by then what waits for the garbage collector is as much as it will ever be
    grown = await work(300, 600) - warm
    assert grown < 6, "the texts alone of 300 documents are 16 MB"

    modules = [f"m{at}" for at in range(10)]
    for name in modules:
        (tmp_path / f"{name}.py").write_text(f"def of_{name}(value):\n    return value\n", "utf-8")
    text = "".join(f"from {name} import of_{name}\n" for name in modules) + "\n".join(f"of_{m}(1)" for m in modules)

    async def shown(**given):
        asking = await connect(
            command=witness(watched=str(tmp_path), script=["x"]), settings=given, folders=[tmp_path.as_uri()]
        )
        asking.open(text + "\n", uri=(tmp_path / "main.py").as_uri())

        async def ask():
            asking.type(20, 0, "\n")
            await asking.ask(21, 0)
            return await seen(asking)

        if given["contextSources"]:
            return await wait_for(ask, lambda now: len(now["titles"]) > 1)
        return [await ask() for _ in range(5)][-1]

    nothing = await shown(contextSources=[])
    assert (nothing["titles"], nothing["opened"]) == ([], [])
    some = await shown(contextSources=["imports"], contextFiles=2)
    assert len(some["titles"]) == 2
    assert len(set(some["opened"])) == 2


async def test_14_the_tab_key_and_the_menu_are_taken_over(connect):
    """The suggestion comes before the entries that the language's own server knows for sure."""
    editor = await connect({"script": [".join(a)"]}, {"completion": "on"} | AT_ONCE)
    editor.open("import os\nos.pa\n")
    over = types.Range(types.Position(1, 3), types.Position(1, 5))
    for automatic in (False, True):
        asked = editor.asked(1, 5, automatic)
        asked.context.selected_completion_info = types.SelectedCompletionInfo(over, "path")
        (item, *_) = await editor.client.text_document_inline_completion_async(asked)
        assert (item.range, item.insert_text) == (over, "path.join(a)")
    offers = editor.initialized.capabilities.completion_provider
    assert not offers.trigger_characters
    assert not offers.all_commit_characters
    (item,) = await completed(editor, 1, 5)
    assert item.sort_text > "\uffff" > "zzzz"
    assert not item.preselect
    assert not item.commit_characters
    assert item.command is None
    assert item.insert_text_format is types.InsertTextFormat.PlainText


async def test_15_it_is_hard_to_turn_off_and_the_manual_is_wrong(connect):
    """The switch is deep in the settings, or takes a restart; and the manual does not say so."""
    editor = await settled(await connect({"script": ["1"]}, AT_ONCE, folders=["file:///project"]))
    editor.open("x = ")
    for scope in ("all", "language", "folder", "document"):
        assert await editor.ask(0, 4) == "1"
        where = {"scope": scope, "uri": editor.uri}
        assert (await editor.command("palimpsest.pause", where))["paused"]
        for automatic in (True, False):
            assert await editor.ask(0, 4, automatic) is None
            assert (await editor.reason()).startswith("paused")
        assert await actions_at_once(editor) == []
        assert len((await editor.status()).paused) == 1
        assert not (await editor.command("palimpsest.pause", where))["paused"]
        assert (await editor.status()).paused == []
    assert await editor.ask(0, 4) == "1"

    table = re.findall(r"^\| `(\w+)` \|", (DOCS / "settings.md").read_text("utf-8"), re.MULTILINE)
    assert table == list(settings.KEYS)
    commands = editor.initialized.capabilities.execute_command_provider.commands
    protocol = (DOCS / "protocol.md").read_text("utf-8")
    assert [name for name in (*commands, *OWN) if f"`{name}`" not in protocol] == []
    named = set(re.findall(r"`(palimpsest\.\w+(?:\.\w+)?)`", protocol))
    assert named - {f"palimpsest.{key}" for key in settings.KEYS} <= set(commands)


def main() -> int:
    """Serve one client on a witness."""
    options = json.loads(sys.argv[1])

    def engine(_: EngineSettings) -> Witness:
        return Witness(**options)

    return serve(engine)


if __name__ == "__main__":
    sys.exit(main())
