"""The thread that owns a model: whatever is raised on it ends one fill, not the thread."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

import palimpsest_engine
from palimpsest_engine import EngineStatus, Fill, FillRequest, PalimpsestError, Span, Verdict
from palimpsest_engine.runtime.queued import QueuedEngine

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
