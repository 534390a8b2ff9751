"""Write the prompt of a middle as one text, for servers that do not write it themselves."""

from __future__ import annotations

from palimpsest_engine.errors import EndpointError
from palimpsest_engine.prompt.dialects import DIALECTS, PREFIX, SUFFIX, Dialect, dialect_for
from palimpsest_engine.remote.asking import Ask

_CONTROLS = frozenset().union(*(each.controls for each in DIALECTS))


def dialect_named(name: str | None, model: str) -> Dialect | None:
    """Return the dialect of that name; without one, the one that the model's name tells, or None. Raises EndpointError."""
    if name is None:
        return dialect_for(model)
    for each in DIALECTS:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in DIALECTS)
    raise EndpointError(f"The setting endpoint names the dialect {name}; there are {known}.")


def prompt_of(ask: Ask, dialect: Dialect) -> str:
    """Return the prompt in a dialect. Control tokens that the code happens to contain are broken up."""
    controls = dialect.controls | {*dialect.ends}
    parts = {PREFIX: _plain(with_excerpts(ask), controls), SUFFIX: _plain(ask.suffix, controls)}
    # SentencePiece writes a blank in a token as U+2581; a server tokenises text.
    return "".join(parts[each] if each in parts else each.replace("▁", " ") for each in dialect.template("psm"))


def sides(ask: Ask) -> tuple[str, str]:
    """Return the text before and after the hole, for a server that puts control tokens around them."""
    return _plain(with_excerpts(ask), _CONTROLS), _plain(ask.suffix, _CONTROLS)


def with_excerpts(ask: Ask) -> str:
    """Return the text before the hole, with the excerpts before it, each under a comment with its title."""
    shown = (f"{ask.comment} {each.title}\n{each.text}\n\n" for each in ask.excerpts)
    return "".join(shown) + ask.prefix


def _plain(text: str, controls: frozenset[str]) -> str:
    """Return a text in which no control token is left: a server would take it for its own."""
    for control in controls:
        if control in text:
            text = text.replace(control, f"{control[:1]} {control[1:]}")
    return text
