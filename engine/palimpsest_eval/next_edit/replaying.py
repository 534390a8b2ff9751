"""Replay commits: ask after each change of a file what follows, and see whether the commit made it so."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any

from palimpsest_engine.changes import Certainty, Change, NextEdit, NextEditQuestion, OpenDocument
from palimpsest_eval.next_edit.cases import Option
from palimpsest_eval.next_edit.history import Edited
from palimpsest_eval.next_edit.judging import applied
from palimpsest_eval.next_edit.measuring import EAGERNESS
from palimpsest_eval.next_edit.walking import Propose

SUFFIXES = frozenset({".py", ".ts", ".go", ".rs", ".java", ".c"})
_CERTAIN: tuple[Certainty, ...] = ("sure", "likely", "possible")
_MOST = 12  # changes of a file: more than that are seldom one thing


@dataclass(frozen=True, slots=True)
class State:
    """A file in the middle of a commit: some of its changes are made, the newest first."""

    text: str
    changes: tuple[Change, ...]
    remaining: int

    def question(self, path: str, budget_ms: float) -> NextEditQuestion:
        """Return the question what follows, with the cursor after the newest change."""
        newest = self.changes[0]
        cursor = min((newest.start or 0) + len(newest.after), len(self.text))
        return NextEditQuestion((OpenDocument(path, self.text, None, path),), self.changes, cursor, budget_ms=budget_ms)


@dataclass(frozen=True, slots=True)
class Proposed:
    """An edit that was offered.

    right: the commit made its lines so. gone: the commit leaves none of the words that it replaces in the file.
    """

    was: str
    now: str
    kind: str
    certainty: Certainty
    reason: str
    right: bool
    gone: bool


@dataclass(frozen=True, slots=True)
class Replay:
    """The edits that were offered in one state, the best first, without what was offered in an earlier one."""

    commit: str
    path: str
    upwards: bool
    made: int
    remaining: int
    newest: tuple[str, str]
    offered: tuple[Proposed, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the row for a results file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of edits that were shown, right, and right or with their old words gone; and states after the last change."""

    shown: int
    right: int
    gone: int
    last: int
    silent: int


def by_eagerness(rows: Sequence[Replay]) -> dict[str, Counts]:
    """Count the first edit that is shown in each state."""
    certain = [(row, [(each.certainty, each) for each in row.offered]) for row in rows]
    return {name: _counts(certain, allowed) for name, allowed in EAGERNESS.items()}


def by_kind(rows: Sequence[Replay]) -> dict[tuple[str, Certainty], Counts]:
    """Count the first edit of each kind and certainty in each state."""
    kinds = [(row, [((each.kind, each.certainty), each) for each in row.offered]) for row in rows]
    known = {kind for _, offered in kinds for kind, _ in offered}
    return {kind: _counts(kinds, {kind}) for kind in sorted(known, key=lambda each: (each[0], _CERTAIN.index(each[1])))}


def _counts(rows: Sequence[tuple[Replay, Sequence[tuple[object, Proposed]]]], shown: Set[object]) -> Counts:
    firsts = [next((each for kind, each in offered if kind in shown), None) for _, offered in rows]
    edits = [each for each in firsts if each is not None]
    last = [each for (row, _), each in zip(rows, firsts, strict=True) if not row.remaining]
    right = sum(each.right for each in edits)
    return Counts(len(edits), right, sum(each.right or each.gone for each in edits), len(last), last.count(None))


def replayed(files: Iterable[Edited], propose: Propose, budget_ms: float) -> Iterator[Replay]:
    """Yield what is offered after each change of each file, made from above to below, and then from below to above.

    Nothing is accepted; what was refused is not offered again.
    """
    for file, upwards in ((file, upwards) for file in files for upwards in (False, True)):
        seen, final = set[tuple[str, str]](), Counter(_bare(file.after.split("\n")))
        for state in states(file, upwards=upwards):
            offered = list[Proposed]()
            edits = propose(state.question(file.path, budget_ms))
            for edit in edits:
                found = _proposed(state, edit, edits, file.after, final)
                if (found.was, found.now) not in seen:
                    offered.append(found)
            seen |= {(each.was, each.now) for each in offered}
            newest = state.changes[0].before, state.changes[0].after
            yield Replay(file.commit, file.path, upwards, len(state.changes), state.remaining, newest, tuple(offered))


def states(file: Edited, *, upwards: bool = False) -> list[State]:
    """Return the file after each of its changes, from above to below or upwards; none if there are too many of them."""
    was, now = (list(io.StringIO(text, newline="\n")) for text in (file.before, file.after))
    blocks = [each for each in SequenceMatcher(None, was, now, autojunk=False).get_opcodes() if each[0] != "equal"]
    if len(blocks) > _MOST:
        return []
    found, made, order = list[State](), list[int](), range(len(blocks))
    for number in reversed(order) if upwards else order:
        made.insert(0, number)
        text, at, starts = "", 0, dict[int, int]()
        for other, (_, i, j, k, m) in enumerate(blocks):
            text += "".join(was[at:i])
            starts[other], at = len(text), j
            text += "".join(now[k:m] if other in made else was[i:j])
        text += "".join(was[at:])
        changes = tuple(
            Change(file.path, starts[each], "".join(was[i:j]), "".join(now[k:m]))
            for each in made
            for _, i, j, k, m in blocks[each : each + 1]
        )
        found.append(State(text, changes, len(blocks) - len(made)))
    return found


def _proposed(state: State, edit: NextEdit, edits: Sequence[NextEdit], after: str, final: Counter[str]) -> Proposed:
    """Judge an edit along with those of its kind on the same lines: one line may need several."""
    text = state.text
    start = text.rfind("\n", 0, edit.span.start) + 1
    end = text.find("\n", edit.span.end)
    end = len(text) if end < 0 else end
    around = [
        Option(each.document, each.span, each.text)
        for each in edits
        if each.kind == edit.kind and start <= each.span.start and each.span.end <= end
    ]
    tail = len(text) - end
    made = applied(text, around)
    was, now = text[start:end], made[start : len(made) - tail]
    old, new = Counter(_bare(was.split("\n"))), Counter(_bare(now.split("\n")))
    present, then = (Counter(_bare(each.split("\n"))) for each in (text, made))
    stands = all(then[each] <= final[each] for each in new)
    left = all(final[each] < present[each] for each in old - new)
    replaced = text[edit.span.start : edit.span.end].strip()
    gone = bool(replaced) and not re.search(rf"(?<!\w){re.escape(replaced)}(?!\w)", after)
    return Proposed(was, now, edit.kind, edit.certainty, edit.reason, stands and left, gone)


def _bare(lines: Iterable[str]) -> Iterator[str]:
    return (each.strip() for each in lines if each.strip())
