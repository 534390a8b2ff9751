"""`palimpsest stats`: totals, groups and a plot from the file on this machine."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from palimpsest_server.cli import main
from palimpsest_server.cli.stats import bar
from palimpsest_server.status import tally
from palimpsest_server.status.tally import Event

ONE = Event(20_000, 9, "nextEdit", "python", "rename", "sure", 30, "kept")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("PALIMPSEST_STATE", str(tmp_path))


def stats(*arguments):
    result = CliRunner().invoke(main, ["stats", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_nothing_is_there_before_anything_was_counted():
    assert stats().startswith("nothing was counted yet: ")
    assert stats("--clear") == "there is no file\n"
    assert json.loads(stats("--json"))["events"] == 0


def test_totals_and_groups_are_shown_with_bars():
    tally.add((ONE, replace(ONE, outcome="ignored"), replace(ONE, what="completion", language="rust", hour=23)))
    shown = stats()
    assert "Next edits: 2 shown, 1 accepted (50%)" in shown
    assert "Completions: 1 shown, 1 accepted (100%)" in shown
    assert all(each in shown for each in ("1 kept, 1 ignored", "rust", "23", "rename sure", "30 ms", bar(0.5).rstrip()))


def test_json_has_every_group():
    tally.add((ONE, replace(ONE, outcome="refused")))
    report = json.loads(stats("--json"))
    assert report["outcomes"]["nextEdit"]["refused"] == 1
    assert set(report["rates"]["nextEdit"]) == {"language", "hour", "source", "latency"}
    assert report["rates"]["nextEdit"]["source"] == {"rename sure": {"taken": 1, "shown": 2}}
    assert report["heldBack"] == []


@pytest.mark.parametrize(("lines", "said"), [(1, "1 line of the file cannot"), (3, "3 lines of the file cannot")])
def test_damaged_lines_are_counted_in_a_sentence(lines, said):
    tally.add((ONE,))
    with tally.place().open("a") as file:
        file.write("{half an event\n" * lines)
    result = CliRunner().invoke(main, ["stats"])
    assert said in result.stderr
    assert "Next edits: 1 shown" in result.stdout
    report = json.loads(CliRunner().invoke(main, ["stats", "--json"]).stdout)
    assert (report["events"], report["damaged"]) == (1, lines)


def test_clearing_forgets_all():
    tally.add((ONE,))
    assert stats("--clear") == "the file is removed\n"
    assert stats().startswith("nothing was counted yet: ")


def test_replaying_says_what_would_have_been_held_back():
    tally.add((ONE,) * 3)
    assert stats("--replay") == "3 next edits were counted; nothing is held back before there are 200\n"
    tally.add((replace(ONE, kind="sibling", outcome="ignored"),) * 220)
    lines = stats("--replay").splitlines()
    assert lines == [
        "shown: 200 next edits, of which 3 were accepted (2%)",
        "held back: 23 next edits, of which 0 were accepted (0%)",
        "held back from now on: sibling, sure",
    ]


@pytest.mark.parametrize(("share", "blocks"), [(0.0, ""), (1.0, "█" * 24), (0.5, "█" * 12), (1 / 48, "▌")])
def test_a_bar_is_as_long_as_its_share(share, blocks):
    assert bar(share) == blocks.ljust(24)
