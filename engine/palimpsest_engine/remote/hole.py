"""Fill one hole by asking a server: what the model may read, how much it writes, which of its middles is offered."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import PurePath

from palimpsest_engine.errors import EndpointError
from palimpsest_engine.fill.fit import fit, loses_a_line
from palimpsest_engine.fill.judging import Written, choose
from palimpsest_engine.prompt.layout import LINE_COMMENTS, prefix_window
from palimpsest_engine.prompt.pieces import newline_of
from palimpsest_engine.remote.asking import Ask, Cancelled, Speaks
from palimpsest_engine.remote.ending import Ending, clean
from palimpsest_engine.remote.refusal import Refused
from palimpsest_engine.request import Draft, DraftPiece, Excerpt, Fill, FillRequest
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.watched import SyntaxGate

CONTEXT = 4096  # tokens of a server that does not say how many it takes
CHARACTERS = 2.5  # in a token of code, at least, on average
BEFORE, AFTER, ELSEWHERE = 6000, 2000, 3000  # the most code points to send
LINE, LINES, MOST = 64, 256, 1024  # tokens to write: in one line, in several, in place of a long text
_TOKEN = 32  # code points that no token on average exceeds
_TEMPERATURE = 0.8  # of every middle but the first, if the request has none
_ANEW = 1  # how often a middle that breaks the syntax is written anew


class HoleFill:
    """The fill of the one hole of a request."""

    def __init__(self, speaks: Speaks, request: FillRequest, cancelled: Cancelled) -> None:
        self.speaks, self.request, self.cancelled = speaks, request, cancelled
        self.language = language_of(request.path, request.language)
        self.newline, self.pieces, self._drawn = newline_of(request.text), 0, 0
        hole, text = request.holes[0], request.text
        beside = text[: hole.start].rpartition("\n")[2] + text[hole.end :].partition("\n")[0]
        self._blank = not beside.strip()
        # The words of most vocabularies take the blank before them along, so the server writes it again.
        self._healed = text[: hole.start][-1:] if text[: hole.start][-1:] in (" ", "\t") else ""
        self.ask = self._ask()
        self.ending = Ending.of(request, self.ask.suffix, blank=self._blank)
        self.gate = SyntaxGate(request.text, request.holes, self.language)

    def run(self) -> Iterator[Draft | Fill]:
        """Yield a draft for each piece that comes, then the `Fill`."""
        ranked = yield from self._write(self.ask)
        if (more := self.request.candidates - 1) and any(ranked[0].texts):
            ranked += yield from self._others(more)
        fill = yield from choose(self.request, ranked, self.gate, None if self.request.speculative else self._anew)
        yield replace(fill, nfe=self.pieces)

    def _ask(self) -> Ask:
        """Lay out the text around the hole, and bound the middle."""
        request, hole = self.request, self.request.holes[0]
        tokens = _tokens(request)
        room = int(max(512, (self.speaks.context or CONTEXT) - tokens - 64) * CHARACTERS)
        total = BEFORE + AFTER + ELSEWHERE
        before, after, elsewhere = (min(most, room * most // total) for most in (BEFORE, AFTER, ELSEWHERE))
        suffix = _text(request.text[hole.end : hole.end + 2 * after])[:after]
        prefix = prefix_window(_text(request.text[: hole.start]), before)
        return Ask(
            prefix.removesuffix(self._healed),
            suffix,
            _fitting(request.context, elsewhere),
            PurePath(request.path or f"file.{self.language or 'txt'}").name,
            LINE_COMMENTS.get(self.language or "", "//"),
            tokens,
            ("\n",) if request.max_lines == 1 and not self._blank else (),
            temperature=request.temperature or 0.0,
            seed=request.seed,
        )

    def _others(self, count: int) -> Generator[Draft, None, list[Written]]:
        """Write further middles, by chance: at once where the server can, else one after the other."""
        if self.speaks.many and count > 1:
            try:
                return (yield from self._write(self._by_chance(count)))
            except Refused as refused:
                if refused.status not in (400, 422):
                    raise
                self.speaks.many = False
        found = []
        for _ in range(count):
            found += yield from self._write(self._by_chance())
        return found

    def _anew(self) -> Generator[Draft, None, Sequence[Written]]:
        """Write a middle anew, by chance, if that has not been done as often as allowed."""
        if self._drawn >= self.request.candidates - 1 + _ANEW:
            return ()
        return (yield from self._write(self._by_chance()))

    def _by_chance(self, count: int = 1) -> Ask:
        self._drawn += count
        temperature = _TEMPERATURE if self.request.temperature is None else self.request.temperature
        return replace(self.ask, temperature=temperature, seed=(self.request.seed + self._drawn) % 2**31, count=count)

    def _write(self, ask: Ask) -> Generator[Draft, None, list[Written]]:
        """Take the pieces of middles until each has ended; show the first of them."""
        texts, ended = [""] * ask.count, dict[int, Written]()
        with closing(self.speaks.complete(ask, self.cancelled)) as pieces:
            for piece in pieces:
                if piece.index in ended:
                    continue
                self.pieces += 1
                texts[piece.index] += piece.text
                if len(texts[piece.index]) > _TOKEN * (ask.tokens + 64):
                    raise EndpointError(f"The endpoint writes more than the {ask.tokens} tokens that it was asked for.")
                middle, sure = self.ending.cut(clean(texts[piece.index]).removeprefix(self._healed))
                sure = sure or ("\n" in piece.text and loses_a_line(self.request, 0, middle))
                if piece.index == 0:
                    yield self._draft(middle)
                if sure or piece.end:
                    ended[piece.index] = Written((fit(self.request, 0, middle),), sure or piece.end == "stop")
                if len(ended) == ask.count:
                    break
        return [ended.get(index, Written(("",), False)) for index in range(ask.count)]

    def _draft(self, middle: str) -> Draft:
        """Show a middle as far as it is written: what stands does not change any more, but more may come."""
        return Draft(self.pieces, ((DraftPiece(middle.replace("\n", self.newline), True),),), 0.5, written=True)


def _tokens(request: FillRequest) -> int:
    """Return the most tokens to write into the request's hole."""
    if request.sizes:
        return max(request.sizes)
    present = request.holes[0].end - request.holes[0].start
    if request.max_lines is None:
        return min(MOST, LINES + present // 2)
    return min(LINES, LINE * request.max_lines)


def _fitting(excerpts: Sequence[Excerpt], room: int) -> tuple[Excerpt, ...]:
    """Return as many whole excerpts as have room, from the last (the most useful) backwards."""
    out: list[Excerpt] = []
    for excerpt in reversed(excerpts):
        room -= len(excerpt.title) + len(excerpt.text) + 8
        if room >= 0:
            out.insert(0, Excerpt(_text(excerpt.title), _text(excerpt.text).strip("\n")))
    return tuple(out)


def _text(text: str) -> str:
    """Return a text as a server may be sent it: `\\n` line ends, no halves of characters."""
    return clean(text).encode("utf-8", "replace").decode("utf-8")
