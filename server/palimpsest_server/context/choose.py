"""Chooses what the model may see of other places: ranked, without repetition, within a budget, each with its reason.

Pure but for the workspace it is given to read from; knows no tokens (it estimates), no engine and no settings. What it
leaves out is said, too, so that `palimpsest context` can show everything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal, Protocol

from lsprotocol import types

from palimpsest_engine import Excerpt
from palimpsest_server.context import extracts, imports
from palimpsest_server.context.workspace import ALL_BYTES, FILE_BYTES, Look
from palimpsest_server.documents.edit_history import RecentEdit
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.documents.uris import path_of

Source = Literal["notebook", "imports", "diagnostics", "edits", "documents"]
SOURCES: tuple[Source, ...] = ("imports", "diagnostics", "edits", "documents")  # "notebook" is the document itself

# What a whole match of each source is worth, beside one of the others.
_WORTH: dict[Source, float] = {"notebook": 2.0, "imports": 1.0, "diagnostics": 0.9, "documents": 0.8, "edits": 0.7}
_TOKEN = 3.4  # characters; the engine counts exactly
_BEFORE, _AFTER = 2_000, 600  # characters around the cursor whose names count
_OWN_BEFORE, _OWN_AFTER = 16_000, 4_000  # what the model sees of the document anyway
_HEAD = 64 * 1024  # imports stand there
_EDITS = 12
_LINES = (5, 60)  # of a window
_LIKENESS = 0.04  # less is chance
_DIAGNOSTICS, _DIAGNOSTIC_LINES = 5, 40
_REPEATED = 0.8  # of its lines: then an excerpt says nothing new
_OF_FILES = ("notebook", "imports", "documents")


def known(names: Collection[str]) -> tuple[Source, ...]:
    """Those of the names that are sources."""
    return tuple(source for source in SOURCES if source in names)


class Text(Protocol):
    """A text that can be very long."""

    def __len__(self) -> int: ...

    def slice(self, start: int, end: int) -> str:
        """The characters `[start, end)`."""
        ...

    def line_at(self, offset: int) -> int:
        """The line, from 0, that an offset is on."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """A document as the editor has it. path: absolute, empty if it has none."""

    uri: str
    path: str
    language: str
    content: Text
    version: int = 0

    @property
    def place(self) -> str:
        """What it is known by: its path, if it is a file and no cell of one."""
        return self.path if self.path and "#" not in self.uri else self.uri

    @staticmethod
    def of(snapshot: Snapshot, content: Text | None = None) -> Document:
        """An open document. content: another text in its place, with a completion in it that is only selected yet."""
        path = snapshot.path
        text = snapshot.content if content is None else content
        return Document(snapshot.uri, path.as_posix() if path else "", snapshot.language, text, snapshot.version)


@dataclass(frozen=True, slots=True)
class Around:
    """What there is to choose from.

    others: open documents and those edited lately, the latest first. cells: the code cells before this one, in order.
    edits: the latest first.
    """

    others: tuple[Document, ...] = ()
    cells: tuple[Document, ...] = ()
    edits: tuple[RecentEdit, ...] = ()
    diagnostics: tuple[types.Diagnostic, ...] = ()


class Reader(imports.Tree, Protocol):
    """Files of the workspace."""

    @property
    def folders(self) -> Sequence[str]:
        """The workspace's own, links followed."""
        ...

    def look(self, path: str) -> Look:
        """The text of a file, or why it may not be seen."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """tokens: of all excerpts, estimated. files: other files at most, open ones included. bytes: read in all."""

    tokens: int = 1024
    files: int = 8
    bytes: int = ALL_BYTES


@dataclass(frozen=True, slots=True)
class Choice:
    """An excerpt offered. score: what it was ranked by. why: in words. place: the path or URI it is from."""

    source: Source
    place: str
    title: str
    text: str
    score: float
    why: str

    @property
    def tokens(self) -> int:
        """An estimate of what it takes."""
        return int((len(self.title) + len(self.text) + 5) / _TOKEN) + 1


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What was not taken, and why."""

    source: Source
    place: str
    why: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The choices, the most useful last, and what was left out."""

    choices: tuple[Choice, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def excerpts(self) -> tuple[Excerpt, ...]:
        """For the request."""
        return tuple(Excerpt(choice.title, choice.text) for choice in self.choices)


def _allowed(path: str) -> str:
    return ""


def _harmless(text: str) -> bool:
    return False


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Question:
    """What may be seen of other places, for a hole at `offset` of a document?

    forbidden: why an open document's path is not for the model, or "". secret: nothing of such a text is. redacted: a text
    without what is secret in it.
    """

    document: Document
    offset: int
    reader: Reader
    sources: tuple[Source, ...]
    around: Around = Around()
    limits: Limits = Limits()
    forbidden: Callable[[str], str] = _allowed
    secret: Callable[[str], bool] = _harmless
    redacted: Callable[[str], str] = _as_it_is


def choose(question: Question, expired: Callable[[], bool] = lambda: False) -> Chosen:
    """The answer, as far as it could be found before the time expired."""
    search = _Search(question, expired)
    makers: dict[Source, Callable[[], Iterable[Choice]]] = {
        "diagnostics": search.problems,
        "edits": search.edits,
        "imports": search.imported,
        "documents": search.alike,
    }
    offers = list(search.cells())
    for source, make in makers.items():
        if source in question.sources:
            offers += make()
    return search.picked(offers)


@dataclass(slots=True)
class _Search:
    """One question, and what has been found on the way to its answer."""

    question: Question
    expired: Callable[[], bool]
    left_out: list[LeftOut] = field(default_factory=list)
    looked: dict[str, str] = field(default_factory=dict)  # texts of other places, by path or URI
    near: dict[str, float] = field(init=False)
    close: dict[str, float] = field(init=False)
    own: str = field(init=False)

    def __post_init__(self) -> None:
        content, at = self.question.document.content, self.question.offset
        before = content.slice(max(0, at - _OWN_BEFORE), at)
        after = content.slice(at, min(len(content), at + _OWN_AFTER))
        self.own = before + after
        before, after = before[-_BEFORE:], after[:_AFTER]
        self.near = extracts.near(before, after, reach=40, least=0.2)
        self.close = extracts.near(before, after, reach=self.window_lines, least=0.0)

    # Sources

    def cells(self) -> Iterator[Choice]:
        """Earlier cells of the notebook: this document's own text."""
        cells = self.question.around.cells
        for number, cell in enumerate(cells, 1):
            # The end of a cell is what the next one goes on from.
            end = len(cell.content)
            text = extracts.from_line(cell.content.slice(max(0, end - self.half), end), self.half)
            if text.strip():
                worth = _WORTH["notebook"] + number / len(cells)
                yield Choice("notebook", cell.uri, f"cell {number}", text, worth, "an earlier cell of this notebook")

    def problems(self) -> Iterator[Choice]:
        """Diagnostics near the cursor: they may name what is missing."""
        document, around = self.question.document, self.question.around
        line = document.content.line_at(self.question.offset)
        nearest = sorted(around.diagnostics, key=lambda each: abs(each.range.start.line - line))
        for each in nearest[:_DIAGNOSTICS]:
            away = abs(each.range.start.line - line)
            if away <= _DIAGNOSTIC_LINES:
                said = each.message if isinstance(each.message, str) else each.message.value
                title = f"line {each.range.start.line + 1}: {extracts.one_line(said)}"
                score = _WORTH["diagnostics"] * (1 - away / (_DIAGNOSTIC_LINES + 1))
                yield Choice("diagnostics", document.place, title, "", score, f"a diagnostic {away} lines away")

    def edits(self) -> Iterator[Choice]:
        """What was changed lately, as small range diffs."""
        for age, edit in enumerate(self.question.around.edits[:_EDITS]):
            path = path_of(edit.uri)
            place = path.as_posix() if path else edit.uri
            if reason := self.question.forbidden(place) if path else "":
                self.left_out.append(LeftOut("edits", place, reason))
                continue
            diff = extracts.diff(edit.before, edit.after)
            old, new = set(extracts.names(edit.before)), set(extracts.names(edit.after))
            if not diff or (edit.uri == self.question.document.uri and not old - new):
                continue  # what was only added here stands in the document
            score = _WORTH["edits"] * (0.6 * self.nearness(old ^ new) + 0.4 / (1 + age))
            title = f"edited just now, {self.shown(place)} line {edit.first + 1}"
            yield Choice("edits", place, title, diff, score, f"edit {age + 1} of the latest")

    def imported(self) -> Iterator[Choice]:
        """Definitions of the workspace's modules that this document imports."""
        document, around, reader = self.question.document, self.question.around, self.question.reader
        if not document.path or document.language not in imports.LANGUAGES:
            return
        parts = (*around.cells, document)  # a notebook's imports are in its first cell
        head = "\n".join(each.content.slice(0, min(len(each.content), _HEAD // len(parts))) for each in parts)
        importer = imports.Importer(document.path, document.language, reader.folders, {*extracts.names(head)})
        specifiers = sorted(extracts.specifiers(head, document.language, document.path), key=self.specifier_nearness)
        opened = {each.place: each for each in around.others}
        named = (path for each in specifiers for path in imports.resolve(each, importer, reader))
        for path in _each_once(chain(named, imports.neighbours(importer, reader))):
            if self.expired():
                self.left_out.append(LeftOut("imports", path, "the time was over"))
                return
            if text := self.text_of("imports", path, opened.get(path)):
                yield from self.defined(path, text)

    def specifier_nearness(self, specifier: str) -> float:
        """For sorting: the nearest first."""
        return -max((self.near.get(name, 0.0) for name in extracts.names(specifier)), default=0.0)

    def defined(self, path: str, text: str) -> Iterator[Choice]:
        """What a file defines, by how near to the cursor it is named."""
        rest: list[str] = []
        for entry in extracts.entries(text, path):
            # Large classes have some common name or other in them: what counts is how many are named here.
            shared = len(entry.inner & self.near.keys()) / max(1, len(entry.inner))
            inner = self.nearness(entry.inner) * min(0.8, 0.2 + 2 * shared)
            nearness = max(self.near.get(entry.name, 0.0), inner)
            if nearness:
                why = f"{entry.name} is imported, and it or what it has is named near the cursor"
                score = _WORTH["imports"] * nearness
                yield Choice("imports", path, self.shown(path), self.cut(entry.text), score, why)
            else:
                rest.append(entry.text.split("\n", 1)[0].rstrip(" :{"))
        if rest:
            # `config.|` names the module, and of what it defines any may be meant.
            score = _WORTH["imports"] * (0.1 + 0.5 * self.nearness(extracts.names(" ".join(path.split("/")[-2:]))))
            why = "what else an imported module defines"
            yield Choice("imports", path, self.shown(path), self.cut("\n".join(rest)), score, why)

    def alike(self) -> Iterator[Choice]:
        """The parts of other open documents that share most names with the text around the cursor."""
        document, limits = self.question.document, self.question.limits
        for age, other in enumerate(self.question.around.others[: limits.files]):
            place = other.place
            if other.uri == document.uri or (other.path and other.path == document.path):
                continue
            if self.expired():
                self.left_out.append(LeftOut("documents", place, "the time was over"))
                return
            text = self.text_of("documents", place, other)
            best = self.best_windows(text)
            if text and not best:
                self.left_out.append(LeftOut("documents", place, "nothing like the text around the cursor"))
            for likeness, window in best:
                score = _WORTH["documents"] * min(1.0, 2 * likeness) * (1 - 0.02 * min(age, 10))
                why = f"an open document, {likeness:.0%} like the text around the cursor in its names"
                title = f"{self.shown(place)} line {window.first + 1}"
                yield Choice("documents", place, title, window.text, score, why)

    def best_windows(self, text: str) -> list[tuple[float, extracts.Window]]:
        """The two windows of a text that are most like what is around the cursor, without overlap, if they are at all."""
        ranked = [(self.likeness(window.names), window) for window in extracts.windows(text, self.window_lines)]
        # Of two that are equally alike the later one: what follows the likeness is what is wanted.
        ranked.sort(key=lambda each: (-each[0], -each[1].first))
        best = [(likeness, window) for likeness, window in ranked[:2] if likeness >= _LIKENESS]
        return best[:1] if len(best) == 2 and best[0][1].overlaps(best[1][1]) else best

    # What they share

    @property
    def half(self) -> int:
        """Characters of half the budget: no excerpt is to take the room of all others."""
        return int(self.question.limits.tokens * _TOKEN / 2)

    @property
    def window_lines(self) -> int:
        """How long a window may be."""
        return max(_LINES[0], min(_LINES[1], self.half // 40))

    def likeness(self, names: frozenset[str]) -> float:
        """Jaccard similarity of some names to those as close to the cursor as a window is long; nearer ones weigh more."""
        union = sum(self.close.values()) + 0.5 * len(names - self.close.keys())
        return sum(self.close.get(name, 0.0) for name in names) / union if union else 0.0

    def nearness(self, names: Iterable[str]) -> float:
        """Of the nearest of some names; 1 on the cursor's line, 0 for none."""
        return max((self.near.get(name, 0.0) for name in names), default=0.0)

    def cut(self, text: str) -> str:
        """Whole lines, no more than half of the budget."""
        return text if len(text) <= self.half else text[: max(0, text.rfind("\n", 0, self.half))]

    def shown(self, place: str) -> str:
        """A path as the model is told it: from the workspace's folder on."""
        for folder in self.question.reader.folders:
            if imports.inside(place, (folder,)):
                return extracts.one_line(place[len(folder.rstrip("/")) + 1 :])
        return extracts.one_line(place.rsplit("/", 1)[-1])

    def text_of(self, source: Source, place: str, opened: Document | None) -> str:
        """The text of a file, as the editor has it if it is open there, or "" and an entry in `left_out`."""
        if place in self.looked:
            return self.looked[place]
        files, size = self.question.limits.files, self.question.limits.bytes
        if source == "imports" and "documents" in self.question.sources:  # leave room for those
            files, size = files - min(files // 2, len(self.question.around.others)), size // 2
        if len(self.looked) >= files:
            self.left_out.append(LeftOut(source, place, f"over {files} files"))
            return ""
        look = self.look(place, opened)
        if self.question.secret(look.text):
            look = Look("", "there is a secret in it")
        if sum(map(len, self.looked.values())) + len(look.text) > size:
            look = Look("", f"over {size} characters were read")
        if look.refusal:
            self.left_out.append(LeftOut(source, place, look.refusal))
        self.looked[place] = look.text
        return look.text

    def look(self, place: str, opened: Document | None) -> Look:
        """What the editor has, else what the workspace has."""
        if opened is None:
            return self.question.reader.look(place)
        if opened.path and (reason := self.question.forbidden(opened.path)):
            return Look("", reason)
        return Look(opened.content.slice(0, min(len(opened.content), FILE_BYTES)))

    def picked(self, offers: list[Choice]) -> Chosen:
        """The best of what was offered, as far as it fits, nothing twice."""
        chosen: list[Choice] = []
        redacted, room, seen = self.question.redacted, self.question.limits.tokens, extracts.substance(self.own)
        for offer in sorted(offers, key=lambda each: -each.score):
            lines = extracts.substance(offer.text)
            repeated = len(lines & seen) / len(lines) if lines and offer.source in _OF_FILES else 0.0
            again = any(each.place == offer.place and each.source != offer.source for each in chosen)
            if repeated >= (_REPEATED / 2 if again else _REPEATED):
                self.left_out.append(LeftOut(offer.source, offer.place, "the model sees these lines already"))
            elif (
                offer.tokens > room
                or (clean := replace(offer, title=redacted(offer.title), text=redacted(offer.text))).tokens > room
            ):
                why = f"over the budget of {self.question.limits.tokens} tokens"
                self.left_out.append(LeftOut(offer.source, offer.place, why))
            else:
                room -= clean.tokens
                seen |= lines
                chosen.append(clean)
        return Chosen(tuple(reversed(chosen)), tuple(dict.fromkeys(self.left_out)))


def _each_once(paths: Iterable[str]) -> Iterator[str]:
    """As they come, so that nothing is looked up that nobody asks for any more."""
    seen: set[str] = set()
    for path in paths:
        if path not in seen:
            seen.add(path)
            yield path
