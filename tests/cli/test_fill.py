from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import OutOfMemory, Span
from palimpsest_server.cli import fill, main, report, shown

from .conftest import Palimpsest

CODE = b'def first(names):\n    """The shortest."""\n    ...\n\n\nprint(first(["a"]))\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.py"
    path.write_bytes(CODE)
    return path


def filled(palimpsest: Palimpsest, path: Path, text: bytes, script: str, *where: str) -> bytes:
    path.write_bytes(text)
    palimpsest.script = [script]
    result = palimpsest("fill", path, *where, "--write")
    assert result.exit_code == 0, result.output
    return path.read_bytes()


@pytest.mark.parametrize(
    ("where", "text", "expected"),
    [
        ("--at 1:1", b"", b"X"),
        ("--at 1:1", b"ab\n", b"Xab\n"),
        ("--at 1:3", b"ab\n", b"abX\n"),
        ("--at 2:1", b"ab\n", b"ab\nX"),
        ("--at 1:3", b"ab\r\ncd", b"abX\r\ncd"),
        ("--at 2:3", b"ab\r\ncd", b"ab\r\ncdX"),
        ("--at 2:1", b"ab\rcd", b"ab\rXcd"),
        ("--at 1:2", "😀é\n".encode(), "😀Xé\n".encode()),
        ("--at 1:2", b"\t\tx", b"\tX\tx"),
        ("--at 1:1", b"\xef\xbb\xbfab\n", b"\xef\xbb\xbfXab\n"),
        ("--at 1:3", "a\u2028b\x0cc\n".encode(), "a\u2028Xb\x0cc\n".encode()),
        ("--range 1:1", b"ab\ncd\nef", b"X\ncd\nef"),
        ("--range 2:3", b"ab\r\ncd\r\nef\r\n", b"ab\r\nX\r\n"),
        ("--range 3:3", b"ab\ncd\n", b"ab\ncd\nX"),
        ("--range 1:2-2:2", b"ab\ncd\n", b"aXd\n"),
        ("--range 2:3-2:3", b"ab\ncd\n", b"ab\ncdX\n"),
        ("--holes", b"a = <|hole|>\r\nb = <|hole|>", b"a = X\r\nb = X"),
    ],
)
def test_the_named_place_is_written(
    palimpsest: Palimpsest, tmp_path: Path, where: str, text: bytes, expected: bytes
) -> None:
    assert filled(palimpsest, tmp_path / "a.txt", text, "X", *where.split()) == expected


@pytest.mark.parametrize("form", [(), ("--json",), ("--summary",), ("--watch",), ("--write",)])
def test_a_model_of_other_languages_fills_nothing_unless_the_user_insists(
    palimpsest: Palimpsest, tmp_path: Path, form: tuple[str, ...]
) -> None:
    path = tmp_path / "sum.js"
    path.write_text("function sum(a, b) {\n  return \n}\n")
    palimpsest.script, palimpsest.script_settings = ["a + b;"], {"languages": ["python"]}
    why = "the checkpoint scripted was trained on python only; this document is javascript by the name of its file"
    result = palimpsest("fill", path, "--at", "2:10", *form)
    assert (result.exit_code, result.stdout) == (25, "")
    assert result.stderr.endswith(f"palimpsest: nothing is offered: {why}; --any-language fills it all the same\n")
    assert path.read_text() == "function sum(a, b) {\n  return \n}\n"
    result = palimpsest("fill", path, "--at", "2:10", "--any-language", *form)
    assert result.exit_code == 0
    assert f"palimpsest: {why}\n" in result.stderr
    assert "a + b;" in result.stdout
    result = palimpsest("fill", path, "--at", "2:10", "--language", "Python", *form)
    assert (result.exit_code, "trained" in result.stderr) == (0, False)


TEXTS = st.text(st.sampled_from("ab \t\r\n😀é\u2028\x0c\ufeff"), max_size=30)


