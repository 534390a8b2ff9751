"""The file of outcomes: who can read it, what it holds, how large it gets; and the rates that are made of it."""

import json
import stat
import sys
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_server.status import rates, tally
from palimpsest_server.status.tally import Event

ONE = Event(20_000, 14, "nextEdit", "python", "rename", "sure", 30, "kept")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("PALIMPSEST_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_events_come_back_in_order(state):
    others = (replace(ONE, outcome="refused"), replace(ONE, what="completion", kind="cache", certainty=""))
    tally.add((ONE,))
    tally.add(others)
    assert tally.read() == (ONE, *others)
    if sys.platform != "win32":
        assert stat.S_IMODE(tally.place().stat().st_mode) == 0o600
        assert stat.S_IMODE(state.stat().st_mode) == 0o700


def test_clearing_removes_the_file():
    tally.add((ONE,))
    assert tally.clear()
    assert not tally.clear()
    assert tally.read() == ()


@pytest.mark.parametrize("folder", ["", "relative/folder"])
def test_nothing_is_written_where_no_folder_is_wanted(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PALIMPSEST_STATE", folder)
    monkeypatch.chdir(tmp_path)
    tally.add((ONE,))
    assert list(tmp_path.iterdir()) == []
    assert tally.read() == ()


@pytest.mark.parametrize(
    "wrong",
    [
        b"{",
        b"[]",
        b"3",
        b"\xff\xfe",
        *(
            json.dumps(asdict(ONE) | change).encode()
            for change in (
                {"hour": 24},
                {"ms": "x"},
                {"outcome": "sold"},
                {"what": 3},
                {"language": "a b"},
                {"path": "/home"},
            )
        ),
    ],
)
def test_lines_that_are_no_events_are_left_out(wrong):
    tally.add((ONE,))
    with tally.place().open("ab") as out:
        out.write(wrong + b"\n")
    tally.add((ONE,))
    assert tally.read() == (ONE, ONE)


def test_the_file_stays_bounded(monkeypatch):
    monkeypatch.setattr(tally, "_LARGEST", 4096)
    monkeypatch.setattr(tally, "MOST", 20)
    for day in range(100):
        tally.add((replace(ONE, day=day),))
    assert tally.place().stat().st_size <= 4096 + 200
    assert tally.read()[-1].day == 99
    assert len(list(tally.place().parent.iterdir())) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_no_link_is_followed(state, tmp_path):
    state.mkdir()
    (tmp_path / "other").write_text("mine")
    tally.place().symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="outcomes"):
        tally.add((ONE,))
    assert tally.read() == ()
    assert (tmp_path / "other").read_text() == "mine"


@pytest.mark.parametrize(("ms", "most"), [(0, 10), (10, 10), (10.1, 30), (999, 1000), (3000, 3000), (50_000, 10_000)])
def test_times_fall_into_buckets(ms, most):
    assert tally.bucket(ms) == most


@pytest.mark.parametrize(("name", "kept"), [("python", "python"), ("c++", "c++"), ("", ""), ("my secret", "other")])
def test_only_plain_names_of_languages_are_kept(name, kept):
    assert tally.named(name) == kept


# Rates


def edits(taken, shown, kind="rename"):
    return [replace(ONE, kind=kind, outcome="kept" if at < taken else "ignored") for at in range(shown)]


@pytest.mark.parametrize(
    ("taken", "shown", "low", "high"), [(0, 0, 0, 1), (0, 20, 0, 0.161), (10, 20, 0.299, 0.701), (50, 50, 0.929, 1)]
)
def test_bounds_are_those_of_wilson(taken, shown, low, high):
    assert rates.Rate(taken, shown).bounds == pytest.approx((low, high), abs=0.001)


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_share_lies_between_its_bounds(taken, more):
    rate = rates.Rate(taken, taken + more)
    low, high = rate.bounds
    assert 0 <= low <= high <= 1
    assert not rate.shown or low - 1e-9 <= rate.share <= high + 1e-9


def test_a_kind_that_is_seldom_taken_is_held_back_once_there_are_enough_events():
    often, seldom = edits(100, 150), edits(1, 49, "sibling")
    assert rates.held_back([*often, *seldom]) == frozenset()
    assert rates.held_back([*often, *seldom, *edits(1, 1)]) == {("sibling", "sure")}


def test_a_kind_that_was_shown_a_few_times_is_not_held_back():
    assert rates.held_back([*edits(150, 190), *edits(0, 19, "sibling")]) == frozenset()


def test_completions_hold_no_next_edits_back():
    assert rates.held_back([replace(each, what="completion") for each in edits(0, 400)]) == frozenset()


def test_replaying_holds_back_by_what_was_known_then():
    again = rates.replay([*edits(0, 150, "sibling"), *edits(60, 60), *edits(1, 30, "sibling")])
    assert (again.shown, again.held) == (rates.Rate(60, 210), rates.Rate(1, 30))
    assert again.held.taken == 1
