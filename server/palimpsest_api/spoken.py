"""Read the two sides of a hole out of a prompt that a client has laid out for some model with control tokens."""

from __future__ import annotations

from dataclasses import dataclass

from palimpsest_engine import Excerpt
from palimpsest_engine.prompt.dialects import DIALECTS, PATH, PREFIX, Dialect


@dataclass(frozen=True, slots=True)
class Sides:
    """The text around a hole, as a prompt has it. path: of the document, if the prompt names it."""

    before: str
    after: str
    excerpts: tuple[Excerpt, ...] = ()
    path: str = ""


def sides_of(prompt: str) -> Sides | None:
    """Return what a prompt in one of the dialects says, or None if it is in none: whatever model it was written for, ours
    lays it out anew."""
    return next((found for dialect in DIALECTS if (found := _read(prompt, dialect)) is not None), None)


def _read(prompt: str, dialect: Dialect) -> Sides | None:
    # Both orders are one: text after the last control token is the end of the text before the hole.
    template = dialect.template("psm")
    controls = [part.removeprefix("▁") for part in template if part not in ("PREFIX", "SUFFIX")]
    opening, second, *rest = controls
    begun = prompt.find(opening)
    parted = prompt.find(second, begun + len(opening)) if begun >= 0 else -1
    if parted < 0:
        return None
    one, two = prompt[begun + len(opening) : parted], prompt[parted + len(second) :]
    beginning = ""
    if rest:
        two, middle, beginning = two.rpartition(rest[0])
        if not middle:
            return None
    if dialect.name == "codellama":
        one, two = one.removeprefix(" ").removesuffix(" "), two.removesuffix(" ")
    before, after = (one, two) if template.index(PREFIX) == 1 else (two, one)
    excerpts, path = _files(prompt[:begun], dialect)
    return Sides(before + beginning, after, excerpts, path)


def _files(head: str, dialect: Dialect) -> tuple[tuple[Excerpt, ...], str]:
    """Return the files that stand before the document, and the document's own path, if it is announced."""
    marker = dialect.file.partition(PATH)[0]
    if not marker or marker not in head:
        return ((Excerpt("", head),) if head.strip() else ()), ""
    excerpts, path = [], ""
    for number, each in enumerate(head.split(marker)[1:], 1):
        title, _, text = each.partition("\n")
        if dialect.own_file and number == head.count(marker) and not text.strip():
            path = title.strip()
        else:
            excerpts.append(Excerpt(title.strip(), text.rstrip("\n")))
    return tuple(excerpts), path
