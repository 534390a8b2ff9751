"""Write the prompt of a middle as one text, for servers that do not write it themselves."""

from __future__ import annotations

from dataclasses import replace

from palimpsest_engine.checkpoint.spec import edits_of
from palimpsest_engine.errors import EndpointError
from palimpsest_engine.prompt.dialects import DIALECTS, PATH, PREFIX, SUFFIX, Dialect, dialect_for
from palimpsest_engine.prompt.edit_formats import FORMATS
from palimpsest_engine.remote.asking import Ask

_CONTROLS = frozenset().union(*(each.controls for each in DIALECTS))


def dialect_named(name: str | None, model: str) -> Dialect | None:
    """Return the dialect of that name; without one, the one that the model's name tells, or None. Raises EndpointError."""
    if name is None or name in FORMATS:
        return dialect_for(model)
    for each in DIALECTS:
        if each.name == name:
            return each
    known = ", ".join([*(each.name for each in DIALECTS), *FORMATS])
    raise EndpointError(f"The setting endpoint names the dialect {name}; there are {known}.")


def edits_named(name: str | None, model: str) -> str:
    """Return the format of next edits of that name; without one, the one that the model's name tells, or ""."""
    return name if name in FORMATS else edits_of(model)


def prompt_of(ask: Ask, dialect: Dialect) -> str:
    """Return the prompt in a dialect, the text after the hole first where the model was taught that.

    It is laid out as `prompt.layout.taught_context` does for a checkpoint. Control tokens that the code happens to contain
    are broken up.
    """
    controls = dialect.controls | {*dialect.ends}
    parts = {PREFIX: _plain(ask.prefix, controls), SUFFIX: _plain(ask.suffix, controls)}
    body = "".join(parts[each] if each in parts else _spelled(each) for each in dialect.template("spm"))
    if not ask.excerpts:
        return body
    if not dialect.file:  # then the excerpts are part of the text before the hole
        return prompt_of(replace(ask, prefix=with_excerpts(ask), excerpts=()), dialect)
    files = [
        f"{dialect.file.replace(PATH, _plain(each.title, controls))}{_plain(each.text, controls)}\n\n"
        for each in ask.excerpts
    ]
    own = dialect.file.replace(PATH, ask.path) if dialect.own_file else ""
    return "".join((dialect.repo.replace(PATH, "project"), *files, own, body))


def _spelled(control: str) -> str:
    """Return a control token as a server's tokenizer reads it: SentencePiece writes the blank before a word as U+2581, while
    DeepSeek's tokens have that character in their names."""
    return f" {control[1:]}" if control.startswith("▁") else control


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
