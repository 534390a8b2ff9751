"""A recording as JSON and back, as a page without a server, and as a picture."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from canvas.conftest import HOLE, TEXT, WORDS, Painter
from palimpsest_canvas import page, recording, svg
from palimpsest_canvas.cli import command
from palimpsest_canvas.recorder import recorded
from palimpsest_canvas.recording import Begun, Beside, Cell, Failed, Picture, Recording, Row
from palimpsest_canvas.traced import request_of
from palimpsest_engine import EngineSettings, FillRequest, OutOfMemory, PalimpsestError, Span

SVG = "{http://www.w3.org/2000/svg}"


def request(text: str = TEXT, *holes: Span, **more: Any) -> FillRequest:
    settings: dict[str, Any] = {"seed": 3, "strength": 1.0, "steps": None, "temperature": 0.5}
    made = request_of(text, holes[0] if holes else Span(HOLE, HOLE), name="add.py", language="python", **settings)
    return replace(made, holes=holes or made.holes, **more)


def made(**more: Any) -> Recording:
    return recorded(Painter(**more), request(), "add.py", beside=True)  # type: ignore[arg-type]


def test_a_recording_survives_json() -> None:
    whole = made()
    data = recording.write(whole)
    assert recording.read(data) == whole
    assert list(json.loads(data)) == [
        *("format", "name", "language", "model", "device", "prefix", "between", "suffix", "hole", "settings"),
        *("frames", "outcome", "beside"),
    ]
    failed = replace(whole, outcome=Failed("It failed."), beside=None)
    assert json.loads(recording.write(failed))["outcome"] == {"error": "It failed."}
    assert recording.read(recording.write(failed)) == failed
    running = replace(whole, outcome=None, beside=Beside("m"))
    assert recording.read(recording.write(running)) == running


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value | {"format": 2},
        lambda value: value | {"frames": [{"ms": "soon"}]},
        lambda value: value | {"outcome": {"texts": 1}},
        lambda value: value | {"outcome": 3},
        lambda value: {key: value[key] for key in value if key != "prefix"},
        lambda value: [value],
    ],
)
def test_json_that_is_no_recording_is_refused(change: Callable[[Any], Any]) -> None:
    value = change(json.loads(recording.write(made())))
    with pytest.raises(PalimpsestError):
        recording.read(json.dumps(value).encode())


def test_forty_lines_of_each_side_are_shown_and_all_between_the_holes() -> None:
    text = "".join(f"a{number}\n" for number in range(100))
    one, other = text.index("a50"), text.index("a60")
    found = recording.begun(request(text, Span(one, one + 3), Span(other, other)), "x.py", "m", "cpu")
    assert found.prefix == "".join(f"a{number}\n" for number in range(10, 50))
    assert found.between == (text[one + 3 : other],)
    assert found.suffix == "".join(f"a{number}\n" for number in range(60, 100))
    assert found.hole == ""
    long = recording.begun(request("x" * 50_000, Span(25_000, 25_000)), "x.py", "m", "cpu")
    assert len(long.prefix) == len(long.suffix) == 8000


def test_a_fill_that_an_engine_began_anew_is_recorded_from_its_new_beginning() -> None:
    whole = made(lost=True)
    assert [frame.step for frame in whole.frames] == [1, 2, 3, 4]


# The page that plays it


def hashes(text: str, tag: str) -> list[str]:
    contents = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in contents]


def test_the_replay_allows_nothing_but_what_is_in_it(static: Path) -> None:
    whole = made()
    name = 'a<b>&"'
    text = page.replay(recording.write(whole), name, static)
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy == (
        f"default-src 'none'; script-src {' '.join(hashes(text, 'script'))}; "
        f"style-src {' '.join(hashes(text, 'style'))}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert "/static/" not in text
    assert "<title>a&lt;b&gt;&amp;&quot; - Palimpsest</title>" in text
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script>")


@pytest.mark.parametrize("hole", ["</script><script>alert(1)</script>", "<!--<script>", "\u2028 é \U0001f600"])
def test_the_text_of_a_recording_cannot_leave_its_element(static: Path, hole: str) -> None:
    whole = replace(made(), begun=msgspec.structs.replace(made().begun, hole=hole))
    text = page.replay(recording.write(whole), "add.py", static)
    [data] = re.findall(r'<script type="application/json" id="recording">([^<]*)</script>', text)
    assert recording.read(data.encode()) == whole


# The picture


def drawn(whole: Recording) -> ElementTree.Element:
    return ElementTree.fromstring(svg.animated(whole))


def said(element: ElementTree.Element) -> str:
    return "\n".join("".join(line.itertext()) for line in element.iter(f"{SVG}text"))


def test_the_picture_shows_every_step_and_ends_with_what_is_offered() -> None:
    whole = made()
    root = drawn(whole)
    groups = root.findall(f"{SVG}g")
    moments = [said(group) for group in groups]
    per_track = 1 + len(whole.frames) + 1
    assert len(groups) == 2 * per_track
    last = [group for group in groups if "last" in group.attrib["class"].split()]
    assert last == [groups[per_track - 1], groups[-1]]
    assert f"    {''.join(WORDS)}" in moments[per_track - 1]
    assert "step 2, 20 ms" in moments[2]
    [one, *_] = [span.attrib["class"] for span in groups[1].iter(f"{SVG}tspan") if span.text == " b"]
    assert one == "e2"
    assert {span.attrib["class"] for span in groups[4].iter(f"{SVG}tspan") if span.text in WORDS} == {"fg"}
    everything = said(root)
    assert "def add(a, b):" in everything
    assert "print(add(1, 2))" in everything
    assert "left to right by painter" in everything


def test_the_text_that_was_there_is_struck_out_before_the_first_step() -> None:
    whole = made()
    groups = drawn(replace(whole, begun=msgspec.structs.replace(whole.begun, hole="  a - b\n  c"))).findall(f"{SVG}g")
    struck = [span.text for span in groups[0].iter(f"{SVG}tspan") if span.attrib["class"] == "old"]
    assert struck == ["a - b", "c"]
    assert "before" in said(groups[0])


def test_every_group_of_the_picture_has_its_time_and_the_times_are_in_order() -> None:
    root = drawn(made())
    style = "".join(text for each in root.iter(f"{SVG}style") for text in each.itertext())
    assert "prefers-color-scheme:dark" in style
    assert "prefers-reduced-motion:reduce" in style
    starts = [float(share) for share in re.findall(r"([\d.]+)%\{visibility:visible\}", style)]
    half = len(starts) // 2
    for track in (starts[:half], starts[half:]):
        assert track == sorted(track)
        assert track[0] == 0.0
        assert track[-1] < 100
    assert len(starts) == len(root.findall(f"{SVG}g"))
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in ("svg", "title", "desc", "style", "rect", "g", "text", "tspan")


def test_a_long_fill_is_drawn_in_some_of_its_steps() -> None:
    root = drawn(replace(made(steps=500), beside=None))
    assert len(root.findall(f"{SVG}g")) == 50
    assert "step 500," in said(root)


def test_a_fill_that_failed_is_drawn_as_far_as_it_came() -> None:
    whole = replace(made(), outcome=Failed("It failed."), beside=None)
    assert "It failed." in said(drawn(whole))
    assert "It failed." in said(drawn(replace(whole, frames=())))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
cells = st.builds(Cell, texts, st.floats(0, 20), st.sampled_from("pso"), st.integers(0, 9), st.just(()))
holes = st.lists(st.lists(cells, max_size=4).map(tuple), min_size=1, max_size=2).map(tuple)
frames = st.lists(
    st.builds(
        Picture,
        st.floats(0, 1e6),
        st.integers(0, 99),
        st.lists(st.builds(Row, st.integers(0, 3), st.just("denoised"), st.booleans(), holes), max_size=2).map(tuple),
    ),
    max_size=3,
).map(tuple)


@given(texts, texts, texts, frames)
def test_any_text_makes_a_picture_and_a_recording(prefix: str, suffix: str, name: str, frames: Any) -> None:
    settings = recording.Settings(1.0, None, None, 0)
    begun = Begun(name, "", "m", "cpu", prefix, ("\n",), suffix, "", settings)
    whole = Recording(begun, frames, Failed(name), Beside("m", frames))
    assert recording.read(recording.write(whole)) == whole
    drawn(whole)


# `palimpsest canvas record`


class Command:
    """Runs `palimpsest canvas record` in this process over a painter; `settings` is what the engine was opened with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.engine = folder, Painter()
        self.settings: list[EngineSettings] = []
        self.file = folder / "add.py"
        self.file.write_text(TEXT)

    def __call__(self, *arguments: object) -> Result:
        def open_engine(settings: EngineSettings) -> Painter:
            self.settings.append(settings)
            return self.engine

        return CliRunner().invoke(command, ["record", *map(str, arguments)], obj=open_engine)


