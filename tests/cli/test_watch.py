from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from palimpsest_engine import DraftPiece, FillRequest, OutOfMemory, Span
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_server.cli.watch import SETTLED, UNSETTLED, Scene, watched

TEXT = "".join(f"line{n}\n" for n in range(1, 101))


def request(text: str, *holes: tuple[int, int]) -> FillRequest:
    return FillRequest(text, tuple(Span(*hole) for hole in holes), path="a.py")


def style_of(text: Text, part: str) -> set[str]:
    start = text.plain.index(part)
    end = start + len(part)
    return {str(span.style) for span in text.spans if span.start <= start and end <= span.end}


def test_settled_and_unsettled_are_told_apart() -> None:
    scene = Scene(request("a = ()\nb = 2\n", (5, 5)))
    text = scene.text(((DraftPiece("one", True), DraftPiece("noise", False)),))
    assert text.plain == "a = (onenoise)\nb = 2"
    assert SETTLED in style_of(text, "one")
    assert UNSETTLED in style_of(text, "noise")
    assert not {SETTLED, UNSETTLED} & style_of(text, "b = 2")


def test_lines_around_a_hole_are_shown_and_no_more() -> None:
    at = TEXT.index("line50")
    shown = Scene(request(TEXT, (at, at + len("line50")))).text(((DraftPiece("NEW", True),),)).plain
    assert shown.split() == [
        *(f"line{n}" for n in range(44, 50)),
        "NEW",
        *(f"line{n}" for n in range(51, 57)),
    ]


def test_text_between_far_holes_is_left_out() -> None:
    first, second = TEXT.index("line3\n"), TEXT.index("line90\n")
    holes = ((first, first), (second, second))
    shown = Scene(request(TEXT, *holes)).text(((DraftPiece("A", True),), (DraftPiece("B", True),))).plain
    assert "Aline3\n" in shown
    assert "Bline90\n" in shown
    assert "\u22ee" in shown
    assert "line50" not in shown


def test_text_between_near_holes_is_whole() -> None:
    first, second = TEXT.index("line3\n"), TEXT.index("line9\n")
    shown = Scene(request(TEXT, (first, first), (second, second))).text(((), ())).plain
    assert all(f"line{n}\n" in shown for n in range(1, 12))
    assert "\u22ee" not in shown


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b2J", "\a", "\b", "\x7f", "\r", "\v"])
def test_no_draft_steers_the_terminal(evil: str) -> None:
    plain = Scene(request(f"x {evil}\n", (0, 1))).text(((DraftPiece(f"a{evil}b", False),),)).plain
    assert all(character == "\n" or character.isprintable() for character in plain), plain


def test_the_last_thing_drawn_is_the_answer() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    fill = watched(ScriptedEngine(["value"], steps=3), request("x = \n", (4, 4)), console)
    assert fill.texts == ("value",)
    plain = Text.from_ansi(screen.getvalue().replace("\r", "")).plain
    assert "denoising step 1, 33% settled" in plain
    assert plain.index("denoising step 3") < plain.index("3 decoder passes")
    assert "x = value" in plain[plain.index("denoising step 3") :]


def test_a_hole_stays_when_nothing_is_offered() -> None:
    screen = io.StringIO()
    fill = watched(ScriptedEngine([""]), request("x = old\n", (4, 7)), Console(file=screen, width=80))
    assert fill.empty
    line, told = screen.getvalue().split("\n")[:2]
    assert line == "x = old"
    assert re.fullmatch(r"0 decoder passes in \d+ ms, nothing offered", told)


def test_an_error_comes_through() -> None:
    console = Console(file=io.StringIO())
    with pytest.raises(OutOfMemory):
        watched(ScriptedEngine(error=OutOfMemory("no")), request("", (0, 0)), console)


def test_a_model_that_writes_left_to_right_is_not_said_to_denoise() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    asked = replace(request("x = \n", (4, 4)), left_to_right=True)
    watched(ScriptedEngine(["value"], steps=2), asked, console, title="line 1: ")
    plain = Text.from_ansi(screen.getvalue().replace("\r", "")).plain
    assert "line 1: left to right, pass 2" in plain
    assert "denoising" not in plain


def test_fewer_lines_around_a_hole_can_be_shown() -> None:
    at = TEXT.index("line50")
    shown = Scene(request(TEXT, (at, at)), around=1).text(((DraftPiece("NEW ", True),),)).plain
    assert shown.split() == ["line49", "NEW", "line50", "line51"]
