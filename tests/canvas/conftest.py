"""The canvas over an engine that paints frames from a script: called in this process, or served on a free port."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from palimpsest_api.limits import Limits
from palimpsest_api.serving import Hooks, listener, server_of
from palimpsest_canvas.app import create
from palimpsest_canvas.canvas import Canvas
from palimpsest_canvas.document import CommandLine, Document, Origin, Target
from palimpsest_canvas.door import Keys
from palimpsest_canvas.models import Models, Opened
from palimpsest_engine import (
    Choice,
    Draft,
    DraftPiece,
    EngineSettings,
    EngineStatus,
    Fill,
    FillCancelled,
    FillRequest,
    Frame,
    Job,
    Judged,
    Lane,
    PalimpsestError,
    Slot,
    Stage,
    Traced,
    Verdict,
)

HERE = "http://127.0.0.1:8123"
PATIENT = Limits(
    head=8192, head_seconds=60, body=64 * 1024, body_seconds=60, idle_seconds=60, stalled_seconds=60, ending_seconds=30
)
TEXT = "def add(a, b):\n    \n\nprint(add(1, 2))\n"
HOLE = TEXT.index("    \n") + 4
WORDS = ("return", " a", " +", " b")


def painted(step: int, steps: int, words: Sequence[str], kind: Any = "denoised") -> Draft:
    """A step in which so many of the words are settled. Two lanes, the second of which is finished at once."""
    share = len(words) * step // steps
    slots = tuple(
        Slot(
            word,
            0.0 if place < share else 1.5,
            "settled" if place < share else "open",
            place,
            (Choice(word, 0.75, place),),
        )
        for place, word in enumerate(words)
    )
    lanes = (Lane(0, kind, (slots,)), Lane(1, kind, (slots[:1],), finished=True))
    text = "".join(words)
    return Draft(step, ((DraftPiece(text, step == steps),),), step / steps, frame=Frame(10.0 * step, lanes))


@dataclass
class Painter:
    """An engine that shows `steps` frames and then the words. A held one waits in its second step until it is let go.

    lost: it begins anew after its second step, as if another process had taken over. error: raised instead of an answer.
    failing: `submit` raises it. requests, cancelled: seen so far.
    """

    steps: int = 4
    words: Sequence[str] = WORDS
    held: bool = False
    lost: bool = False
    error: Exception | None = None
    failing: Exception | None = None
    told: EngineStatus = field(default_factory=lambda: EngineStatus("ready", model="painter", device="none"))
    requests: list[FillRequest] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self.go, self.waiting, self.cancelled = threading.Event(), threading.Event(), threading.Event()

    def status(self) -> EngineStatus:
        return self.told

    def warm(self) -> None:
        pass

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        if self.failing is not None:
            raise self.failing
        self.requests.append(request)
        job = Job(request)
        threading.Thread(target=self._paint, args=(job, on_draft), daemon=True).start()
        return job

    def close(self) -> None:
        self.closed = True
        self.go.set()

    def _paint(self, job: Job, on_draft: Callable[[Draft], None] | None) -> None:
        try:
            for step in [*([1, 2] if self.lost else []), *range(1, self.steps + 1)]:
                if self.held and step == 2:
                    self.waiting.set()
                    while not self.go.wait(0.005) and not job.cancelled.is_set():
                        pass
                if job.cancelled.is_set():
                    self.cancelled.set()
                    raise FillCancelled("cancelled")
                kind = "written" if job.request.left_to_right else "denoised"
                if on_draft is not None:
                    draft = painted(step, self.steps, self.words, kind)
                    on_draft(draft if job.request.trace else replace(draft, frame=None))
            if self.error is not None:
                raise self.error
            job.future.set_result(self._fill())
        except Exception as error:
            job.future.set_exception(error)

    def _fill(self) -> Fill:
        text = "".join(self.words)
        judged = (Judged(0, (text,), 0, -0.25, "valid", chosen=True), Judged(1, ("x",), 1, -2.0, "worse", "line 2"))
        traced = Traced(judged, (Stage("encode", 1.0), Stage("denoise", 30.0)))
        return Fill((text,), Verdict("valid"), nfe=self.steps, ms=40.0, traced=traced)


@dataclass
class Desk:
    """An editor that takes what is made, unless it has a reason not to."""

    reason: str = ""
    applied: list[tuple[Target, tuple[str, ...]]] = field(default_factory=list)
    editor: bool = True

    def base_of(self, uri: str, version: int | None) -> int:
        return 7

    async def apply(self, target: Target, texts: Sequence[str]) -> str:
        self.applied.append((target, tuple(texts)))
        return self.reason


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """The files of a page that is as small as can be."""
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "index.html").write_text(
        '<!doctype html><html><head><title>Palimpsest</title>\n<link rel="stylesheet" href="/static/page.css">\n'
        '<script src="/static/page.js" defer></script></head><body><main></main></body></html>\n'
    )
    (folder / "page.js").write_text('console.log("</script><!-- & \\u00e9 é")\n', encoding="utf-8")
    (folder / "page.css").write_text("main { color: red }\n")
    return folder


def document(**more: Any) -> Document:
    plain: dict[str, Any] = {"uri": None, "name": "add.py", "language": "python", "version": None}
    return Document(**plain | {"text": TEXT, "start": HOLE, "end": HOLE} | more)


class Opener:
    """Makes applications over an engine. keys, canvas: of the last one. settings: of engines opened for models."""

    def __init__(self, static: Path) -> None:
        self.static = static
        self.checkpoint: str | None = None  # of the first engine
        self.settings: list[EngineSettings] = []
        self.others: list[Painter] = []

    def app(self, engine: Painter, origin: Origin | None = None, shown: Document | None = None) -> Any:
        self.keys = Keys()
        models = Models(Opened(engine, EngineSettings(self.checkpoint)), self._open)  # type: ignore[arg-type]
        self.canvas = Canvas(models, origin or CommandLine(), shown, PATIENT)
        return create(self.canvas, self.keys, self.static)

    def client(self, engine: Painter, *, cookie: bool = True, **more: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app(engine, **more), raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url=HERE, trust_env=False, timeout=60)
        if cookie:
            client.headers["cookie"] = self.cookie()
        return client

    def cookie(self) -> str:
        return (self.keys.use(self.keys.token()) or "").partition(";")[0]

    def _open(self, settings: EngineSettings) -> Painter:
        if settings.device == "broken":
            raise PalimpsestError("the device is broken")
        self.settings.append(settings)
        self.others.append(Painter(words=("other",)))
        return self.others[-1]


@pytest.fixture
def opener(static: Path) -> Opener:
    return Opener(static)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve on a free port, on a thread of its own; yields the address."""
    ready = threading.Event()
    with listener("127.0.0.1", 0) as taken:
        server = server_of(app, None, Hooks(ready.set, lambda status: True))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([taken])), name="canvas-on-trial")
        thread.start()
        try:
            assert ready.wait(20)
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def asked(**more: Any) -> dict[str, Any]:
    return {"text": TEXT, "start": HOLE, "end": HOLE, "language": "python", "name": "add.py"} | more


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream: their names and data."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found
