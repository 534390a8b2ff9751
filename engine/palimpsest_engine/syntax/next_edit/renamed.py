"""Tells which names a change made others, and writes the edit that does the same to a further use. Finds no uses itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.syntax.next_edit.scene import Changed, token_text
from palimpsest_engine.syntax.next_edit.scopes import Occurrence, Scopes
from palimpsest_engine.syntax.tree import Parsed, Range

_NAME = re.compile(r"#?[^\W\d][\w$]*")


@dataclass(frozen=True, slots=True)
class Renamed:
    """One token that the change gave another name. role: what it is now, under the new name."""

    old: str
    new: str
    role: Occurrence


def renamed_by(changed: Changed, scopes: Scopes) -> list[Renamed]:
    """Return the names that became others, definitions first; none that became two different ones."""
    pairs, found = pairs_of(changed), list[Renamed]()
    for place, (old, new) in pairs.items():
        role = scopes.at(place)
        if role is not None and all(new == other for was, other in pairs.values() if was == old):
            found.append(Renamed(old, new, role))
    return sorted(found, key=lambda each: each.role.role != "definition")


def renamed_pairs(changed: Changed) -> set[tuple[str, str]]:
    """Return which names became which others."""
    return set(pairs_of(changed).values())


def pairs_of(changed: Changed) -> dict[Range, tuple[str, str]]:
    """Return the tokens that have another name now, with the old and the new one."""
    pairs = dict[Range, tuple[str, str]]()
    for hunk in changed.hunks:
        if len(hunk.was) == len(hunk.now):
            for was, now in zip(hunk.was, hunk.now, strict=True):
                old, new = token_text(changed.was, was), token_text(changed.now, now)
                is_name = was.is_named and now.is_named and _NAME.fullmatch(old) and _NAME.fullmatch(new)
                if old != new and is_name and new.strip("_"):  # `_` marks what is not used
                    pairs[now.byte_range] = old, new
    return pairs


def as_edit(
    document: str, parsed: Parsed, use: Occurrence, renamed: Renamed, where: str, certainty: Certainty
) -> NextEdit:
    """Return the edit that renames one use. where: "above", "below" or "in orders.py"."""
    text = f"{renamed.old}: {renamed.new}" if use.shorthand else renamed.new
    reason = f"`{renamed.old}` was renamed to `{renamed.new}` {where}"
    return NextEdit(document, parsed.span(use.place), text, "rename", reason, certainty)


def side(use: Occurrence, renamed: Renamed) -> str:
    """Return on which side of a use the renamed definition is."""
    return "above" if renamed.role.place < use.place else "below"
