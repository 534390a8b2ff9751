"""Cuts problems with known true text out of held-out packages.

The places do not depend on a tokenizer, so that all checkpoints are compared on the same holes. Only `short_holes`
depend on one: the first checkpoint was measured on them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palimpsest_engine.errors import DataError, DocumentMissing
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_eval.problems import Problem

KINDS = ("span", "rest of line", "line", "block")
NOTHING = "nothing"  # nothing is missing there: at the end of a line, or on a blank one
SHORT_KINDS = ("span", "rest of line", "line")
_LEXEMES = re.compile(r"\w+|[^\w\s]")
_SPAN, _BLOCK, _LONGEST_LINE = (1, 6), (2, 5), 160
_TRIES = 1000


@dataclass(frozen=True, slots=True)
class Document:
    """A held-out file and its origin: package and path."""

    package: str
    path: str
    text: str

    @property
    def language(self) -> str | None:
        """Return the language by the file's name; Python if it has no name."""
        return language_of(self.path, None) if self.path else "python"


def documents(corpus: Path) -> list[Document]:
    """Read the files in a corpus folder's `held_out.jsonl`. Raises DocumentMissing, or DataError that names the line."""
    path = corpus / "held_out.jsonl"
    found: list[Document] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line)
                    found.append(Document(str(row.get("package", "")), str(row.get("path", "")), row["text"]))
                    found[-1].text.encode()
                except (ValueError, KeyError, AttributeError, TypeError) as error:
                    raise DataError(f"{path} line {number}: not a document with a text") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DocumentMissing(f"there is no corpus in {corpus} (no held_out.jsonl)") from error
    if not found:
        raise DataError(f"{path} has no documents in it")
    return found


def problems(documents: Sequence[Document], count: int, seed: int, kinds: Sequence[str] = KINDS) -> Iterator[Problem]:
    """Cut seeded holes; the kinds take turns, and every package is equally likely.

    The kinds are spans of 1 to 6 words or signs within a line, rests of lines, whole lines without their indentation,
    and 2 to 5 whole lines. No hole comes twice, is blank, or is a comment. `NOTHING`
    cuts nothing out. Raises DataError if the documents have too few holes.
    """
    rng = random.Random(seed)
    packages: dict[str, list[Document]] = {}
    for document in documents:
        packages.setdefault(document.package, []).append(document)
    shelves, seen = list(packages.values()), set[tuple[str, str, int, int]]()
    tries = 0
    while len(seen) < count:
        tries += 1
        if tries > _TRIES * count:
            raise DataError(f"these documents do not have {count} different holes to fill")
        document = rng.choice(rng.choice(shelves))
        kind = kinds[len(seen) % len(kinds)]
        hole = _hole(document.text, kind, rng)
        if (
            hole is None
            or document.text.startswith(("#", "//"), hole[0])
            or (key := (document.package, document.path, *hole)) in seen
        ):
            continue
        seen.add(key)
        yield cut(document, *hole, kind)


def cut(document: Document, start: int, end: int, kind: str) -> Problem:
    """Cut `[start, end)` out of a document; the text that stood there is the truth."""
    text = document.text
    line = text.count("\n", 0, start) + 1
    return Problem(
        task_id=f"{document.package}/{document.path}:{line}:{start}-{end}",
        prompt=text[:start],
        suffix=text[end:],
        truth=text[start:end],
        kind=kind,
        language=document.language,
    )


def _hole(text: str, kind: str, rng: random.Random) -> tuple[int, int] | None:
    """Draw a place. Returns its `(start, end)`, or None if it is not suitable."""
    line = text.rfind("\n", 0, rng.randrange(len(text))) + 1
    end = text.find("\n", line)
    end = len(text) if end < 0 else end
    words = [match.span() for match in _LEXEMES.finditer(text, line, end)]
    if not words or _comment(text[line:end]) or end - line > _LONGEST_LINE:
        return None
    if kind == NOTHING:
        return end, end
    if kind == "span":
        first = rng.randrange(len(words))
        last = min(first + rng.randint(*_SPAN), len(words)) - 1
        return words[first][0], words[last][1]
    if kind == "rest of line":
        return rng.choice(words)[0], end
    if kind == "line":
        return words[0][0], end
    for _ in range(rng.randint(*_BLOCK) - 1):
        following = text.find("\n", end + 1)
        following = len(text) if following < 0 else following
        if end + 1 >= len(text) or following - end - 1 > _LONGEST_LINE:
            return None
        end = following
    ends_with = text[text.rfind("\n", 0, end) + 1 : end]
    return None if not ends_with.strip() or _comment(ends_with) else (words[0][0], end)


def _comment(line: str) -> bool:
    return line.lstrip().startswith(("#", "//"))


def short_holes(texts: Sequence[str], tokenizer: Any, count: int, most_tokens: int, seed: int) -> Iterator[Problem]:
    """Cut seeded holes of at most `most_tokens` tokens: token spans, rests of lines and whole lines take turns.

    No hole is blank or lies in a comment line.
    """
    rng = random.Random(seed)
    made = 0
    while made < count:
        text = rng.choice(texts)
        encoding = tokenizer.encode(text, add_special_tokens=False)
        first = rng.randrange(len(encoding.offsets))
        kind = SHORT_KINDS[made % len(SHORT_KINDS)]
        start, end = (
            encoding.offsets[first][0],
            encoding.offsets[min(first + rng.randint(0, 7), len(encoding.ids) - 1)][1],
        )
        if kind != "span":
            line_start = text.rfind("\n", 0, start) + 1
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            if kind == "line":
                start = line_start + len(text[line_start:end]) - len(text[line_start:end].lstrip())
        truth = text[start:end]
        line = text[text.rfind("\n", 0, start) + 1 : start]
        if not truth.strip() or line.lstrip().startswith("#") or truth.startswith("#"):
            continue
        if len(tokenizer.encode(truth, add_special_tokens=False).ids) > most_tokens:
            continue
        made += 1
        yield Problem(str(made), text[:start], text[end:], truth, kind=kind)
