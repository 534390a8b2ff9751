"""Take up settings, open and reopen the engine, and tell clients the status."""

import asyncio

import pytest
from lsprotocol import types

from palimpsest_engine import CheckpointMissing, EngineSettings
from palimpsest_server.session.permission import ban
from palimpsest_server.session.session import Session


def states(client):
    return [params["state"] for method, params in client.notified if method == "palimpsest/status"]


def make(client, engines, opened):
    def factory(settings: EngineSettings):
        opened.append(settings)
        engine = engines[len(opened) - 1]
        if isinstance(engine, Exception):
            raise engine
        return engine

    return Session(factory, client)


async def test_nothing_is_opened_before_it_is_asked_for(client, engine):
    opened = []
    session = make(client, [engine], opened)
    session.initialize({"palimpsest": {"model": "here"}})
    assert opened == []
    assert session.board.status()["state"] == "starting"
    session.warm()
    assert opened == [EngineSettings(checkpoint="here", shared=True)]
    assert engine.warmed == 1


async def test_another_checkpoint_needs_another_engine_another_seed_does_not(client, engine):
    other, opened = type(engine)(), []
    session = make(client, [engine, other], opened)
    session.initialize({"palimpsest": {"trustWorkspace": True}})
    session.warm()
    session.configure({"seed": 3})
    assert len(opened) == 1
    session.configure({"seed": 3, "model": "there"})
    assert [settings.checkpoint for settings in opened] == [None, "there"]
    assert (engine.closed, other.warmed) == (1, 1)
    assert session.engine.opened is other


async def test_another_adapter_needs_another_engine_and_only_the_user_chooses_it(client, engine):
    other, opened = type(engine)(), []
    session = make(client, [engine, other], opened)
    session.initialize({"palimpsest": {"adapter": "/mine"}})
    session.warm()
    session.configure({"adapter": "/theirs"})
    assert [settings.adapter for settings in opened] == ["/mine"]
    assert "palimpsest.adapter is ignored" in client.warnings[0]
    session.initialize({"palimpsest": {"adapter": "/mine too"}})
    assert [settings.adapter for settings in opened] == ["/mine", "/mine too"]
    assert engine.closed == 1


async def test_each_problem_is_shown_once(client, engine):
    session = make(client, [engine], [])
    session.initialize({"palimpsest": {"zap": 1}, "other": 2})
    session.configure({"seed": "x"})
    session.configure({"seed": "x"})
    assert [warning.split(":")[1].strip() for warning in client.warnings] == [
        "other",
        "palimpsest.zap",
        "palimpsest.seed",
    ]


async def test_pausing_loads_nothing_and_going_on_does(client, engine):
    session = make(client, [engine], [])
    session.initialize({"palimpsest": {"enable": False}})
    session.warm()
    assert engine.warmed == 0
    assert states(client) == ["paused"]
    session.configure({"enable": True})
    assert engine.warmed == 1
    assert states(client) == ["paused", "ready"]


async def test_a_checkpoint_that_is_missing_is_an_error_that_is_shown_once(client):
    session = make(client, [CheckpointMissing("there is no checkpoint at /x")], [])
    session.warm()
    session.publisher.publish()
    assert client.errors == ["Palimpsest: there is no checkpoint at /x"]
    status = session.board.status()
    assert (status["state"], status["reason"]) == ("error", "there is no checkpoint at /x")
    assert len(states(client)) == 1


async def test_an_engine_that_cannot_be_opened_is_logged_and_is_an_error(client, caplog):
    session = make(client, [ZeroDivisionError("by zero")], [])
    session.warm()
    assert "the engine cannot be opened: ZeroDivisionError" in session.board.status()["reason"]
    assert len(caplog.records) == 1


async def test_the_status_is_told_when_it_is_new_and_only_then(client, engine, monkeypatch):
    monkeypatch.setattr("palimpsest_server.status.publisher._TELL_SECONDS", 0)
    session = make(client, [engine], [])
    session.warm()
    session.publisher.answered("m", "no")
    session.publisher.answered("m", "no")
    session.publisher.answered("m")
    assert [params["lastEmpty"] for _, params in client.notified] == [
        None,
        {"request": "m", "reason": "no"},
        None,
    ]


INLINE, LIST, RUN = "textDocument/inlineCompletion", "textDocument/completion", "palimpsest.run"


@pytest.mark.parametrize(
    ("request_", "reason", "news", "left"),
    [
        (RUN, "the repair did not mend the syntax", "typed_on", None),
        ("codeAction/resolve", "there is no other text", "typed_on", None),
        (INLINE, "the cursor is in a comment", "typed_on", "the cursor is in a comment"),
        (LIST, "the cursor is in a comment", "typed_on", "the cursor is in a comment"),
        (RUN, "the repair did not mend the syntax", "moved_on", None),
        (INLINE, "the cursor is in a comment", "moved_on", None),
        (INLINE, "still denoising", "came_to", None),
        (INLINE, "the checkpoint is still loading", "came_to", None),
        (INLINE, "the cursor is in a string", "came_to", "the cursor is in a string"),
    ],
)
async def test_a_reason_lasts_as_long_as_it_is_true(client, engine, request_, reason, news, left):
    session = make(client, [engine], [])
    session.publisher.answered(request_, reason)
    getattr(session.publisher, news)()
    told = session.board.status()["lastEmpty"]
    assert (told["reason"] if told else None) == left


