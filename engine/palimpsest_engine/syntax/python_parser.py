"""Ask Python's own parser for errors: tree-sitter's grammar accepts headers without a body, lines that are indented for no
reason, and half of an assignment. Strings only; nothing is ever executed."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

# Python's parser holds the interpreter's lock: at this size, for about 15 ms.
LONGEST = 65_536
_WHERE = re.compile(r" on line \d+")  # in a message; the number is wrong for a part of a document
_BODY_MISSING = ("expected an indented block", "expected 'except' or 'finally' block")


@dataclass(frozen=True, slots=True)
class PythonError:
    """The first error of a source: its line, from 1 on, and the parser's message."""

    line: int
    message: str

    @property
    def body_missing(self) -> bool:
        """Return whether a header lacks its body."""
        return self.message.startswith(_BODY_MISSING)


def error_of(source: str) -> PythonError | None:
    """Return the first error that the running Python's parser finds. None if there is none, or if the source is too long,
    has NUL characters or is nested too deeply."""
    if len(source) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in the user's strings do not matter here
            ast.parse(source)
    except SyntaxError as error:
        return PythonError(error.lineno or 1, _WHERE.sub("", error.msg))
    except (ValueError, RecursionError, MemoryError):
        return None
    return None


def with_body(source: str, line: int) -> str:
    """Return the source with a body for the header in `line`, from 1 on; for a `try`, also with a `finally`."""
    lines = source.split("\n")
    header = lines[line - 1]
    indent = header[: len(header) - len(header.lstrip())]
    body = [f"{indent}    pass"]
    if header.lstrip().startswith("try"):
        body += [f"{indent}finally:", f"{indent}    pass"]
    return "\n".join([*lines[:line], *body, *lines[line:]])
