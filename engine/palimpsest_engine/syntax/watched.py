"""Ask a gate or an outline in the process that parses (`process.py`).

The classes here have the methods of `gate.SyntaxGate`, `outline.Outline`, `complaints.Complaints` and `mending.Mender`,
which do the work there. Trees stay there;
what comes back is plain data. A document whose text ended the process is not checked, and has no structure.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any, cast

from palimpsest_engine.changes import FollowUps, NextEdit, NextEditQuestion, Place
from palimpsest_engine.request import FillRequest, Span, Verdict
from palimpsest_engine.syntax import complaints, gate, process
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.mending import Mend
from palimpsest_engine.syntax.outline import Definition, Kind
from palimpsest_engine.syntax.process import MARGIN, Lost
from palimpsest_engine.syntax.spliced import Snapshot

__all__ = ["Complaints", "Definition", "Mender", "Outline", "SyntaxGate", "follow_ups", "judge", "warm_parser"]

log = logging.getLogger("palimpsest.engine")

_MENDING = 2.0  # seconds for a search among edits, which bounds itself by parses and bytes

_keys = itertools.count(1)


class _There:
    """A gate or an outline in the other process. made: it was made there at least once."""

    def __init__(self, kind: str, grammar: str, size: int, patience: float) -> None:
        self.made = False
        self.key = next(_keys)
        self.grammar = grammar
        self._kind, self._size, self._patience = kind, size, patience
        self._process = process.WORKER

    def __del__(self) -> None:
        if self.made:
            self._process.forget(self.key)

    def ask(self, made_of: tuple[Any, ...], method: str, *arguments: object) -> Any:
        """Ask; make it there first, of `made_of`, if it is not. Raises Lost, and RuntimeError for a mistake of ours."""
        for parts in (None, made_of) if self.made else (made_of,):
            asked = (self._kind, self.key, parts, method, arguments)
            answer = self._process.ask(self.grammar, self._size, self._patience, asked)
            self.made = True
            if "value" in answer:
                return answer["value"]
            if "error" in answer:
                raise RuntimeError(f"the process that parses failed:\n{answer['error']}")
        raise RuntimeError("the process that parses has forgotten what it was just told")


def warm_parser() -> None:
    """Start the process that parses, if it does not run: for those who ask within a budget of their own."""
    process.WORKER.warm()


class SyntaxGate:
    """Judges fills of one snapshot as `gate.SyntaxGate` does. For one thread at a time."""

    def __init__(self, text: str, holes: tuple[Span, ...], language: str | None, budget_ms: float = 50.0) -> None:
        """Take the snapshot; what the other takes."""
        self._own = Snapshot(text, holes).own
        self._plain = gate.SyntaxGate(text, holes, None)  # parses nothing
        self._made_of = text, tuple((hole.start, hole.end) for hole in holes), language, budget_ms
        self._language = language or "this kind of document"
        # `cut` may take four budgets.
        grammar = language_of(None, language) or ""
        self._there = _There("gate", grammar, len(text), MARGIN + 4 * budget_ms / 1000)

    def judge(self, texts: tuple[str, ...]) -> Verdict:
        """Judge the document with `texts`, one a hole, in its holes; "not checked" if that ended the process."""
        self._check(texts)
        if not self._there.grammar:
            return self._unparsed(texts, f"there is no grammar for {self._language}")
        try:
            status, reason, bad = self._there.ask(self._made_of, "judge", texts)
        except Lost as lost:
            return self._unparsed(texts, str(lost))
        return Verdict(status, reason, _spans(bad))

    def _unparsed(self, texts: tuple[str, ...], why: str) -> Verdict:
        """Judge without a tree: whether words are joined is seen in the text."""
        plain = self._plain.judge(texts)
        return plain if plain.status == "worse" else Verdict("not checked", why)

    def cut(self, texts: tuple[str, ...]) -> tuple[str, ...] | None:
        """Cut the fills to whole lines until the document is no worse; None if that ended the process, among others."""
        self._check(texts)
        if not self._there.grammar:
            return None
        try:
            lengths = self._there.ask(self._made_of, "cut", texts)
        except Lost:
            return None
        return None if lengths is None else tuple(text[:size] for text, size in zip(texts, lengths, strict=True))

    def _check(self, texts: tuple[str, ...]) -> None:
        if len(texts) != len(self._own):
            raise ValueError(f"{len(self._own)} holes, but {len(texts)} texts")


def judge(request: FillRequest, texts: tuple[str, ...]) -> Verdict:
    """Judge a request's holes filled with these texts."""
    return SyntaxGate(request.text, request.holes, language_of(request.path, request.language)).judge(texts)