async def test_after_the_end_nothing_is_said_and_nothing_is_loaded(client, engine):
    session = make(client, [engine], [])
    session.warm()
    session.close()
    said = len(client.notified)
    session.publisher.answered("m", "no")
    session.warm()
    assert (len(client.notified), engine.warmed, engine.closed) == (said, 1, 1)


async def test_loading_is_watched_to_its_end(client, engine, monkeypatch):
    monkeypatch.setattr("palimpsest_server.status.publisher._WATCH_SECONDS", 0.0)
    session = make(client, [engine], [])
    engine.state = "loading"
    session.warm()
    await asyncio.sleep(0)
    engine.state = "ready"
    while states(client)[-1] != "ready":
        await asyncio.sleep(0)
    assert states(client) == ["loading", "ready"]
    session.close()


async def test_a_state_that_flickers_during_typing_is_told_once(client, engine, monkeypatch):
    now = 0.0
    monkeypatch.setattr("palimpsest_server.status.publisher.monotonic", lambda: now)
    session = make(client, [engine], [])
    session.warm()
    for number in range(50):
        engine.state = "busy" if number % 2 else "ready"
        session.publisher.answered("m", f"reason {number}")
    assert len(client.notified) == 1
    now += 1.0
    await asyncio.sleep(0.3)
    assert [params["lastEmpty"]["reason"] for _, params in client.notified[1:]] == ["reason 49"]
    session.close()


@pytest.mark.parametrize(
    "given",
    [
        {"palimpsest": {"enable": False}},
        {"palimpsest": {"palimpsest.enable": False}},
        {"palimpsest": {"palimpsest": {"enable": False}}},
        {"palimpsest.enable": False},
        {"palimpsest.enable": False, "python.linting": True},
        {"enable": False},
    ],
)
async def test_off_is_off_however_a_client_spells_it(client, engine, given):
    session = make(client, [engine], [])
    assert session.reconfigure(given)
    assert session.board.status()["state"] == "paused"
    assert client.warnings == []


@pytest.mark.parametrize("given", [None, {}, [], 3, {"python": {"enable": False}}, {"enable": False, "python": {}}])
async def test_a_change_with_nothing_of_ours_in_it_is_none(client, engine, given):
    session = make(client, [engine], [])
    session.configure({"seed": 3})
    assert not session.reconfigure(given)
    assert session.settings.seed == 3


async def test_a_dotted_key_leaves_the_others_as_they_are_and_a_section_does_not(client, engine):
    session = make(client, [engine], [])
    session.configure({"disabledFolders": ["/x"], "palimpsest.seed": 3})
    session.reconfigure({"palimpsest.candidates": 2, "palimpsest.seed": None})
    assert (session.settings.disabled_folders, session.settings.candidates, session.settings.seed) == (("/x",), 2, 0)
    session.reconfigure({"palimpsest": {"seed": 4}})
    assert (session.settings.disabled_folders, session.settings.candidates, session.settings.seed) == ((), 3, 4)


@pytest.mark.parametrize(
    ("key", "glob"),
    [
        ("disabledFolders", "{link}"),
        ("disabledFolders", "file://{link}"),
        ("disabledFolders", "{real}"),
        ("disabledFolders", "${{workspaceFolder}}/sub"),
        ("ignore", "{link}"),
        ("ignore", "${{workspaceFolder}}/sub/*.py"),
    ],
)
@pytest.mark.parametrize("where", ["for all", "for the folder"])
async def test_a_folder_is_left_alone_by_its_own_name_or_a_links(session, tmp_path, key, glob, where):
    real, link = tmp_path / "real", tmp_path / "link"
    (real / "sub").mkdir(parents=True)
    link.symlink_to(real)
    session.work_in({real.as_uri(): real})
    section = {key: [glob.format(real=real, link=link)]}
    session.configure(section if where == "for all" else {}, {real.as_uri(): section})
    uri = (real / "sub" / "a.py").as_uri()
    session.documents.open(types.TextDocumentItem(uri, "python", 1, "x = \n"))
    document = session.documents.snapshot(uri)
    reason = f"palimpsest.{key} has {section[key][0]}"
    chosen = session.settings_for(document)
    assert await session.surroundings.objection(document, "x = \n", 4, chosen, automatic=False) == reason
    if key == "disabledFolders" and "link" not in glob:
        assert ban(session, document) == reason
    assert session.client.warnings == []
