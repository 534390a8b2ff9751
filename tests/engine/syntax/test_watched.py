"""The process that parses: what is asked there is answered as here, and no text ends or holds up this process.

The texts that kill or hang are those of attacks on an earlier version, which parsed in the process that asks.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest

import palimpsest_engine
from palimpsest_engine.request import FillRequest, Span
from palimpsest_engine.syntax import gate, outline, process, watched
from palimpsest_engine.syntax.grammars import languages

FIXTURES = Path(__file__).parents[3] / "fixtures"
PATIENCE = 60_000.0  # ms: no answer here may depend on how fast the machine is
KILLERS = {
    "lists": ("yaml", "- " * 260 + "a"),
    "keys": ("yaml", "".join(" " * depth + "a:\n" for depth in range(300))),
    "questions": ("yaml", "? " * 400 + "a"),
    "colons": ("yaml", ": " * 400 + "a"),
    "indents": ("python", "".join(" " * depth + '"...=\n' for depth in range(400))),
}
SLOW = {
    "joined lines": ("python", "\\\n" * 30_000),
    "sets": ("javascript", "/[" * 30_000),
    "comments": ("html", "<!--" * 15_000),
    "quotes": ("ruby", "%q(" * 20_000),
    "long strings": ("lua", "[[" * 30_000),
    "types": ("csharp", "a<" * 30_000),
    "heredocs": ("bash", "<<-A\n" * 12_000),
    "not": ("css", "a:not(" * 10_000),
}


@pytest.fixture(autouse=True)
def worker(monkeypatch):
    """A process of the test's own: what is lost in one test rests in no other."""
    own = process.Process()
    monkeypatch.setattr(process, "WORKER", own)
    monkeypatch.setattr(watched, "MARGIN", PATIENCE / 1000)
    yield own
    own.end()


