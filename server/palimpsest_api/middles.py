"""Make a `FillRequest` of what other protocols ask, and cut what was written as they want it. Knows no HTTP and no JSON."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from palimpsest_api.desk import Desk, Enough
from palimpsest_engine import (
    Draft,
    Excerpt,
    Fill,
    FillRequest,
    LanguageUnknown,
    Span,
    Verdict,
    judge,
    language_id,
    tidy,
)

CHARACTERS = 4  # of a token, about: neither protocol knows characters, and no token leaves the engine
SEEDS = 2**32
_NOTHING = Verdict("no worse", "nothing was written")
_BROKEN = "what was left of it after the stop or the limit would break the syntax"
End = Literal["eos", "word", "limit"]


@dataclass(frozen=True, slots=True)
class Question:
    """A middle that is wanted.

    before, after: the text around it. excerpts: of other places. language, path: of the document, if they were named;
    then the middle is tidied and its syntax is checked. seed: None for any. count: different middles. stops: texts that end
    one. tokens: about so many at most. indent: lines that are indented less end it. seconds: from the first draft on, until
    what is there is taken, if that can be.
    """

    before: str
    after: str = ""
    excerpts: tuple[Excerpt, ...] = ()
    language: str = ""
    path: str = ""
    seed: int | None = None
    count: int = 1
    stops: tuple[str, ...] = ()
    tokens: int | None = None
    indent: int = 0
    seconds: float | None = None

    @property
    def checked(self) -> bool:
        """Return whether it is known what the document is."""
        return bool(self.language or self.path)

    def request(self, client: str) -> FillRequest:
        """Return it as the engine takes it."""
        at = len(self.before)
        return FillRequest(
            self.before + self.after,
            (Span(at, at),),
            client=client,
            language=language_id(self.language, self.path) or None if self.checked else None,
            path=self.path or None,
            seed=random.randrange(SEEDS) if self.seed is None else self.seed,
            max_lines=1 if "\n" in self.stops else None,
            context=self.excerpts,
            candidates=self.count,
            tidy=self.checked,
        )


@dataclass(frozen=True, slots=True)
class Middle:
    """One text, and how it ended. word: the stop that ended it."""

    text: str
    end: End = "eos"
    word: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The middles that were found, at least one. reason: of the first one, if it is empty."""

    middles: tuple[Middle, ...]
    fill: Fill
    reason: str = ""


def cut(question: Question, text: str, end: End = "eos") -> Middle:
    """Return the part of a written text that was asked for. end: of the text as it is."""
    middle = Middle(text, end)
    ends = [(at, stop) for stop in question.stops if stop and (at := text.find(stop)) >= 0]
    if ends:
        at, word = min(ends, key=lambda end: (end[0], -len(end[1])))
        middle = Middle(text[:at], "word", word)
    if question.indent and (indented := _indented(middle.text, question.indent)) != middle.text:
        middle = Middle(indented, "limit")
    if question.tokens is not None and len(middle.text) > (most := question.tokens * CHARACTERS):
        whole = middle.text[:most].rfind("\n")
        middle = Middle(middle.text[: whole if whole > 0 else most], "limit")
    return middle


def _indented(text: str, least: int) -> str:
    """Return the lines of a text before the first one, but for its own first, that is indented by fewer blanks or tabs."""
    first, *lines = text.split("\n")
    kept = [first]
    for line in lines:
        if line.strip() and len(line) - len(line.lstrip(" \t")) < least:
            break
        kept.append(line)
    return "\n".join(kept) if len(kept) <= len(lines) else text


async def answered(desk: Desk, question: Question, client: str, route: str) -> Answer:
    """Ask the engine, and cut what it wrote. Raises what the desk raises."""
    request = question.request(client)
    newest: list[Draft] = []
    end: End = "eos"
    try:
        fill = await desk.fill(request, route, _in_time(question.seconds, newest))
    except Enough:
        fill, end = await asyncio.to_thread(_of_draft, request, newest[-1]), "limit"
    except LanguageUnknown as error:
        fill = Fill(("",), _NOTHING, str(error))
    middles = [cut(question, texts[0], end) for texts in (fill.texts, *fill.alternatives)][: question.count]
    shortened = [text for middle in middles if (text := middle.text) and middle.end != "eos"]
    worse = await asyncio.to_thread(_worse, request, shortened) if question.checked and shortened else ()
    kept = tuple(middle for middle in middles if middle.text and middle.text not in worse)
    if kept:
        return Answer(kept, fill)
    reason = fill.reason or (_BROKEN if worse else "the stop or the limit came before any text")
    return Answer((replace(middles[0], text=""),), fill, reason)


def _worse(request: FillRequest, texts: list[str]) -> frozenset[str]:
    """Return those that break the syntax of the document: what was offered by the engine was judged as it was."""
    return frozenset(text for text in texts if judge(request, (text,)).status == "worse")


def _in_time(seconds: float | None, newest: list[Draft]) -> Callable[[Draft], Awaitable[None]] | None:
    """Return what watches the drafts, and ends the work once time is up and whole lines are there.

    That is what llama.cpp does. Drafts that are not written left to right may change, so their end is waited for.
    """
    if seconds is None:
        return None
    begun: list[float] = []

    async def watch(draft: Draft) -> None:
        now = time.monotonic()
        begun[:] = begun or [now]
        if draft.written and now - begun[0] >= seconds and "\n" in draft.texts[0].strip("\n"):
            newest[:] = [draft]
            raise Enough

    return watch


def _of_draft(request: FillRequest, draft: Draft) -> Fill:
    """Return the whole lines of a draft as a fill."""
    [hole], [text] = request.holes, draft.texts
    lines = text[: text.rstrip("\n").rindex("\n")]
    if request.tidy:
        lines = tidy(request.text, hole.start, hole.end, lines, multiline=request.max_lines != 1)
    verdict = judge(request, (lines,)) if request.tidy else Verdict("not checked", "its language was not named")
    if verdict.status == "worse":
        return Fill(("",), verdict, "time was up, and what was there would break the syntax", nfe=draft.step)
    return Fill((lines,), verdict, nfe=draft.step, settled=False)
