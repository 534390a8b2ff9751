"""Parse in a process of its own: the loop that answers `process.py`. Plain data in, plain data out.

A question is a tuple, by marshal, which keeps every string exactly; an answer is JSON, so that a process whose memory a
grammar has spoiled can harm nobody. The process ends with its parent, whose end of the channel then closes.
"""

from __future__ import annotations

import contextlib
import json
import marshal
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from palimpsest_engine.changes import Change, Diagnostic, NextEditQuestion, OpenDocument
from palimpsest_engine.request import FillRequest, Span, Verdict

__all__ = ["Question", "answer", "answer_all", "receive", "send"]

# patience in seconds, keys to forget, kind, key, what to make it of (None: it is there already), method, arguments
Question: TypeAlias = tuple[float, list[int], str, int, tuple[Any, ...] | None, str, tuple[Any, ...]]

_MEMORY = 4 << 30  # bytes of address space
_MOST = 256  # gates and outlines, if nobody says that they are not needed any more


def send(channel: socket.socket, data: bytes) -> None:
    """Send one message. Raises OSError, TimeoutError among others."""
    channel.sendall(len(data).to_bytes(4, "big") + data)


def receive(channel: socket.socket, longest: int = 1 << 32) -> bytes:
    """Wait for one message of so many bytes at most. Raises OSError, TimeoutError among others; EOFError at the end."""
    size = int.from_bytes(_exactly(channel, 4), "big")
    if size > longest:
        raise OSError(f"a message of {size} bytes")
    return _exactly(channel, size)


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        got = channel.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]
    return bytes(data)


def answer_all(channel: socket.socket) -> None:
    """Answer questions until the parent is gone."""
    if sys.platform == "win32":
        raise NotImplementedError  # `process.py` parses in its own process there
    _limit()
    kept: dict[int, Any] = {}
    while True:
        try:
            question: Question = marshal.loads(receive(channel))
        except (EOFError, OSError):
            return
        # Left to its default, the alarm ends the process even inside a grammar, and even when the parent is gone.
        signal.setitimer(signal.ITIMER_PROF, question[0])  # of work
        try:
            found = answer(kept, question)
        except Exception:
            found = {"error": traceback.format_exc()}
        signal.setitimer(signal.ITIMER_PROF, 0)
        try:
            send(channel, json.dumps(found).encode())
        except OSError:
            return


def _limit() -> None:
    if sys.platform == "win32":
        return
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everyone; the parent decides
    import resource

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def answer(kept: dict[int, Any], question: Question) -> dict[str, Any]:
    """Answer one question. kept: the gates and outlines that there are, by key."""
    _, forgotten, kind, key, made_of, method, arguments = question
    for each in forgotten:
        kept.pop(each, None)
    if key not in kept:
        if made_of is None:
            return {"unknown": True}
        kept[key] = _MAKERS[kind](kept, *made_of)
        while len(kept) > _MOST:
            del kept[next(iter(kept))]
    return {"value": _METHODS[kind, method](kept[key], *arguments)}


def _gate(_: dict[int, Any], text: str, holes: tuple[tuple[int, int], ...], language: str | None, ms: float) -> Any:
    from palimpsest_engine.syntax.gate import SyntaxGate

    return SyntaxGate(text, tuple(Span(*hole) for hole in holes), language, ms)


def _outline(
    kept: dict[int, Any], text: str, language: str | None, path: str | None, previous: int | None, ms: float
) -> Any:
    from palimpsest_engine.syntax.outline import Outline

    return Outline(text, language, path, kept.get(previous) if previous is not None else None, ms)


def _mender(_: dict[int, Any], text: str, language: str | None, path: str | None, cell: bool) -> Any:
    from palimpsest_engine.syntax.complaints import Complaints
    from palimpsest_engine.syntax.mending import Mender

    return Mender(text, language, path, Complaints(text, language, path, cell=cell))


def _next_edit(
    _: dict[int, Any],
    documents: tuple[tuple[str, str, str | None, str | None], ...],
    changes: tuple[tuple[str, int | None, str, str], ...],
    cursor: int,
    budget_ms: float,
    diagnostics: tuple[tuple[str, int, int, str], ...],
) -> NextEditQuestion:
    return NextEditQuestion(
        tuple(OpenDocument(*each) for each in documents),
        tuple(Change(*each) for each in changes),
        cursor,
        tuple(Diagnostic(name, Span(start, end), message) for name, start, end, message in diagnostics),
        budget_ms,
    )


_MAKERS: dict[str, Callable[..., Any]] = {
    "gate": _gate,
    "outline": _outline,
    "mender": _mender,
    "next edit": _next_edit,
}


def _judge(gate: Any, texts: tuple[str, ...]) -> list[Any]:
    verdict: Verdict = gate.judge(texts)
    return [verdict.status, verdict.reason, _spans(verdict.bad)]


def _cut(gate: Any, texts: tuple[str, ...]) -> list[int] | None:
    """Return the lengths of the cut texts: they are beginnings of those that were given."""
    kept = gate.cut(texts)
    return None if kept is None else [len(text) for text in kept]


def _body(outline: Any, offset: int) -> list[int] | None:
    body = outline.body_at(offset)
    return None if body is None else [body.start, body.end]


def _mend(mender: Any, start: int, end: int) -> list[Any] | None:
    mend = mender.mend(Span(start, end))
    return None if mend is None else [mend.span.start, mend.span.end, mend.text]


def _is_mended_by(mender: Any, text: str, holes: tuple[tuple[int, int], ...], texts: tuple[str, ...]) -> bool:
    request = FillRequest(text, tuple(Span(*hole) for hole in holes))
    return bool(mender.is_mended_by(request, tuple(texts)))


def _follow_ups(question: NextEditQuestion) -> list[Any]:
    from palimpsest_engine.syntax.next_edit.follow_up import follow_ups

    found = follow_ups(question)
    edits = [
        [each.document, each.span.start, each.span.end, each.text, each.kind, each.reason, each.certainty]
        for each in found.edits
    ]
    places = [[each.document, each.span.start, each.span.end, each.reason, each.certainty] for each in found.places]
    return [edits, places, found.reason]


def _spans(spans: Iterable[Span]) -> list[list[int]]:
    return [[span.start, span.end] for span in spans]


_METHODS: dict[tuple[str, str], Callable[..., Any]] = {
    ("gate", "judge"): _judge,
    ("gate", "cut"): _cut,
    ("outline", "reason"): lambda outline: outline.reason,
    ("outline", "kind_at"): lambda outline, offset: outline.kind_at(offset),
    ("outline", "body_at"): _body,
    ("outline", "placeholders"): lambda outline: _spans(outline.placeholders()),
    ("outline", "defects"): lambda outline, start, end: _spans(outline.defects(Span(start, end))),
    ("outline", "imports"): lambda outline: list(outline.imports()),
    ("outline", "definitions"): lambda outline: [
        [each.name, each.span.start, each.span.end, each.signature] for each in outline.definitions()
    ],
    ("mender", "defects"): lambda mender, start, end: _spans(mender.defects(Span(start, end))),
    ("mender", "mend"): _mend,
    ("mender", "is_mended_by"): _is_mended_by,
    ("next edit", "follow_ups"): _follow_ups,
}


if __name__ == "__main__":
    answer_all(socket.socket(fileno=0))
