"""The one command for a GPU, rehearsed on the CPU: every item runs, the time is kept, and the page has its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton

from palimpsest_bench.engine import peers
from palimpsest_bench.gpu import __main__ as command
from palimpsest_bench.gpu import report, run, worker
from palimpsest_bench.gpu.run import PARTS, Part

pytest.importorskip("triton")
PAGE = (Path(__file__).parents[2] / "docs" / "performance.md").read_text("utf-8")
# What the command has to do without: a borrowed machine has torch and transformers, and not all that we need elsewhere.
ELSEWHERE = ("pygls", "lsprotocol", "cattrs", "tree_sitter", "gguf", "platformdirs", "matplotlib", "peft")


@pytest.mark.parametrize(
    "part", [part.name for part in PARTS if part.name not in ("step int4", "step fp8", "step int8")]
)
def test_a_rehearsal_measures_every_item(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)  # compiling the library's path takes too long here
    lines = list(worker.rows(part, rehearse=True))
    rows = [line["row"] for line in lines if "row" in line]
    assert [line["begin"] for line in lines if "begin" in line] == [row["name"] for row in rows]
    if part == "step":
        assert "C++ compiler" in rows.pop()["error"]
    assert [row for row in rows if "error" in row or not row.get("ok", True)] == []
    assert json.loads(json.dumps(lines)) == lines
    tables = report.markdown({"rehearsal": True, "parts": {part: {"rows": rows}}})
    assert all(row["name"] in tables for row in rows if "off" in row)


def test_nothing_but_torch_and_what_it_brings_is_needed() -> None:
    program = f"""
        import sys
        sys.modules |= dict.fromkeys({ELSEWHERE!r})  # as if they were not installed
        sys.argv.append("--rehearse")
        import palimpsest_bench.gpu.__main__
        assert "torch" not in sys.modules
        from palimpsest_bench.gpu import worker
        for part in ("machine", "parity", "step int8", "kernels", "left to right"):
            place, items = worker.items(part, True, float("inf"))
            print(*(items[name](place) for name in list(items)[:2]))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_package_is_named_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(run, "NEEDED", ("torch", "no_such_package"))
    assert command.main([]) == 2
    assert capsys.readouterr().err == "palimpsest: not installed here: no_such_package\n"


STAND_IN = """
import json, os, sys
part, after = sys.argv[1], next((each[8:] for each in sys.argv if each.startswith("--after=")), None)
items = {"machine": ["what it is"], "steady": ["one", "two"], "crashing": ["one", "crash", "two"],
         "hanging": ["one", "hang", "two"], "losing": ["one", "lose", "two"], "broken": []}[part]
def say(line):
    print(json.dumps(line), flush=True)
if part == "broken":
    sys.exit("it cannot be imported")
for name in items[items.index(after) + 1 if after else 0:]:
    say({"begin": name})
    if name == "crash":
        os._exit(7)
    if name == "hang":
        sys.stdin.read(); __import__("signal").pause()
    say({"row": {"name": name, "ms": 1.0, "low": 1.0, "high": 2.0} | ({"error": "lost"} if name == "lose" else {})})
    if name == "lose":
        sys.exit(3)
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "worker.py").write_text(STAND_IN)
    return sys.executable, str(tmp_path / "worker.py")


def ran(stand_in: tuple[str, str], output: Path, *parts: Part, minutes: float = 9) -> dict:
    return run.run(minutes, False, output, lambda line: None, parts, stand_in)["parts"]


@pytest.mark.parametrize(
    ("part", "item", "error"),
    [
        ("crashing", "crash", "its process ended with 7"),
        ("hanging", "hang", "it took longer than 1 s"),
        ("losing", "lose", "lost"),
    ],
)
def test_an_item_that_ends_its_process_does_not_stop_the_next_one(
    stand_in: tuple[str, str], tmp_path: Path, part: str, item: str, error: str
) -> None:
    share = run.MINUTES * 60 / (run.MINUTES * 60 - 3)  # one second of nine minutes, the end of which is kept free
    found = ran(stand_in, tmp_path / "gpu.json", Part(part, 60, item=share), Part("steady", 60))
    assert [row["name"] for row in found[part]["rows"]] == ["one", item, "two"]
    assert found[part]["rows"][1]["error"] == error
    assert "failed" not in found[part]
    assert [row["name"] for row in found["steady"]["rows"]] == ["one", "two"]


def test_a_part_ends_with_its_time_and_the_next_one_has_its_own(stand_in: tuple[str, str], tmp_path: Path) -> None:
    begun = time.monotonic()
    found = ran(stand_in, tmp_path / "gpu.json", Part("hanging", 2), Part("steady", 300))
    assert found["hanging"]["failed"] == "the time was up"
    assert found["hanging"]["rows"][-1] in ({"name": "hang", "ok": False, "error": "the time was up"},)
    assert [row["name"] for row in found["steady"]["rows"]] == ["one", "two"]
    assert time.monotonic() - begun < 300


def test_every_row_is_in_the_file_before_the_next_one_begins(stand_in: tuple[str, str], tmp_path: Path) -> None:
    output, seen = tmp_path / "gpu.json", []

    def say(line: str) -> None:
        parts = json.loads(output.read_text())["parts"] if output.exists() else {}
        seen.append(sum(len(about["rows"]) for about in parts.values()))

    run.run(9, False, output, say, [Part("machine", 60), Part("steady", 60)], stand_in)
    assert seen == [0, 1, 2]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["gpu.json", "gpu.log", "worker.py"]


@pytest.mark.parametrize(
    ("program", "given_up"),
    [
        ("import sys; sys.exit('torch cannot be imported')", True),
        (STAND_IN.replace('"ms": 1.0', '"error": "no GPU"'), True),
        ("import signal; signal.pause()", False),
    ],
    ids=["broken", "no GPU", "slow"],
)
def test_a_machine_without_a_gpu_is_given_up_at_once(
    stand_in: tuple[str, str], tmp_path: Path, program: str, given_up: bool
) -> None:
    Path(stand_in[1]).write_text(program)
    found = ran(stand_in, tmp_path / "gpu.json", Part("machine", 1), Part("steady", 1))
    assert ("steady" not in found) == given_up


def test_the_error_without_a_gpu_says_how_to_rehearse() -> None:
    row = list(worker.rows("machine", rehearse=False))[1]["row"]
    assert "--rehearse" in row.get("error", "") or row["gpu"]


def test_the_parts_have_nine_minutes_together_and_the_most_important_come_first() -> None:
    assert sum(part.seconds for part in PARTS) == 540
    assert [part.name for part in PARTS][:3] == ["machine", "parity", "step"]


def test_the_page_has_the_table_of_the_command() -> None:
    block = PAGE.partition("<!-- gpu -->\n")[2].partition("\n<!-- /gpu -->")[0]
    table = report.figures({})
    names = [line.split(" | ")[0].removeprefix("| ") for line in block.splitlines() if line.startswith("| ")]
    assert names == [table.head[0], *(row[0] for row in table.rows)]
    assert block.startswith(f"**{table.title}**")


def test_a_saved_file_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [{"name": "sampler", "off": 0.5, "most": 0.002, "ok": False}]
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"format": 1, "rehearsal": False, "parts": {"parity": {"rows": rows}}}))
    assert command.main(["--from", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "| sampler | 0.5 | 0.002 | **no** |" in shown
    assert "| step int8 | not begun |" in shown