@given(bom=st.booleans(), kept=st.lists(TEXTS, min_size=2, max_size=4), new=st.text("x 😀é\t\u2028", min_size=1))
def test_every_byte_outside_the_holes_is_kept(
    tmp_path_factory: pytest.TempPathFactory, bom: bool, kept: list[str], new: str
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.txt"
    mark = "\ufeff" if bom else ""
    data = (mark + "<|hole|>".join(kept)).encode()
    assert filled(Palimpsest(), path, data, new, "--holes") == (mark + new.join(kept)).encode()


@given(text=TEXTS, place=st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_a_place_is_in_the_text_or_refused(text: str, place: tuple[int, int]) -> None:
    from palimpsest_engine.errors import PositionOutside
    from palimpsest_server.cli.places import Place, span_of

    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    line, column = place
    inside = 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1
    if not inside:
        with pytest.raises(PositionOutside):
            span_of(text, Place(line, column))
        return
    span = span_of(text, Place(line, column))
    assert span.start == span.end
    before = text[: span.start].replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert (len(before), len(before[-1]) + 1) == place


def test_a_fill_takes_the_line_ends_of_its_file(palimpsest: Palimpsest, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    assert filled(palimpsest, path, b"a\r\nb\r\n", "x\ny", "--range", "2:2") == b"a\r\nx\r\ny\r\n"


def test_without_write_the_file_is_unchanged(palimpsest: Palimpsest, file: Path) -> None:
    result = palimpsest("fill", file, "--holes")
    assert file.read_bytes() == CODE
    assert "-    ...\n+    return 1\n" in result.stdout
    assert result.stderr == ""


def test_the_request_has_the_given_options(palimpsest: Palimpsest, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    ask = fill.engines.ask
    monkeypatch.setattr(fill.engines, "ask", lambda engine, request: (seen.append(request), ask(engine, request))[1])
    options = "--seed 7 --steps 9 --sizes 8,16,8 --strength 0.5 --model some --device cuda:1"
    assert palimpsest("fill", file, "--at", "2:1", *options.split()).exit_code == 0
    (request,) = seen
    assert (request.seed, request.max_steps, request.sizes, request.strength) == (7, 9, (8, 16), 0.5)
    assert (request.path, request.language, request.holes) == (str(file), None, (Span(18, 18),))
    (settings,) = palimpsest.opened
    assert (settings.checkpoint, settings.device) == ("some", "cuda:1")


DIFFS = [
    (b"a\nb\nc\n", "--range 2:2"),
    (b"a\nb", "--range 2:2"),
    (b"a\nb", "--range 1:1"),
    (b"", "--at 1:1"),
    (b"a\r\nb\r\n", "--range 1:1"),
    (b"\xef\xbb\xbfa\nb\n", "--range 1:1"),
    (b"a\x0cb\n\tc\xe2\x80\xa8d\n", "--at 2:2"),
    (b"".join(b"%d\n" % n for n in range(40)).replace(b"\n20\n", b"\n<|hole|>\n"), "--holes"),
]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize(("text", "where"), DIFFS)
@pytest.mark.parametrize("script", ["X", "X\n", "X\nY"])
def test_git_can_apply_the_diff(
    palimpsest: Palimpsest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: bytes,
    where: str,
    script: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("a.py")
    path.write_bytes(text)
    palimpsest.script = [script]
    diff = palimpsest("fill", path, *where.split()).stdout_bytes
    subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], input=diff, check=True)
    applied = path.read_bytes()
    assert filled(palimpsest, path, text, script, *where.split()) == applied


@pytest.mark.parametrize(
    ("name", "header"),
    [
        (b"b\xff.py", r'"a/b\377.py"'),
        (b"e\x1b]0;title\x07.py", r'"a/e\033]0;title\a.py"'),
        ("é \u202e.py".encode(), r'"a/é \342\200\256.py"'),
        (b'"q\\.py', r'"a/\"q\\.py"'),
        (b"two\nlines.py", r'"a/two\nlines.py"'),
        ("漢.py".encode(), "a/漢.py"),
    ],
)
def test_a_file_of_any_name_is_written_and_named_without_harm(
    palimpsest: Palimpsest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes, header: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = os.fsdecode(name)
    Path(path).write_bytes(b"x = \n")
    result = palimpsest("fill", path, "--at", "1:5", "--write")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, f"--- {header}")
    assert Path(path).read_bytes() == b"x = return 1\n"
    Path(path).write_bytes(b"x = \n")
    assert json.loads(palimpsest("fill", path, "--at", "1:5", "--json").stdout)["file"] == path
    Path("the.diff").write_bytes(palimpsest("fill", path, "--at", "1:5").stdout_bytes)
    subprocess.run(["git", "apply", "the.diff"], check=True)
    assert Path(path).read_bytes() == b"x = return 1\n"
    Path(path).unlink()
    gone = palimpsest("fill", path, "--at", "1:5")
    assert gone.exit_code == 10
    assert gone.stderr.count("\n") - name.count(b"\n") == 1
    assert gone.stderr.replace("\n", "").isprintable()


def test_a_fill_of_what_is_there_says_so(palimpsest: Palimpsest, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\ny = 2\n")
    palimpsest.script = ["y = 2"]
    result = palimpsest("fill", path, "--range", "2:2", "--write")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"palimpsest: {shown.SAME}\n"


def test_the_written_file_is_said_with_the_number_of_holes(palimpsest: Palimpsest, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("def f():\n    ...\n\n\ndef g():\n    pass\n")
    palimpsest.script = ["pass"]
    result = palimpsest("fill", path, "--holes", "--write")
    assert result.stderr == f"palimpsest: {path} is written, 1 of 2 holes filled\n"
    assert "..." not in path.read_text()


@pytest.mark.parametrize(
    ("terminal", "variables", "colored"), [(True, {}, True), (True, {"NO_COLOR": "1"}, False), (False, {}, False)]
)
def test_a_diff_has_colours_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    terminal: bool,
    variables: dict[str, str],
    colored: bool,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm-256color", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    text = report.unified_diff("a.py", "x = 1\n", "x = '\x1b[31m'\n")
    shown.diff(text)
    printed = capsys.readouterr().out
    assert ("\x1b[32m+x" in printed) == colored
    assert ("\x1b[31m'" in printed) != terminal, "what the text says is no command to the terminal"
    assert terminal or printed == text


def test_an_empty_fill_is_reported_and_not_written(palimpsest: Palimpsest, file: Path) -> None:
    palimpsest.script = [""]
    result = palimpsest("fill", file, "--holes", "--write")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "palimpsest: nothing is offered: the script has nothing here\n"
    assert file.read_bytes() == CODE


def test_a_file_without_holes_needs_no_engine(palimpsest: Palimpsest, tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    result = palimpsest("fill", path, "--holes", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["reason"].startswith(f"there is no hole in {path}; mark one with")
    assert palimpsest.opened == []


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--at 1:1 --holes",
        "--at 1:1 --range 1:1",
        "--at 1",
        "--at 1:1:1",
        "--at -1:1",
        "--at ١:١",
        "--range 3:2",
        "--range 2:2-1:1",
        "--range 1-2",
        "--holes --sizes 0",
        "--holes --sizes 8,",
        "--holes --seed -1",
        "--holes --strength 0",
        "--holes --strength 1.5",
        "--holes --steps 0",
        "--holes --device gpu",
    ],
)
def test_usage_errors_touch_nothing(palimpsest: Palimpsest, file: Path, arguments: str) -> None:
    result = palimpsest("fill", file, *arguments.split(), "--write")
    assert result.exit_code == 2
    assert palimpsest.opened == []
    assert file.read_bytes() == CODE


@pytest.mark.parametrize(
    ("name", "content", "options", "code", "sentence"),
    [
        ("nowhere.py", None, "--holes", 10, "there is no file "),
        ("a.py/b.py", None, "--holes", 10, "there is no file "),
        (".", None, "--holes", 10, "is a folder, not a file"),
        ("a.py", b"a\0b", "--holes", 11, "is not a text file: it has NUL bytes"),
        ("a.py", b"a\nb\xff", "--holes", 12, "is not UTF-8: line 2 has a byte 0xff"),
        ("a.py", b"\xef\xbb\xbf\n\xe9", "--holes", 12, "line 2 has a byte 0xe9"),
        ("a.py", b"ab\n", "--at 3:1", 13, "the file has lines 1 to 2, but not 3"),
        ("a.py", b"ab\n", "--at 1:4", 13, "line 1 has columns 1 to 3, but not 4"),
        ("a.py", b"ab\n", "--at 0:1", 13, "lines 1 to 2, but not 0"),
        ("a.py", b"ab\n", "--at 1:0", 13, "columns 1 to 3, but not 0"),
        ("a.py", b"ab\n", "--range 1:9", 13, "lines 1 to 2, but not 9"),
        ("a.py", b"ab\n", "--range 1:1-2:2", 13, "line 2 has columns 1 to 1, but not 2"),
        ("a.py", b"ab\n", "--at 1:1 --language klingon", 31, "there is no grammar for 'klingon'"),
    ],
)
def test_documents_that_cannot_be_filled(
    palimpsest: Palimpsest,
    tmp_path: Path,
    name: str,
    content: bytes | None,
    options: str,
    code: int,
    sentence: str,
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    elif "/" in name:
        (tmp_path / "a.py").write_bytes(b"")
    result = palimpsest("fill", tmp_path / name, *options.split())
    assert (result.exit_code, result.stdout) == (code, "")
    assert sentence in result.stderr
    assert result.stderr.startswith("palimpsest: ")
    assert result.stderr.count("\n") == 1
    assert palimpsest.opened == []


def test_an_error_of_the_engine_ends_with_its_code(palimpsest: Palimpsest, file: Path) -> None:
    palimpsest.script_settings = {"error": OutOfMemory("it needs 9 GiB and 2 GiB are free")}
    result = palimpsest("fill", file, "--holes", "--write")
    assert (result.exit_code, result.stderr) == (30, "palimpsest: it needs 9 GiB and 2 GiB are free\n")
    assert file.read_bytes() == CODE


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_embedded_checkpoint_answers_if_that_is_wanted(file: Path) -> None:
    def run(*options: str) -> Result:
        return CliRunner().invoke(main, ["fill", str(file), "--holes", "--device", "cuda", *options])

    refused, answered = run(), run("--fallback", "--json")
    assert (refused.exit_code, refused.stdout) == (33, "")
    assert "fallback" in refused.stderr
    assert answered.exit_code == 0
    assert json.loads(answered.stdout)["model"] == "palimpsest-py-6m"
    assert answered.stderr.startswith("palimpsest: The embedded checkpoint answers. ")


def test_a_bug_is_one_sentence_and_with_debug_a_traceback(palimpsest: Palimpsest, file: Path) -> None:
    palimpsest.script_settings = {"error": ZeroDivisionError("by\nzero")}
    palimpsest.open_engine = lambda settings: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    result = palimpsest("fill", file, "--holes")
    assert result.exit_code == 70
    assert result.stderr.count("\n") == 1
    assert "ZeroDivisionError" in result.stderr
    shown = palimpsest("--debug", "fill", file, "--holes")
    assert shown.exit_code == 70
    assert "Traceback" in shown.stderr


def test_json_follows_its_schema(palimpsest: Palimpsest, tmp_path: Path) -> None:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(report.SCHEMA)
    path = tmp_path / "a.py"
    path.write_text("😀 = <|hole|>\nb = 1 # <|hole|>\n")
    palimpsest.script_settings = {"steps": 3}
    answer = json.loads(palimpsest("fill", path, "--holes", "--json", "--seed", 5).stdout)
    jsonschema.validate(answer, report.SCHEMA)
    assert (answer["seed"], answer["nfe"], answer["model"], answer["language"]) == (
        5,
        3,
        "scripted",
        "python",
    )
    assert (answer["written"], answer["settled"], answer["encoding"]) == (False, True, "utf-16")
    assert answer["edits"] == [
        {
            "range": {"start": {"line": 0, "character": 5}, "end": {"line": 0, "character": 13}},
            "text": "return 1",
        },
        {
            "range": {"start": {"line": 1, "character": 8}, "end": {"line": 1, "character": 16}},
            "text": "return 1",
        },
    ]
    assert json.loads(palimpsest("fill", path, "--holes", "--json", "--write").stdout)["written"] is True
    palimpsest.script = [""]
    path.write_text("<|hole|>")
    nothing = palimpsest("fill", path, "--holes", "--json", "--write")
    answer = json.loads(nothing.stdout)
    jsonschema.validate(answer, report.SCHEMA)
    assert (nothing.exit_code, answer["edits"], answer["written"]) == (1, [], False)
