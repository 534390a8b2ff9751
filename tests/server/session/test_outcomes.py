"""The outcome of a suggestion is seen from the changes of its document and from what the client tells."""

import asyncio

import pytest
from lsprotocol import types

from palimpsest_engine import NextEdit, Span
from palimpsest_server.documents.store import Documents
from palimpsest_server.protocol.positions import Encoding
from palimpsest_server.session import outcomes
from palimpsest_server.session.next_edits import NextEdits
from palimpsest_server.session.outcomes import Outcomes, Shown
from palimpsest_server.status import tally

A = "file:///a.py"
TEXT = "x = \ny = limit\n"


class Scene:
    def __init__(self):
        self.documents = Documents(Encoding.Utf32)
        self.documents.open(types.TextDocumentItem(A, "python", 1, TEXT))
        self.outcomes = Outcomes(self.documents, self.write)
        self.edits = NextEdits(self.documents, self.outcomes)

    async def write(self, call, *args):
        call(*args)

    def document(self):
        return self.documents.snapshot(A)

    def complete(self, text="f(x)", place=4, document=None):
        shown = Shown(f"{place + len(text)}", "completion", "python", "model", "", 120.0, self.document(), text, place)
        self.outcomes.shown(A, shown)

    def offer(self):
        known = self.edits.known(NextEdit(A, Span(9, 14), "most", "rename", "because"), self.document().content)
        self.edits.offered(known, 1, shown=True)
        return known.id

    def replace(self, start, end, text):
        where = self.document().range_at(start, end, Encoding.Utf32)
        version = self.document().version + 1
        self.documents.change(A, version, [types.TextDocumentContentChangePartial(where, text)])
        self.outcomes.moved_on(self.document())

    def told(self):
        self.outcomes.close()
        return [each.outcome for each in tally.read()]


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("PALIMPSEST_STATE", str(tmp_path))
    monkeypatch.setattr(outcomes, "_KEPT_SECONDS", 0.0)


async def settled():
    for _ in range(3):
        await asyncio.sleep(0.001)


async def test_an_accepted_completion_that_still_stands_is_kept():
    scene = Scene()
    scene.complete()
    scene.replace(4, 4, "f(x)")
    await settled()
    assert scene.told() == ["kept"]


async def test_an_accepted_completion_that_was_changed_is_none_that_was_kept():
    scene = Scene()
    scene.complete()
    scene.replace(4, 4, "f(x)")
    scene.replace(6, 7, "z")
    await settled()
    assert scene.told() == ["changed"]


async def test_typing_along_a_completion_is_no_outcome_and_typing_over_it_is_one():
    scene = Scene()
    scene.complete()
    scene.replace(4, 4, "f")
    scene.complete("(x)", 5)
    scene.replace(5, 5, "(")
    scene.replace(6, 6, "q")
    assert scene.told() == ["typedOver"]


async def test_a_completion_in_place_of_which_another_one_comes_is_ignored():
    scene = Scene()
    scene.complete()
    scene.complete("longer")
    assert scene.told() == ["ignored", "ignored"]


async def test_an_accepted_next_edit_is_kept_and_one_that_is_taken_back_is_not():
    scene = Scene()
    scene.offer()
    scene.replace(9, 14, "most")
    await settled()
    scene.documents.change(A, 3, [types.TextDocumentContentChangeWholeDocument(TEXT)])
    scene.offer()
    scene.replace(9, 14, "most")
    scene.replace(9, 13, "limit")
    assert scene.told() == ["kept", "changed"]


@pytest.mark.parametrize(("why", "outcome"), [("refused", "refused"), ("typedOver", "typedOver"), ("left", "ignored")])
async def test_a_closed_next_edit_ends_as_the_client_says(why, outcome):
    scene = Scene()
    scene.edits.closed(scene.offer(), why)
    assert scene.told() == [outcome]


async def test_an_acceptance_that_no_change_shows_is_taken_on_trust():
    scene = Scene()
    scene.edits.accepted(scene.offer())
    assert scene.told() == ["accepted"]


async def test_the_file_has_numbers_and_kinds_only():
    scene = Scene()
    scene.complete("secret_name")
    scene.offer()
    scene.outcomes.close()
    text = tally.place().read_text()
    assert [word for word in ("secret", "most", "limit", "file:", "because") if word in text] == []


async def test_nothing_is_counted_with_the_setting_off():
    scene = Scene()
    scene.outcomes.enabled = False
    scene.complete()
    scene.edits.closed(scene.offer(), "refused")
    assert scene.told() == []


async def test_a_suggestion_of_a_closed_document_is_ignored_and_forgotten():
    scene = Scene()
    scene.complete()
    scene.outcomes.forget(A)
    assert not scene.outcomes._pending
    assert scene.told() == ["ignored"]
