"""Keep what was instructed about a place of each document, and every version of it; knows nothing of LSP or engines."""

from __future__ import annotations

from dataclasses import dataclass, field

from palimpsest_engine import Span, Turn
from palimpsest_server.documents.latest import Latest
from palimpsest_server.documents.marks import Marks, Place
from palimpsest_server.documents.rope import Text

MOST_VERSIONS = 20
_MOST_SAID = 5
_LONGEST_SAID = 500  # characters; a longer instruction is nothing for a menu
_DOCUMENTS = 32
_LINE_ENDS = ("", "\n", "\r")  # and the ends of a text


@dataclass(slots=True)
class Version:
    """A text of the place, the answer to `instruction` about `before`, as its user has edited it since.

    others: what may stand there in its stead.
    """

    text: str
    others: tuple[str, ...] = ()
    instruction: str = ""
    before: str = ""


@dataclass(slots=True)
class Conversation:
    """The versions of a place of a document, of which the first is no answer. at: the one that stands there."""

    place: Place
    versions: list[Version] = field(default_factory=list)
    at: int = 0

    def standing(self, content: Text) -> Span | None:
        """Return where a version stands now, which is `at` from then on; None if nothing is left of it.

        What a user has made of a version is that version from then on, if it is whole lines.
        """
        if self.place.gone:
            return None
        there = content.slice(self.place.start, self.place.end)
        for number in sorted(range(len(self.versions)), key=lambda each: abs(each - self.at)):
            version = self.versions[number]
            if there == version.text or there in version.others:
                version.text, self.at = there, number
                return Span(self.place.start, self.place.end)
        version = self.versions[self.at]
        if there.count(version.text) == 1 and _are_lines(there, version.text):
            # Something was put before it, or behind it.
            self.place.start += there.index(version.text)
            self.place.end = self.place.start + len(version.text)
            return Span(self.place.start, self.place.end)
        if self.at == 0 or not there.strip() or not self._on_lines(content):
            return None
        version.text = there
        return Span(self.place.start, self.place.end)

    def _on_lines(self, content: Text) -> bool:
        """Return whether the place begins and ends where lines do."""
        start, end = self.place.start, self.place.end
        before, last = content.slice(max(0, start - 1), start), content.slice(end - 1, end)
        after = content.slice(end, min(end + 1, len(content)))
        return before in _LINE_ENDS and (last in _LINE_ENDS or after in _LINE_ENDS)

    def turns(self) -> tuple[Turn, ...]:
        """Return what led to the version that stands there."""
        return tuple(Turn(each.instruction, each.text, each.before) for each in self.versions[1 : self.at + 1])

    def answered(self, after: int, version: Version) -> None:
        """Put a version behind one of the others, in place of those that came later; the oldest answers are dropped."""
        version.before = self.versions[after].text
        del self.versions[after + 1 :]
        self.versions.append(version)
        del self.versions[1 : max(1, len(self.versions) - MOST_VERSIONS + 1)]
        self.at = len(self.versions) - 1

    def told(self) -> dict[str, int]:
        """Return the number of the version that stands there, and the number of answers."""
        return {"version": self.at, "versions": len(self.versions) - 1}


def _are_lines(there: str, text: str) -> bool:
    """Return whether the one place of a text in another one is whole lines of that."""
    before, _, after = there.partition(text)
    return before[-1:] in _LINE_ENDS and (text[-1:] in ("\n", "\r") or after[:1] in _LINE_ENDS)


class Conversations:
    """The last conversation of each document. said: the last few instructions about any, the newest first."""

    def __init__(self, marks: Marks) -> None:
        self.said: tuple[str, ...] = ()
        self._marks = marks
        self._last = Latest[str, Conversation](_DOCUMENTS)

    def about(self, uri: str, place: Span, text: str) -> Conversation:
        """Begin to follow a place of a document, which is about to be changed."""
        return Conversation(self._marks.follow(uri, place.start, place.end), [Version(text)])

    def keep(self, uri: str, conversation: Conversation) -> None:
        """Let this be the conversation of a document."""
        self._last[uri] = conversation

    def find(self, uri: str) -> Conversation | None:
        """Return the conversation of a document."""
        return self._last.get(uri)

    def say(self, instruction: str) -> None:
        """Take note of what a user has said."""
        if len(instruction) <= _LONGEST_SAID:
            self.said = (instruction, *(each for each in self.said if each != instruction))[:_MOST_SAID]

    def forget(self, uri: str) -> None:
        """Forget a document, which was closed."""
        self._last.pop(uri, None)
