"""A finder for tests that knows no grammar: a word that has become another one has to change everywhere else, too."""

import re

from palimpsest_engine import FollowUps, NextEdit, NextEditQuestion, Span


def follow_ups(question: NextEditQuestion) -> FollowUps:
    """Return an edit for each further use of a word that was changed, in the order of the documents."""
    found = []
    for change in question.changes:
        old, new = re.findall(r"\w+", change.before), re.findall(r"\w+", change.after)
        if change.start is None or len(old) != len(new):
            continue
        for was, now in {pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]}:
            for document in question.documents:
                certainty = (
                    "likely" if "maybe" in document.text else "possible" if "perhaps" in document.text else "sure"
                )
                for use in re.finditer(rf"\b{was}\b", document.text):
                    span = Span(use.start(), use.end())
                    reason = f"`{was}` was renamed"
                    found.append(NextEdit(document.name, span, now, "rename", reason, certainty))
    return FollowUps(tuple(dict.fromkeys(found)), reason="" if found else "nothing follows from the last change")
