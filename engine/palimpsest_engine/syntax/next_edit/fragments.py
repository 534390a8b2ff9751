"""Read a change that does not stand in an open document any more, from its own lines alone."""

from __future__ import annotations

import re
import textwrap

from palimpsest_engine.changes import Change
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene
from palimpsest_engine.syntax.tree import Parsed

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_STRINGS = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'")
_LONGEST = 8192


def changed_fragment(change: Change, scene: Scene) -> Changed | None:
    """Return the change with a document of its own; None if its language is not known, or it is long."""
    document = next((each for each in scene.question.documents if each.name == change.document), None)
    known = scene.documents[document.name].grammar if document is not None else None
    grammar = known or language_of(change.document, None)
    if not grammar or not change.before.strip() or len(change.before) + len(change.after) > _LONGEST:
        return None
    before, after = (_closed(textwrap.dedent(text)) for text in (change.before, change.after))
    now = Parsed(after, grammar, None, scene.question.budget_ms)
    if now.tree is None:
        return None
    return Changed(Change(change.document, 0, before, after), 0, now)


def _closed(text: str) -> str:
    """Return the text with the brackets closed that it leaves open: headers are often changed without their bodies."""
    left = list[str]()
    for sign in _STRINGS.sub("", text):
        if sign in _PAIRS:
            left.append(_PAIRS[sign])
        elif left and sign == left[-1]:
            left.pop()
    return text + "".join(reversed(left))
