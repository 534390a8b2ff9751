"""The thread that owns a model: whatever is raised on it ends one fill, not the thread; clients take turns on it."""

from __future__ import annotations

import json
import queue
import threading
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import palimpsest_engine
from palimpsest_engine import (
    EngineStatus,
    Fill,
    FillCancelled,
    FillRequest,
    PalimpsestError,
    QueueFull,
    Span,
    Verdict,
)
from palimpsest_engine.runtime.queued import QueuedEngine
from palimpsest_engine.runtime.turns import MOST

TOKENIZER = Path(palimpsest_engine.__file__).parent / "embedded" / "tokenizer.json"
PATIENCE = 60  # seconds


TEXT = "a b c d e f g h i j k l m"


class Panic(BaseException):
    """No Exception, as pyo3's PanicException."""


def panicking(folder: Path) -> Tokenizer:
    """Return a tokenizer that panics in Rust when it encodes a text, if a library still does so."""
    described = json.loads(TOKENIZER.read_text("utf-8"))
    described["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 4}
    (folder / "tokenizer.json").write_text(json.dumps(described))
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


class Answers:
    """Raises what the test says where the test says, and answers otherwise."""

    def __init__(self, raising: dict[str, BaseException], tokenizer: Tokenizer | None = None) -> None:
        self.raising, self.tokenizer = raising, tokenizer
        self.status = EngineStatus("ready", model="a")

    def do(self, what: str) -> None:
        if what in self.raising:
            raise self.raising[what]

    def open(self):
        self.do("open")

    def rehearse(self, cancelled):
        self.do("rehearse")

    def fill(self, request, cancelled):
        self.do(request.document)
        if self.tokenizer is not None and request.document == "panic":
            self.tokenizer.encode(TEXT)
        yield Fill(("x",), Verdict("valid"))

    def close(self):
        pass


@pytest.fixture
def engine():
    opened = []

    def make(raising, tokenizer=None):
        opened.append(QueuedEngine(lambda: Answers(raising, tokenizer), "opening", "working", "a-thread"))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def ask(engine, document=""):
    return engine.submit(FillRequest("a = ", (Span(4, 4),), document=document)).future.result(PATIENCE)


@pytest.mark.parametrize("error", [Panic("index out of range"), SystemExit(3), ValueError("no")])
def test_an_error_of_any_kind_ends_one_fill_only(engine, error):
    running = engine({"bad": error})
    for _ in range(3):
        with pytest.raises(PalimpsestError, match="The fill failed: "):
            ask(running, "bad")
        assert ask(running).texts == ("x",)
        assert running.status().state == "ready"


def test_a_panic_in_rust_ends_one_fill_only(engine, tmp_path):
    tokenizer = panicking(tmp_path)
    try:
        tokenizer.encode(TEXT)
    except BaseException as error:
        assert not isinstance(error, Exception)  # noqa: PT017
    else:
        pytest.skip("this version of the library does not panic here")
    running = engine({}, tokenizer)
    for _ in range(2):
        with pytest.raises(PalimpsestError, match="The fill failed: "):
            ask(running, "panic")
        assert ask(running).texts == ("x",)


def test_a_panic_on_opening_answers_every_request(engine):
    running = engine({"open": Panic("no such token")})
    for _ in range(2):
        with pytest.raises(PalimpsestError, match="The engine could not start: no such token"):
            ask(running)
    assert running.status() == EngineStatus("error", "The engine could not start: no such token", exit_code=1)


def test_a_panic_while_warming_up_is_logged(engine, caplog):
    running = engine({"rehearse": Panic("no")})
    running.warm()
    assert ask(running).texts == ("x",)


class OneAtATime:
    """Ends each fill when the test says so, and keeps the order in which they were begun."""

    def __init__(self) -> None:
        self.status = EngineStatus("ready", model="a")
        self.begun, self.may_end = [], threading.Semaphore(0)
        self.beginning = threading.Semaphore(0)

    def open(self):
        pass

    def rehearse(self, cancelled):
        pass

    def fill(self, request, cancelled):
        self.begun.append(request.client)
        self.beginning.release()
        while not self.may_end.acquire(timeout=0.001):
            if cancelled():
                raise FillCancelled("The fill was cancelled.")
        yield Fill((request.client,), Verdict("valid"))

    def close(self):
        self.begun.append("closed")

    def end(self, count=1):
        self.may_end.release(count)

    def wait_until_begun(self):
        assert self.beginning.acquire(timeout=PATIENCE)


@pytest.fixture
def work():
    return OneAtATime()


@pytest.fixture
def shared(work):
    running = QueuedEngine(lambda: work, "opening", "working", "a-thread")
    yield running
    running.close()


def submit(engine, client, document="", *, speculative=False):
    return engine.submit(FillRequest("", (Span(0, 0),), document=document, client=client, speculative=speculative))


def test_a_client_waits_for_one_fill_of_one_that_storms(shared, work):
    storm = [submit(shared, "storm") for _ in range(8)]
    work.wait_until_begun()
    quiet = submit(shared, "quiet")
    work.end(2)
    assert quiet.future.result(PATIENCE).texts == ("quiet",)
    work.end(7)
    assert all(each.future.result(PATIENCE).texts == ("storm",) for each in storm)
    assert work.begun == ["storm", "quiet", *["storm"] * 7]


def test_clients_with_as_much_to_ask_take_turns(shared, work):
    jobs = [submit(shared, client) for client in ["a"] * 3 + ["b"] * 3 + ["c"] * 3]
    work.end(9)
    assert [each.future.result(PATIENCE).texts[0] for each in jobs] == [*"aaabbbccc"]
    assert work.begun == [*"abcabcabc"]


@pytest.mark.parametrize("client", ["a", "b"])
def test_a_guess_gives_way_to_a_request_that_anybody_waits_for(shared, work, client):
    guessed = submit(shared, "a", speculative=True)
    work.wait_until_begun()
    asked = submit(shared, client)
    with pytest.raises(FillCancelled):
        guessed.future.result(PATIENCE)
    work.end()
    assert asked.future.result(PATIENCE).texts == (client,)


def test_a_fill_that_is_waited_for_ends_for_nobody_else(shared, work):
    asked = submit(shared, "a", "x")
    work.wait_until_begun()
    others = [submit(shared, "b", "x"), submit(shared, "a", "y"), submit(shared, "b", "z", speculative=True)]
    work.end(4)
    assert [each.future.result(PATIENCE).texts[0] for each in (asked, *others)] == [*"abab"]


def test_a_newer_request_ends_the_running_one_and_the_waiting_one_leaves_at_once(shared, work):
    running = submit(shared, "a", "x")
    work.wait_until_begun()
    other = submit(shared, "b", "x")
    newest = submit(shared, "b", "x")
    with pytest.raises(FillCancelled):
        other.future.result(0)
    latest = submit(shared, "a", "x")
    with pytest.raises(FillCancelled):
        running.future.result(PATIENCE)
    work.end(2)
    assert (newest.future.result(PATIENCE).texts, latest.future.result(PATIENCE).texts) == (("b",), ("a",))


def test_the_oldest_one_over_the_bound_is_answered_at_once_and_says_why(shared, work):
    first = submit(shared, "a")
    work.wait_until_begun()
    waiting = [submit(shared, "a") for _ in range(MOST)]
    assert not any(each.future.done() for each in waiting)
    last = submit(shared, "a")
    with pytest.raises(QueueFull, match=f"^{MOST} newer fills wait for the engine; this one was given up.$"):
        waiting[0].future.result(0)
    work.end(MOST + 1)
    assert all(each.future.result(PATIENCE) for each in (first, *waiting[1:], last))


def test_closing_answers_everybody_once(shared, work):
    answers = queue.Queue()
    jobs = [submit(shared, client, document) for client in "ab" for document in ("", "x", "y")]
    for each in jobs:
        each.future.add_done_callback(answers.put)
    work.wait_until_begun()
    shared.close()
    late = submit(shared, "a")
    for each in (*jobs, late):
        with pytest.raises(FillCancelled):
            each.future.result(PATIENCE)
    assert {id(answers.get(timeout=PATIENCE)) for _ in jobs} == {id(each.future) for each in jobs}
    assert answers.empty()
    assert shared.status().state == "closed"


def test_an_answer_may_lead_to_the_next_request_on_the_engines_thread(shared, work):
    """Also one that leaves the line: nothing waits for a lock there."""
    later = queue.Queue()
    running, waiting = submit(shared, "a", "x"), submit(shared, "a", "y")
    for each in (running, waiting):
        each.future.add_done_callback(lambda _: later.put(submit(shared, "b")))
    submit(shared, "a", "y")
    work.end(4)
    for _ in range(2):
        assert later.get(timeout=PATIENCE).future.result(PATIENCE).texts == ("b",)