class Outline:
    """The structure of one text, as `outline.Outline` has it. For one thread at a time.

    A text that ended the process is code without any structure, and `reason` says why.
    """

    def __init__(
        self,
        text: str,
        language: str | None,
        path: str | None = None,
        previous: Outline | None = None,
        budget_ms: float = 1000.0,
    ) -> None:
        """Take a document; what the other takes."""
        self._made_of = text, language, path, budget_ms
        grammar = language_of(path, language) or ""
        self._unknown = "" if grammar else f"there is no grammar for {language or 'this kind of document'}"
        self._lost = ""
        self._there = _There("outline", grammar, len(text), MARGIN + budget_ms / 1000)
        self._previous: Outline | None = None
        if previous is not None and previous._there.grammar == grammar:
            # The last one that was asked, not a chain of those that never were; until this one is.
            self._previous = previous if previous._there.made else previous._previous

    @property
    def reason(self) -> str:
        """Parse the text, and return the reason why it has no structure; empty if it has one."""
        reason = self._ask("", "reason")
        return self._unknown or self._lost or cast(str, reason)

    def kind_at(self, offset: int) -> Kind:
        """Return the kind of a text inserted there."""
        return cast(Kind, self._ask("code", "kind_at", offset))

    def body_at(self, offset: int) -> Span | None:
        """Return the body of the innermost function around the offset, else of the innermost class; None outside both."""
        body = self._ask(None, "body_at", offset)
        return None if body is None else Span(*body)

    def placeholders(self) -> tuple[Span, ...]:
        """Return the holes of "fill every hole": sorted, disjoint."""
        return _spans(self._ask((), "placeholders"))

    def defects(self, span: Span) -> tuple[Span, ...]:
        """Return the broken parts of the span."""
        return _spans(self._ask((), "defects", span.start, span.end))

    def imports(self) -> tuple[str, ...]:
        """Return the module specifiers as written, without quotes, in order, each once."""
        return tuple(self._ask((), "imports"))

    def definitions(self) -> tuple[Definition, ...]:
        """Return the functions, classes and types that are not inside a function, in order."""
        found = self._ask((), "definitions")
        return tuple(Definition(name, Span(start, end), signature) for name, start, end, signature in found)

    def _ask(self, nothing: object, method: str, *arguments: object) -> Any:
        """Return the answer, or `nothing` if the process ended over this text."""
        if self._unknown or self._lost:
            return nothing
        text, language, path, budget_ms = self._made_of
        previous = self._previous._there.key if self._previous is not None else None
        try:
            answer = self._there.ask((text, language, path, previous, budget_ms), method, *arguments)
        except Lost as lost:
            self._lost = str(lost)
            return nothing
        self._previous = None
        return answer


class Complaints:
    """Tells what is broken in one text, as `complaints.Complaints` does. For one thread at a time.

    never_wrong, allowed: as there.
    """

    def __init__(
        self,
        text: str,
        language: str | None,
        path: str | None = None,
        *,
        cell: bool = False,
    ) -> None:
        """Take a text; what the other takes."""
        self._made_of = text, language, path, cell
        # These look at the text alone.
        plain = complaints.Complaints(text, language, path, cell=cell)
        self.never_wrong, self.allowed = plain.never_wrong, plain.allowed
        grammar = plain.grammar
        self._there = _There("mender", grammar, len(text), MARGIN + _MENDING)
        self._lost = not grammar

    def defects(self, within: Span) -> tuple[Span, ...]:
        """Return the broken parts of the span; none if the text ended the process."""
        return _spans(self.ask((), "defects", within.start, within.end))

    def ask(self, nothing: object, method: str, *arguments: object) -> Any:
        """Return the answer, or `nothing` if the process ended over this text."""
        if self._lost:
            return nothing
        try:
            return self._there.ask(self._made_of, method, *arguments)
        except Lost:
            self._lost = True
            return nothing


class Mender:
    """Finds what is broken in one text and mends it, as `mending.Mender` does. For one thread at a time."""

    def __init__(
        self, text: str, language: str | None, path: str | None = None, complaints: Complaints | None = None
    ) -> None:
        """Take a text; what the other takes."""
        self._complaints = complaints or Complaints(text, language, path)

    def defects(self, within: Span) -> tuple[Span, ...]:
        """Return the broken parts of the span."""
        return self._complaints.defects(within)

    def mend(self, within: Span) -> Mend | None:
        """Return the edit that mends the first broken part of the span; None if there is none."""
        found = self._complaints.ask(None, "mend", within.start, within.end)
        return None if found is None else Mend(Span(found[0], found[1]), found[2])

    def is_mended_by(self, request: FillRequest, texts: tuple[str, ...]) -> bool:
        """Return whether texts for the holes that come from elsewhere mend the text."""
        holes = tuple((hole.start, hole.end) for hole in request.holes)
        return bool(self._complaints.ask(False, "is_mended_by", request.text, holes, tuple(texts)))


def follow_ups(question: NextEditQuestion) -> FollowUps:
    """Return what follows from some changes, as `next_edit.follow_up` does; nothing if that ended the process."""
    first = question.documents[0]
    grammar = language_of(first.path, first.language) or ""
    if not grammar:
        return FollowUps(reason=f"there is no grammar for {first.language or 'this kind of document'}")
    size = sum(len(each.text) for each in question.documents)
    there = _There("next edit", grammar, size, MARGIN + 4 * question.budget_ms / 1000)
    made_of = (
        tuple((each.name, each.text, each.language, each.path) for each in question.documents),
        tuple((each.document, each.start, each.before, each.after) for each in question.changes),
        question.cursor,
        question.budget_ms,
        tuple((each.document, each.span.start, each.span.end, each.message) for each in question.diagnostics),
    )
    try:
        edits, places, reason = there.ask(made_of, "follow_ups")
    except Lost as lost:
        return FollowUps(reason=str(lost))
    except RuntimeError:  # a mistake of ours costs one answer
        log.exception("the search for next edits failed")
        return FollowUps(reason="the search for next edits failed")
    return FollowUps(
        tuple(NextEdit(name, Span(start, end), *rest) for name, start, end, *rest in edits),
        tuple(Place(name, Span(start, end), *rest) for name, start, end, *rest in places),
        reason,
    )


def _spans(pairs: Sequence[Sequence[int]]) -> tuple[Span, ...]:
    return tuple(Span(start, end) for start, end in pairs)