@pytest.mark.parametrize("language", languages())
def test_the_answers_from_there_are_those_from_here(language):
    for case in tomllib.loads((FIXTURES / "syntax" / f"{language}.toml").read_text("utf-8"))["case"]:
        pieces = case["text"].replace("⟧", "⟦").split("⟦")
        text, holes, at = "".join(pieces), [], 0
        for i, piece in enumerate(pieces):
            holes += [Span(at, at + len(piece))] if i % 2 else []
            at += len(piece)
        fills = tuple(case.get("fills", None) or [case["fill"]])
        here = gate.SyntaxGate(text, tuple(holes), language, PATIENCE)
        there = watched.SyntaxGate(text, tuple(holes), language, PATIENCE)
        assert (there.judge(fills), there.cut(fills)) == (here.judge(fills), here.cut(fills))
        expected = answers(outline.Outline(text, language, None, None, PATIENCE))
        assert answers(watched.Outline(text, language, None, None, PATIENCE)) == expected
        previous = watched.Outline(text[: len(text) // 2], language, budget_ms=PATIENCE)
        previous.imports()
        grown = watched.Outline(text, language, None, previous, PATIENCE)
        # The parse of a broken text depends on its history.
        assert answers(grown) == expected or judged_as_it_is(text, language) != "valid"


def judged_as_it_is(text: str, language: str) -> str:
    return gate.SyntaxGate(text, (Span(0, 0),), language, PATIENCE).judge(("",)).status


def answers(found: watched.Outline | outline.Outline) -> tuple[object, ...]:
    at = (0, 7, 30)
    return (
        *(found.kind_at(each) for each in at),
        *(found.body_at(each) for each in at),
        *(found.placeholders(), found.defects(Span(0, 1000)), found.imports(), found.definitions(), found.reason),
    )


@pytest.mark.parametrize("name", KILLERS)
def test_a_text_that_crashes_a_grammar_is_not_checked(worker, name):
    language, text = KILLERS[name]
    found = watched.Outline(text, language)
    assert (found.kind_at(3), found.placeholders(), found.defects(Span(0, 9))) == ("code", (), ())
    judged = watched.SyntaxGate(text, (Span(1, 1),), language)
    verdict = judged.judge(("x",))
    if found.reason:  # the grammar may be mended one day
        assert found.reason == f"the parser for {language} crashed"
        assert (verdict.status, verdict.reason) == ("not checked", f"a moment ago the parser for {language} crashed")
        assert judged.cut(("x\ny",)) is None
    assert watched.Outline("# a", language).kind_at(3) == "comment"
    assert watched.SyntaxGate("a: ", (Span(3, 3),), "yaml").judge(("1",)).status == "valid"


@pytest.mark.parametrize("name", SLOW)
def test_a_text_that_keeps_a_grammar_busy_is_not_checked(monkeypatch, worker, name):
    monkeypatch.setattr(watched, "MARGIN", 0.3)
    language, text = SLOW[name]
    warm = watched.SyntaxGate("a", (Span(1, 1),), language)
    warm._there._patience = 20.0
    warm.judge(("a",))
    start = time.monotonic()
    verdict = watched.SyntaxGate(text, (Span(0, 0),), language).judge(("x ",))  # no word behind it is joined
    assert time.monotonic() - start < 30  # minutes, if it is not ended; 0.5 on a machine that has nothing else to do
    assert verdict.status == "not checked"
    assert verdict.reason.startswith((f"parsing the {language} took over", f"the parser for {language} crashed"))


def test_such_a_text_costs_its_time_once_in_a_while(monkeypatch, worker):
    monkeypatch.setattr(watched, "MARGIN", 0.3)
    language, text = SLOW["joined lines"]
    assert watched.Outline(text, language, budget_ms=100).reason == "parsing the python took over 0.4 s"
    started, lost = worker.started, time.monotonic()
    for i in range(20):
        assert watched.Outline(text + str(i), language).reason == "a moment ago parsing the python took over 0.4 s"
    assert time.monotonic() - lost < process._REST
    assert worker.started == started
    assert watched.Outline("# a", language, budget_ms=PATIENCE).kind_at(3) == "comment"  # a small text is looked at
    monkeypatch.setattr(process, "monotonic", lambda: time.monotonic() + process._REST)
    assert watched.Outline("# a\n" * 10_000, language, budget_ms=PATIENCE).kind_at(3) == "comment"


def test_an_outline_outlives_the_process(worker):
    found, judged = watched.Outline("# a", "python"), watched.SyntaxGate("x = ", (Span(4, 4),), "python")
    for _ in range(3):
        assert found.kind_at(3) == "comment"
        assert judged.judge(("1",)).status == "valid"
        worker._process.kill()  # the system does so when memory is short
        worker._process.wait()
    assert worker.started == 3


def test_it_can_be_started_ahead(worker):
    palimpsest_engine.warm_parser()
    palimpsest_engine.warm_parser()
    assert watched.Outline("# a", "python").kind_at(3) == "comment"
    assert worker.started == 1


def test_it_is_told_what_is_not_needed_any_more(worker):
    previous = None
    for i in range(20):
        previous = watched.Outline(f"x = {i}\n", "python", None, previous)
        watched.Outline(f"y = {i}\n", "python").imports()
        previous.imports()
    assert previous._previous is None
    assert len(worker._forgotten) == 1


def test_unused_outlines_keep_no_chain_of_texts():
    first = watched.Outline("x = 1\n", "python")
    assert first.imports() == ()
    last = first
    for i in range(50):
        last = watched.Outline(f"x = {i}\n", "python", None, last)
    assert last._previous is first
    assert last.kind_at(0) == "code"
    assert last._previous is None


def test_every_thread_gets_its_answers(worker):
    found: dict[int, list[str]] = {}

    def ask(number: int) -> None:
        found[number] = []
        for i in range(10):
            language, text = KILLERS["lists"] if number == 0 and i % 5 == 0 else ("python", "x = 1\n" * 50 + "# a")
            found[number].append(watched.Outline(text, language, budget_ms=PATIENCE).kind_at(len(text)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == {0: (["code"] + ["comment"] * 4) * 2, **{i: ["comment"] * 10 for i in (1, 2, 3)}}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody says how long a process has worked")
def test_a_process_that_does_not_get_the_processor_is_waited_for(worker):
    assert watched.Outline("x", "python").kind_at(0) == "code"
    pid = worker._process.pid
    os.kill(pid, signal.SIGSTOP)
    resuming = threading.Timer(2.5, os.kill, (pid, signal.SIGCONT))
    resuming.start()
    found = watched.Outline("# x", "python")  # which may take two seconds
    assert (found.kind_at(3), found.reason) == ("comment", "")
    resuming.join()
    assert worker._process.pid == pid


def test_a_process_that_cannot_be_started_checks_nothing(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    verdict = watched.SyntaxGate("x", (Span(1, 1),), "python").judge(("",))
    assert verdict.status == "not checked"
    assert verdict.reason.startswith("the process that parses cannot be started: ")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    found = watched.Outline("# x", "python")
    assert found.kind_at(3) == "code"
    assert found.reason.startswith("the process that parses cannot be started: ")


def test_a_mistake_in_the_process_is_an_error_here(worker):
    broken = watched.Outline("x", "python")
    with pytest.raises(RuntimeError, match="KeyError"):
        broken._ask(None, "no such question")
    assert broken.kind_at(0) == "code"


@pytest.mark.parametrize("busy", [False, True])
def test_the_process_ends_with_its_parent(tmp_path, busy):
    code = f"""
import os, threading, time
from palimpsest_engine.syntax import process, watched
watched.Outline("x", "lua").kind_at(0)
print(process.WORKER._process.pid, flush=True)
if {busy}:
    process.MARGIN = watched.MARGIN = 0.5
    threading.Thread(target=watched.Outline({"[[" * 30_000!r}, "lua", budget_ms=0).kind_at, args=(0,)).start()
    time.sleep(0.2)
os.kill(os.getpid(), 9)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    pid, until = int(run.stdout), time.monotonic() + 20
    while runs(pid):
        assert time.monotonic() < until
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Tell whether a process has not ended; it may do so while this is read."""
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_no_module_of_the_folder_runs(tmp_path):
    for name in ("json", "socket", "marshal", "runpy", "tree_sitter", "sitecustomize", "palimpsest_engine"):
        (tmp_path / f"{name}.py").write_text("open('was-run', 'w')")
    code = "from palimpsest_engine.syntax import watched; print(watched.Outline('# x', 'python').kind_at(3))"
    start = [sys.executable, "-P", "-c", code]
    assert subprocess.run(start, capture_output=True, text=True, cwd=tmp_path, check=True).stdout == "comment\n"
    assert not (tmp_path / "was-run").exists()


def test_asking_imports_no_grammar_and_no_torch_here():
    code = (
        "import sys; before = set(sys.modules); "  # what measures coverage imports some of its own
        "import palimpsest_engine as e; e.Outline('# x', 'python').kind_at(1);"
        "print(sorted({'tree_sitter', 'torch', 'transformers', 'multiprocessing'} & (set(sys.modules) - before)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_rest_of_the_promises_is_that_of_the_gate():
    with pytest.raises(ValueError, match="1 holes, but 2 texts"):
        watched.SyntaxGate("x = 1", (Span(0, 1),), "python").judge(("", ""))
    with pytest.raises(ValueError, match="holes must be sorted"):
        watched.SyntaxGate("x = 1", (Span(3, 3), Span(0, 1)), "python")
    assert watched.SyntaxGate("x", (Span(0, 1),), "cobol").judge(("y",)).reason == "there is no grammar for cobol"
    assert watched.Outline("x", "cobol").reason == "there is no grammar for cobol"
    request = FillRequest("x = ", (Span(4, 4),), language="python")
    assert palimpsest_engine.judge(request, ("1",)).status == "valid"
    lone = "\ud83d\ude00 = '\udcff'\n"  # three code points here, and there
    assert watched.Outline(lone + "# a", "python").kind_at(len(lone) + 1) == "comment"
    assert watched.SyntaxGate("", (Span(0, 0),), "python").cut((f"x = '{lone[6]}'\n)",)) == (f"x = '{lone[6]}'",)


def test_answers_are_the_same_where_no_process_can_be_handed_a_socket(monkeypatch):
    here = process.Process()
    monkeypatch.setattr(process, "_APART", False)
    monkeypatch.setattr(process, "WORKER", here)
    gate = watched.SyntaxGate("x = \n", (Span(4, 4),), "python")
    assert [gate.judge((text,)).status for text in ("1", "(")] == ["valid", "worse"]
    assert gate.cut(("1\n(",)) == ("1",)
    outline = watched.Outline("# a\ndef f():\n    ...\n", "python")
    assert outline.kind_at(2) == "comment"
    assert outline.placeholders() == (Span(17, 20),)
    assert watched.Mender("x = (1\n", "python").mend(Span(0, 7)) is not None
    assert here.started == 0
