"""The scene of a question: both texts around a change, and what has become what."""

from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument
from palimpsest_engine.syntax.next_edit.scene import Scene, token_text


def scene_of(text: str, start: int | None, before: str, after: str, language: str = "python") -> Scene:
    document = OpenDocument("file:///a.py", text, language)
    return Scene(NextEditQuestion((document,), (Change(document.name, start, before, after),), 0, budget_ms=60_000))


def test_a_change_is_told_in_tokens() -> None:
    text = "é = 1\nname = load(path, 2)\n"
    (changed,) = scene_of(text, 6, "name = load(file, 2)\n", "name = load(path, 2)\n").changes
    (hunk,) = changed.hunks
    assert [token_text(changed.was, each) for each in hunk.was] == ["file"]
    assert [token_text(changed.now, each) for each in hunk.now] == ["path"]
    assert changed.was.text == "é = 1\nname = load(file, 2)\n"


def test_a_change_that_was_changed_again_is_left_out() -> None:
    assert not scene_of("a = 3\n", 0, "a = 1\n", "a = 2\n").changes
    assert not scene_of("a = 3\n", None, "a = 1\n", "a = 3\n").changes


def test_white_space_makes_no_hunk() -> None:
    (changed,) = scene_of("a = f(1,  2)\n", 0, "a = f(1, 2)\n", "a = f(1,  2)\n").changes
    assert not changed.hunks


def test_an_insertion_has_no_tokens_before_it() -> None:
    (changed,) = scene_of("a = f(1, 2)\n", 0, "a = f(1)\n", "a = f(1, 2)\n").changes
    (hunk,) = changed.hunks
    assert not hunk.was
    assert [token_text(changed.now, each) for each in hunk.now] == [",", "2"]
