"""Take a document for a language, by what the editor calls it or by its file's name; hold models to theirs. Loads nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from palimpsest_engine.syntax.grammars import language_of

# Ids of the protocol that share a grammar with another one, and are languages of their own all the same.
_OWN = frozenset(
    ("dockercompose", "github-actions-workflow", "javascriptreact", "jsonc", "shellscript", "typescriptreact")
)
# A template's file has the ending of what it makes (`values.yaml` of Helm), but is not in that language; nor is a header of
# Objective-C in C++, or a language that the user has declared to be plain text.
_NOT_BY_ITS_NAME = re.compile(
    r"ansible|blade|django|erb|handlebars|helm|jinja|liquid|objective|plain|razor|template|text|tmpl|twig"
)
_SHOWN = 40


def language_id(given: str, path: str | None = None) -> str:
    """Return the language id that a document is taken for, in lower case; "" if nothing tells.

    given: the editor's name for it; one that is known, or an alias of one, decides. Otherwise the name of the file does, if
    that is known, unless the editor names a kind of template or plain text.
    """
    name = given.strip().lower()
    if name in _OWN:
        return name
    if known := language_of(None, name):
        return known
    return name if _NOT_BY_ITS_NAME.search(name) else language_of(path, None) or name


def untrained(
    model: str, languages: Sequence[str], language: str | None, path: str | None, called: str | None = None
) -> str:
    """Return why a model that was trained on these languages is not asked about a document, or "".

    languages: empty for all. language: as `language_id` returns it; None to judge by the file's name. With neither of them,
    nothing is known, and nothing is objected to. called: the editor's name for the language, None if there is no editor.
    """
    taken = language or language_of(path, None) or ""
    if not languages or not (language or path) or {taken, language_of(None, taken)} & set(languages):
        return ""
    if not taken:
        what = "is in no language that its name tells"
    elif called and called.strip().lower() != taken:
        what = f"is {taken}, which the editor calls {called[:_SHOWN]!r}"
    else:
        what = f"is {taken}" if language and called != "" else f"is {taken} by the name of its file"
    return f"the checkpoint {model} was trained on {', '.join(languages)} only; this document {what}"
