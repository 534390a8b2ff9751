"""The status that clients are told, and pauses by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import EngineStatus
from palimpsest_server.protocol.methods import NEXT_EDIT
from palimpsest_server.status.board import Board, Pause, Pauses, pause_of
from palimpsest_server.status.requests import Requests

INLINE = "textDocument/inlineCompletion"
PYTHON, LUA = "file:///code/x/a.py", "file:///other/b.lua"
LANGUAGES = {PYTHON: "python", LUA: "lua", "untitled:1": "python"}
FOLDERS = ("file:///code/x", "file:///code")


def change(pauses, scope, uri="", paused=None):
    return pauses.change(Pause(scope, uri, paused), LANGUAGES.get(uri, ""), FOLDERS)


@pytest.mark.parametrize(
    ("scope", "uri", "what", "reason", "also"),
    [
        ("all", "", "everything", "paused", (LUA, "untitled:1")),
        ("language", PYTHON, "python", "paused for python", ("untitled:1",)),
        ("folder", PYTHON, "the folder /code/x", "paused for the folder /code/x", ("file:///code/x/deep/c.lua",)),
        ("folder", LUA, "the folder /other", "paused for the folder /other", ("file:///other/deep/c.lua",)),
        ("folder", "file:///code/c.py", "the folder /code", "paused for the folder /code", (PYTHON,)),
        ("document", PYTHON, "/code/x/a.py", "paused for this document", ()),
        ("document", "untitled:1", "untitled:1", "paused for this document", ()),
    ],
)
def test_one_step_pauses_and_the_same_step_goes_on(scope, uri, what, reason, also):
    pauses = Pauses()
    everywhere = {PYTHON, LUA, "untitled:1", "file:///code/x/deep/c.lua", "file:///other/deep/c.lua"}
    here = uri or PYTHON
    assert change(pauses, scope, uri) == (True, what)
    paused = {each for each in everywhere | {here} if pauses.reason(each, LANGUAGES.get(each, "lua"))}
    assert pauses.reason(here, LANGUAGES.get(here, "")) == reason
    assert {here, *also} <= paused
    assert paused == everywhere | {here} if scope == "all" else paused < everywhere | {here}
    assert len(pauses.reasons()) == 1
    assert change(pauses, scope, uri) == (False, what)
    assert pauses.reasons() == []
    assert pauses.reason(here, LANGUAGES.get(here, "")) == ""


def test_the_same_word_twice_changes_nothing():
    pauses = Pauses()
    for paused in (False, True, True):
        assert change(pauses, "language", PYTHON, paused)[0] == paused
    assert pauses.reasons() == ["paused for python"]


def test_in_a_paused_folder_the_pause_that_holds_is_the_one_that_ends():
    pauses = Pauses()
    change(pauses, "folder", "file:///code/c.py")
    assert change(pauses, "folder", PYTHON) == (False, "the folder /code")
    assert pauses.reason(PYTHON, "python") == ""


@given(st.lists(st.tuples(st.sampled_from(["language", "folder", "document"]), st.sampled_from([PYTHON, LUA]))))
def test_going_on_with_everything_ends_every_pause(steps):
    pauses = Pauses()
    for scope, uri in steps:
        change(pauses, scope, uri)
    change(pauses, "all", paused=True)
    assert pauses.reason(LUA, "lua") == "paused"
    change(pauses, "all", paused=False)
    assert pauses.reasons() == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["all", "language", "folder", "document"]), st.sampled_from([PYTHON, LUA]), st.booleans()
        )
    )
)
def test_a_paused_document_has_a_reason_and_each_pause_is_listed(steps):
    pauses = Pauses()
    for scope, uri, paused in steps:
        now, _ = change(pauses, scope, uri, paused)
        assert now == paused
        assert not now or pauses.reason(uri, LANGUAGES[uri])
    assert bool(pauses.reasons()) == any(pauses.reason(uri, LANGUAGES[uri]) for uri in (PYTHON, LUA))


def test_a_closed_document_has_no_language_to_pause_and_an_unsaved_one_no_folder():
    with pytest.raises(ValueError, match="is not open"):
        change(Pauses(), "language", "file:///nowhere.py")
    with pytest.raises(ValueError, match="lies in no folder"):
        change(Pauses(), "folder", "untitled:1")


@pytest.mark.parametrize(
    ("argument", "pause"),
    [
        ({"scope": "all"}, Pause("all", "", None)),
        ({"scope": "all", "uri": PYTHON, "paused": False}, Pause("all", PYTHON, False)),
        ({"scope": "language", "uri": PYTHON, "paused": None}, Pause("language", PYTHON, None)),
        ({"scope": "folder", "uri": PYTHON, "paused": True}, Pause("folder", PYTHON, True)),
    ],
)
def test_the_argument_of_the_command(argument, pause):
    assert pause_of([argument]) == pause


@pytest.mark.parametrize(
    "arguments",
    [
        None,
        [],
        ["all"],
        [{}],
        [{"scope": "all"}, {}],
        [{"scope": "everything"}],
        [{"scope": ["all"]}],
        [{"scope": "language"}],
        [{"scope": "folder", "uri": ""}],
        [{"scope": "document", "uri": 1}],
        [{"scope": "all", "uri": 1}],
        [{"scope": "all", "paused": "yes"}],
    ],
)
def test_any_other_argument_is_refused_in_a_sentence(arguments):
    with pytest.raises(ValueError, match=r"^palimpsest\.pause"):
        pause_of(arguments)


def test_the_board_lists_pauses_and_counters():
    pauses, requests, disabled = Pauses(), Requests(), False
    board = Board(lambda: EngineStatus("ready", "", "m", "cpu"), lambda: disabled, pauses, requests)
    assert (board.status()["state"], board.status()["paused"]) == ("ready", [])
    change(pauses, "language", PYTHON)
    assert (board.status()["state"], board.status()["paused"]) == ("ready", ["paused for python"])
    change(pauses, "all")
    assert (board.status()["state"], board.status()["reason"]) == ("paused", "paused")
    disabled = True
    assert board.status()["reason"] == "the setting palimpsest.enable is false"
    requests.answered("m", "", "cache")
    assert (board.status()["counters"]["requests"], board.status()["counters"]["cache"]) == (1, 1)


def test_a_count_is_no_news_and_a_pause_is():
    pauses, requests = Pauses(), Requests()
    board = Board(lambda: EngineStatus("ready"), lambda: False, pauses, requests)
    assert board.news() is not None
    requests.answered("m", "no")
    assert board.news() is None
    change(pauses, "document", PYTHON)
    news = board.news()
    assert news is not None
    assert news["counters"]["empty"] == 1


@pytest.mark.parametrize("first", ["the cursor is in a comment", "still denoising"])
@pytest.mark.parametrize("aside", [True, False])
def test_a_next_edit_that_a_key_asks_for_does_not_hide_why_there_is_no_suggestion(first, aside):
    board = Board(lambda: EngineStatus("ready"), lambda: False)
    board.answered(INLINE, first)
    board.answered(NEXT_EDIT, "nothing follows", aside=aside)
    board.came_to("the cursor is in a comment")
    shown = "the cursor is in a comment" if aside else "nothing follows"
    assert board.status()["lastEmpty"]["reason"] == shown
    board.answered(INLINE, "")
    board.answered(NEXT_EDIT, "nothing follows", aside=aside)
    assert board.status()["lastEmpty"] == {"request": NEXT_EDIT, "reason": "nothing follows"}