@pytest.fixture
def record(tmp_path: Path, static: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setattr(page.replay, "__defaults__", (static,))
    return Command(tmp_path)


@pytest.mark.parametrize("kind", ["json", "html", "svg", "HTML"])
@pytest.mark.parametrize("beside", [True, False])
def test_one_file_is_written_and_the_document_stays(record: Command, kind: str, beside: bool) -> None:
    out = record.folder / f"fill.{kind}"
    out.write_text("old")
    ended = record(record.file, "--at", "2:5", "-o", out, "--seed", "9", *(["--beside"] if beside else []))
    assert ended.exit_code == 0, ended.output
    assert record.file.read_text() == TEXT
    assert [request.seed for request in record.engine.requests] == [9] * (1 + beside)
    assert [request.left_to_right for request in record.engine.requests] == [False, True][: 1 + beside]
    assert out.stat().st_mode & 0o777 == record.file.stat().st_mode & 0o777
    text = out.read_text(encoding="utf-8")
    assert str(record.folder) not in text
    if kind == "svg":
        ElementTree.fromstring(text)
        return
    if kind != "json":
        [text] = re.findall(r'id="recording">([^<]*)</script>', text)
    found = recording.read(text.encode())
    assert (found.begun.name, len(found.frames), found.beside is not None) == ("add.py", 4, beside)
    assert record.engine.closed


def test_the_options_reach_the_engine(record: Command) -> None:
    options = ["--steps", "5", "--strength", "0.5", "--temperature", "0", "--sizes", "4,8", "--model", "m"]
    assert record(record.file, "--range", "1:1", "-o", record.folder / "a.json", *options).exit_code == 0
    [request], [settings] = record.engine.requests, record.settings
    assert (request.max_steps, request.strength, request.temperature, request.sizes) == (5, 0.5, 0.0, (4, 8))
    assert request.holes == (Span(0, len("def add(a, b):")),)
    assert settings.checkpoint == "m"


def test_the_first_hole_of_the_file_is_filled_if_no_place_is_named(record: Command) -> None:
    record.file.write_text("a = <|hole|>\nb = <|hole|>\n")
    assert record(record.file, "-o", record.folder / "a.json").exit_code == 0
    [request] = record.engine.requests
    assert (request.text, request.holes) == ("a = \nb = \n", (Span(4, 4),))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["no-such.py", "--at", "1:1", "-o", "a.svg"], 10, "there is no file"),
        (["add.py", "--at", "99:1", "-o", "a.svg"], 13, "lines 1 to 5"),
        (["add.py", "--at", "1:99", "-o", "a.svg"], 13, "columns 1 to"),
        (["add.py", "-o", "a.svg"], 1, "there is no hole"),
        (["add.py", "--at", "1:1", "-o", "no/such/a.svg"], 1, "there is no folder"),
        (["add.py", "--at", "1:1", "-o", "a.gif"], 2, "ends with"),
        (["add.py", "--at", "1:1", "-o", "folder.svg"], 2, "is a directory"),
        (["add.py", "--at", "1:1", "--range", "1:1", "-o", "a.svg"], 2, "one of --at and --range"),
        (["add.py", "--at", "1:1"], 2, "Missing option"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    record: Command, arguments: list[str], code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from palimpsest_server.cli import main

    monkeypatch.chdir(record.folder)
    (record.folder / "folder.svg").mkdir()
    before = sorted(record.folder.iterdir())
    monkeypatch.setattr("palimpsest_server.cli._Commands.get_command", lambda self, ctx, name: command)
    ended = CliRunner().invoke(main, ["canvas", "record", *arguments], obj=lambda settings: record.engine)
    assert (ended.exit_code, words in ended.output) == (code, True), ended.output
    assert not record.engine.requests
    assert sorted(record.folder.iterdir()) == before


def test_an_error_of_the_engine_ends_the_command_and_leaves_the_file(record: Command) -> None:
    record.engine.error = OutOfMemory("there is not enough memory")
    out = record.folder / "fill.html"
    out.write_text("old")
    ended = record(record.file, "--at", "2:5", "-o", out)
    assert isinstance(ended.exception, OutOfMemory)
    assert out.read_text() == "old"
