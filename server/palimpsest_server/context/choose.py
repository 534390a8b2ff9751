"""Choose what the model may see of other places: ranked, without repetition, within a budget, each with its reason.

Reads nothing but the workspace that a question brings along; knows no tokens (it estimates), no engine and no settings.
The answer also names what was left out, so that `palimpsest context` can show everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from palimpsest_server.context import extracts, imports
from palimpsest_server.context.question import (
    OVER,
    SOURCES,
    TOKEN,
    Around,
    Choice,
    Chosen,
    Document,
    LeftOut,
    Limits,
    Question,
    Source,
    known,
)
from palimpsest_server.context.workspace import FILE_BYTES, Look
from palimpsest_server.documents.uris import path_of

__all__ = [
    "SOURCES",
    "Around",
    "Choice",
    "Chosen",
    "Document",
    "LeftOut",
    "Limits",
    "Question",
    "Source",
    "choose",
    "known",
]


# The score of a whole match of each source.
_WORTH: dict[Source, float] = {"notebook": 2.0, "imports": 1.0, "diagnostics": 0.9, "documents": 0.8, "edits": 0.7}
_BEFORE, _AFTER = 2_000, 600  # characters around the cursor whose names count
_OWN_BEFORE, _OWN_AFTER = 16_000, 4_000  # characters that the model sees of the document anyway
_HEAD = 64 * 1024  # imports stand there
_EDITS = 12
_LINES = (5, 60)  # of a window
_LIKENESS = 0.04  # less is chance
_DIAGNOSTICS, _DIAGNOSTIC_LINES = 5, 40
_REPEATED = 0.8  # of its lines are seen already: then an excerpt says nothing new
_OF_FILES = ("notebook", "imports", "documents")


def choose(question: Question, expired: Callable[[], bool] = lambda: False) -> Chosen:
    """Answer a question, as far as that is possible before the time expires."""
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
    """One question, and all that was found on the way to its answer."""

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
        """Offer earlier cells of the notebook: this document's own text."""
        cells = self.question.around.cells
        for number, cell in enumerate(cells, 1):
            # The next cell goes on from the end of this one.
            end = len(cell.content)
            text = extracts.from_line(cell.content.slice(max(0, end - self.half), end), self.half)
            if text.strip():
                worth = _WORTH["notebook"] + number / len(cells)
                yield Choice("notebook", cell.uri, f"cell {number}", text, worth, "an earlier cell of this notebook")

    def problems(self) -> Iterator[Choice]:
        """Offer diagnostics near the cursor: they may name what is missing."""
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
        """Offer the latest edits, as small diffs."""
        for age, edit in enumerate(self.question.around.edits[:_EDITS]):
            path = path_of(edit.uri)
            place = path.as_posix() if path else edit.uri
            if reason := self.question.forbidden(place) or self.question.forbidden(edit.uri):
                self.left_out.append(LeftOut("edits", place, reason))
                continue
            diff = extracts.diff(edit.before, edit.after)
            old, new = set(extracts.names(edit.before)), set(extracts.names(edit.after))
            if not diff or (edit.uri == self.question.document.uri and not old - new):
                continue  # the document has the lines that were only added here
            score = _WORTH["edits"] * (0.6 * self.nearness(old ^ new) + 0.4 / (1 + age))
            title = f"edited just now, {self.shown(place)} line {edit.first + 1}"
            yield Choice("edits", place, title, diff, score, f"edit {age + 1} of the latest")

    def imported(self) -> Iterator[Choice]:
        """Offer definitions of the workspace's modules that this document imports."""
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
                self.left_out.append(LeftOut("imports", path, OVER))
                return
            if text := self.text_of("imports", path, opened.get(path)):
                yield from self.defined(path, text)

    def specifier_nearness(self, specifier: str) -> float:
        """Return a key for sorting: the nearest first."""
        return -max((self.near.get(name, 0.0) for name in extracts.names(specifier)), default=0.0)

    def defined(self, path: str, text: str) -> Iterator[Choice]:
        """Offer the definitions of a file, scored by how near to the cursor they are named."""
        rest: list[str] = []
        for entry in extracts.entries(text, path):
            # Large classes have some common name or other in them, so the share that is named here counts.
            shared = len(entry.inner & self.near.keys()) / max(1, len(entry.inner))
            inner = self.nearness(entry.inner) * min(0.8, 0.2 + 2 * shared)
            nearness = max(self.near.get(entry.name, 0.0), inner)
            if nearness:
                why = f"its module is imported or beside this one, and {entry.name} or a part of it is named near the cursor"
                score = _WORTH["imports"] * nearness
                yield Choice("imports", path, self.shown(path), self.cut(entry.text), score, why)
            else:
                rest.append(entry.text.split("\n", 1)[0].rstrip(" :{"))
        if rest:
            # `config.|` names the module, and may mean anything that it defines.
            score = _WORTH["imports"] * (0.1 + 0.5 * self.nearness(extracts.names(" ".join(path.split("/")[-2:]))))
            why = "the other definitions of a module that is imported, or beside this one"
            yield Choice("imports", path, self.shown(path), self.cut("\n".join(rest)), score, why)

    def alike(self) -> Iterator[Choice]:
        """Offer the parts of other open documents that share most names with the text around the cursor."""
        document, limits = self.question.document, self.question.limits
        for age, other in enumerate(self.question.around.others[: limits.files]):
            place = other.place
            if other.uri == document.uri or (other.path and other.path == document.path):
                continue
            if self.expired():
                self.left_out.append(LeftOut("documents", place, OVER))
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
        """Return up to two windows of a text that are like the text around the cursor, without overlap."""
        ranked = [(self.likeness(window.names), window) for window in extracts.windows(text, self.window_lines)]
        # Of two that are equally alike take the later one: the text that follows the likeness is wanted.
        ranked.sort(key=lambda each: (-each[0], -each[1].first))
        best = [(likeness, window) for likeness, window in ranked[:2] if likeness >= _LIKENESS]
        return best[:1] if len(best) == 2 and best[0][1].overlaps(best[1][1]) else best

    # Scores and texts

    @property
    def half(self) -> int:
        """Return half of the budget in characters: no excerpt may take the room of all others."""
        return int(self.question.limits.tokens * TOKEN / 2)

    @property
    def window_lines(self) -> int:
        """Return the length of a window."""
        return max(_LINES[0], min(_LINES[1], self.half // 40))

    def likeness(self, names: frozenset[str]) -> float:
        """Return the Jaccard similarity of some names to those around the cursor; nearer ones weigh more."""
        union = sum(self.close.values()) + 0.5 * len(names - self.close.keys())
        return sum(self.close.get(name, 0.0) for name in names) / union if union else 0.0

    def nearness(self, names: Iterable[str]) -> float:
        """Return how near the nearest of some names is; 1 on the cursor's line, 0 for none."""
        return max((self.near.get(name, 0.0) for name in names), default=0.0)

    def cut(self, text: str) -> str:
        """Cut a text after a whole line, at half of the budget."""
        return text if len(text) <= self.half else text[: max(0, text.rfind("\n", 0, self.half))]

    def shown(self, place: str) -> str:
        """Return a path as the model sees it: from the workspace's folder on."""
        for folder in self.question.reader.folders:
            if imports.inside(place, (folder,)):
                return extracts.one_line(place[len(folder.rstrip("/")) + 1 :])
        return extracts.one_line(place.rsplit("/", 1)[-1])

    def text_of(self, source: Source, place: str, opened: Document | None) -> str:
        """Return the text of a file, the editor's if it is open there, or "" with an entry in `left_out`."""
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
        """Read the editor's text, else the workspace's."""
        if opened is None:
            return self.question.reader.look(place)
        for name in filter(None, (opened.path, opened.uri)):
            if reason := self.question.forbidden(name):
                return Look("", reason)
        return Look(opened.content.slice(0, min(len(opened.content), FILE_BYTES)))

    def picked(self, offers: list[Choice]) -> Chosen:
        """Pick the best offers, as far as they fit, nothing twice."""
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
    """Yield paths one by one, so that none is looked up after the last one that is needed."""
    seen: set[str] = set()
    for path in paths:
        if path not in seen:
            seen.add(path)
            yield path
