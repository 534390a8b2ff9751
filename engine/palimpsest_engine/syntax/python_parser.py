"""What Python's own parser says of a source: tree-sitter's grammar also takes headers without a body, lines that are
indented for no reason, and half of an assignment. Strings only; nothing is ever executed."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

# Python's parser does not let go of the interpreter: at this size it takes about 15 ms.
LONGEST = 65_536
_WHERE = re.compile(r" on line \d+")  # of the header, say; in a part of a document that is another one
_BODY_MISSING = ("expected an indented block", "expected 'except' or 'finally' block")


@dataclass(frozen=True, slots=True)
class PythonError:
    """The first error of a source: its line, from 1 on, and what the parser calls it."""

    line: int
    message: str

    @property
    def body_missing(self) -> bool:
        """A header is there, and what it heads is not."""
        return self.message.startswith(_BODY_MISSING)


def error_of(source: str) -> PythonError | None:
    """The first error that the parser of the running Python finds; None if it finds none, or cannot say: too long a
    source, NUL characters, or nested too deeply."""
    if len(source) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in the user's strings are nobody's business here
            ast.parse(source)
    except SyntaxError as error:
        return PythonError(error.lineno or 1, _WHERE.sub("", error.msg))
    except (ValueError, RecursionError, MemoryError):
        return None
    return None


def with_body(source: str, line: int) -> str:
    """The source with a body for the header in `line`, from 1 on; and for a `try`, with what has to follow that."""
    lines = source.split("\n")
    header = lines[line - 1]
    indent = header[: len(header) - len(header.lstrip())]
    body = [f"{indent}    pass"]
    if header.lstrip().startswith("try"):
        body += [f"{indent}finally:", f"{indent}    pass"]
    return "\n".join([*lines[:line], *body, *lines[line:]])
