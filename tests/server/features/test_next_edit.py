"""Next edits: which are offered, and when nothing is. The finder is a simple one; the engine's own are tested with it."""

import asyncio

import pytest
from lsprotocol import types

import wordwise
from palimpsest_server.features.next_edit import answer
from palimpsest_server.features.next_edit.answer import Ask, next_edits
from palimpsest_server.session import next_edits as state
from palimpsest_server.status.board import Pause

A, B = "file:///a.py", "file:///b.py"
CODE = "def f(limit):\n    return limit, limit\n"


@pytest.fixture(autouse=True)
def simple_finder(monkeypatch):
    monkeypatch.setattr(answer, "follow_ups", wordwise.follow_ups)
    monkeypatch.setattr(answer, "_MOMENT_SECONDS", 0.0)


class Person:
    def __init__(self, session):
        self.session = session
        session.documents.close(A)
        self.open(A, CODE)

    def open(self, uri, text, language="python"):
        self.session.documents.open(types.TextDocumentItem(uri, language, 1, text))

    def document(self, uri=A):
        return self.session.documents.snapshot(uri)

    def replace(self, start, end, text, uri=A):
        document, encoding = self.document(uri), self.session.documents.encoding
        where = document.range_at(start, end, encoding)
        change = types.TextDocumentContentChangePartial(where, text)
        self.session.documents.change(uri, document.version + 1, [change])

    def change(self, old, new, uri=A):
        at = self.document(uri).text.index(old)
        self.replace(at, at + len(old), new, uri)

    async def ask(self, cursor=0, uri=A, **more):
        return await next_edits(self.session, Ask(self.document(uri), cursor, **more))

    async def offered(self, **more):
        """Return the offsets of all edits that are offered, or the reason why there are none."""
        found = await self.ask(most=8, **more)
        return [each.edit.span.start for each in found.edits] or found.reason

    def take(self, offered):
        edit = offered.edit
        self.replace(edit.span.start, edit.span.end, edit.text, edit.document)

    def set(self, **settings):
        self.session.configure(settings)


@pytest.fixture
def person(session):
    person = Person(session)
    person.change("limit", "most")
    return person


FIRST, SECOND = 24, 31


async def test_all_places_that_follow_are_offered(person):
    assert await person.offered() == [FIRST, SECOND]
    (best,) = (await person.ask()).edits
    assert best.edit.span.start == FIRST


async def test_an_accepted_edit_is_recognised_and_the_first_change_still_leads_on(person):
    (best,) = (await person.ask()).edits
    person.take(best)
    changes = person.session.documents.changes.recent(lambda uri: person.document(uri).content)
    assert [each.before for each in changes] == ["    return limit, limit\n", "def f(limit):\n"]
    assert await person.offered() == [SECOND - 1]


async def test_a_part_of_an_edit_that_a_client_leaves_out_is_none_the_less_recognised(person):
    (best,) = (await person.ask()).edits
    person.replace(FIRST, FIRST + 4, "mos")  # what differs between the two
    assert best.known.taken
    text, mark = person.document().text, best.known.mark
    assert text[mark.start : mark.end] == "most"


async def test_a_refused_edit_is_not_offered_again_wherever_it_has_moved_to(person):
    (best,) = (await person.ask()).edits
    person.session.next_edits.closed(best.known.id, "refused")
    assert await person.offered() == [SECOND]
    person.replace(0, 0, "# a note\n")
    assert await person.offered() == [SECOND + 9]
    assert await person.offered(invoked=True) == [SECOND + 9]


async def test_an_undone_edit_counts_as_refused(person):
    (best,) = (await person.ask()).edits
    person.take(best)
    person.change("return most", "return limit")
    assert await person.offered() == "the last change was undone"
    assert await person.offered(invoked=True) == [SECOND]


async def test_nothing_is_offered_after_an_undo_until_the_next_change(person):
    person.replace(0, 0, "# a note\n")
    person.replace(0, 9, "")
    assert await person.offered() == "the last change was undone"
    person.replace(0, 0, "# a note\n")
    assert await person.offered() == [FIRST + 9, SECOND + 9]


async def test_an_edit_that_was_shown_three_times_rests_for_a_while(person):
    now = 0.0
    person.session.next_edits._clock = lambda: now
    for _ in range(3):
        assert (await person.ask()).edits[0].edit.text == "most"
        person.replace(0, 0, "#\n")
        assert len((await person.ask(invoked=True)).edits) == 1  # twice in one version is once
    assert await person.offered() == [SECOND + 6]
    now += state._REST_SECONDS
    assert await person.offered() == [FIRST + 6, SECOND + 6]


async def test_only_shown_edits_count_once_a_client_tells(person):
    (best,) = (await person.ask()).edits
    person.session.next_edits.shown(best.known.id)
    for _ in range(5):
        person.replace(0, 0, "#\n")
        assert (await person.ask()).edits[0].known is best.known


@pytest.mark.parametrize("eagerness", ["low", "medium", "high"])
@pytest.mark.parametrize(("word", "certainty"), [("", "sure"), ("maybe", "likely"), ("perhaps", "possible")])
async def test_the_setting_says_how_sure_an_edit_has_to_be(person, eagerness, word, certainty):
    person.set(nextEdit=eagerness)
    if word:
        person.replace(0, 0, f"# {word}\n")
    levels = ["sure", "likely", "possible"]
    shown = levels.index(certainty) <= ["low", "medium", "high"].index(eagerness)
    found = await person.ask()
    assert bool(found.edits) == shown
    assert found.reason == ("" if shown else f"not sure enough (nextEdit is {eagerness})")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"nextEdit": "off"}, 'the setting palimpsest.nextEdit is "off"'),
        ({"enable": False}, "the setting palimpsest.enable is false"),
        ({"disabledLanguages": ["python"]}, "palimpsest.disabledLanguages has python"),
        ({"disabledFolders": ["/"]}, "palimpsest.disabledFolders has /"),
        ({"ignore": ["*.py"]}, "palimpsest.ignore has *.py"),
    ],
)
@pytest.mark.parametrize("invoked", [False, True])
async def test_off_is_obeyed_whoever_asks(person, settings, reason, invoked):
    person.set(**settings)
    assert await person.offered(invoked=invoked) == reason


@pytest.mark.parametrize("scope", ["all", "language", "document"])
async def test_pauses_are_obeyed(person, scope):
    person.session.pauses.change(Pause(scope, A, True), "python", ())
    assert "paused" in await person.offered(invoked=True)


@pytest.mark.parametrize("uri", ["file:///credentials.json", "untitled:/home/me/.env"])
async def test_documents_that_hold_secrets_are_left_alone(person, uri):
    person.open(uri, "limit = 3\n")
    assert "its name says that it holds secrets" in (await person.ask(uri=uri)).reason
    for _ in range(2):
        person.take((await person.ask()).edits[0])
    assert await person.offered() == "nothing follows from the last change"


async def test_another_document_that_is_switched_off_is_left_alone(person):
    person.open("file:///b.rs", "limit", "rust")
    person.set(disabledLanguages=["rust"])
    for _ in range(2):
        person.take((await person.ask()).edits[0])
    assert await person.offered() == "nothing follows from the last change"
    person.set()
    (found,) = (await person.ask()).edits
    assert found.document.uri == "file:///b.rs"


async def test_a_large_document_is_refused(person):
    person.replace(0, 0, "#" * 200_000 + "\n")
    assert await person.offered(invoked=True) == "the document has more than 196,608 characters"


async def test_only_a_mend_is_offered_while_the_statement_at_the_cursor_is_broken(person):
    person.replace(len("def f(most"), len("def f(most"), ", (")
    assert await person.offered(cursor=8) == "the statement at the cursor is not finished"
    assert await person.offered(cursor=8, invoked=True) == [FIRST + 3, SECOND + 3]


async def test_a_document_that_changes_meanwhile_gets_nothing(person, monkeypatch):
    def search(question):
        loop.call_soon_threadsafe(person.replace, 0, 0, "#\n")
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result()
        return wordwise.follow_ups(question)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(answer, "follow_ups", search)
    assert await person.offered() == "the document changed"


async def test_a_newer_request_ends_the_older_one(person):
    older = asyncio.ensure_future(person.ask())
    await asyncio.sleep(0)
    newer = asyncio.ensure_future(person.ask())
    assert (await older).reason == "superseded"
    assert (await newer).edits


async def test_a_word_at_the_cursor_is_waited_for(person, monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(answer, "_MOMENT_SECONDS", 1000.0)
    monkeypatch.setattr(answer.asyncio, "sleep", sleep)
    for cursor, invoked in ((10, False), (6, False), (10, True), (20, False)):
        assert (await person.ask(cursor=cursor, invoked=invoked)).edits
    assert [seconds > 900 for seconds in waits] == [True, True, False]


async def test_line_ends_are_those_of_the_document(person, monkeypatch):
    person.open(B, "a\r\nb\r\n")
    person.change("a", "c", B)
    edit = wordwise.NextEdit(B, wordwise.Span(3, 4), "x\ny", "sibling", "because")
    monkeypatch.setattr(answer, "follow_ups", lambda question: wordwise.FollowUps((edit,)))
    (found,) = (await person.ask(uri=B)).edits
    assert found.edit.text == "x\r\ny"


async def test_a_snapshot_that_is_old_already_gets_nothing(person):
    old = person.document()
    person.replace(0, 10, "")
    assert (await next_edits(person.session, Ask(old, 0, invoked=True))).reason == "the document changed"


async def test_an_accepted_edit_leads_on_at_once(person, monkeypatch):
    monkeypatch.setattr(answer, "_MOMENT_SECONDS", 3600.0)
    (best,) = (await person.ask(cursor=len(CODE) - 1)).edits
    person.take(best)
    async with asyncio.timeout(5):
        assert (await person.ask(cursor=FIRST + 2)).edits
