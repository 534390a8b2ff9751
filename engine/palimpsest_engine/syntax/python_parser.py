"""Ask Python's own parser and compiler for errors: tree-sitter's grammar accepts headers without a body, lines that are
indented for no reason, half of an assignment, and a `return` anywhere. Strings only; nothing is ever executed."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

# Python's parser holds the interpreter's lock: at this size, for about 15 ms.
LONGEST = 65_536
LONGEST_COMPILED = 32_768  # compiling takes three times as long
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


def error_of(source: str, near: Sequence[tuple[int, int]] = ()) -> PythonError | None:
    """Return the first error that the running Python finds. None if there is none, or if the source is too long, has NUL
    characters or is nested too deeply.

    near: first and last lines of fills, from 1 on. What is only seen when a statement is compiled (a `return` outside a
    function, an argument twice, an import above `from __future__`) is looked for in the statements around these.
    """
    source = source.removeprefix("\ufeff")
    if len(source) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in the user's strings do not matter here
            module = ast.parse(source)
            if near:
                _compile_near(module, source, near)
    except SyntaxError as error:
        return PythonError(error.lineno or 1, _WHERE.sub("", error.msg))
    except (ValueError, RecursionError, MemoryError):
        return None
    return None


def _compile_near(module: ast.Module, source: str, near: Sequence[tuple[int, int]]) -> None:
    """Compile the statements around some lines, and those down to the last `from __future__`. Raises SyntaxError."""
    first, last = min(first for first, _ in near) - 1, max(last for _, last in near) + 1
    chosen = [i for i, each in enumerate(module.body) if _begins(each) <= last and (each.end_lineno or last) >= first]
    future = [
        i for i, each in enumerate(module.body) if isinstance(each, ast.ImportFrom) and each.module == "__future__"
    ]
    if not chosen:
        return
    wanted = sorted({*chosen, *range(future[-1] + 1 if future else 0)})
    lines = sum((module.body[i].end_lineno or 0) - _begins(module.body[i]) + 1 for i in wanted)
    if lines * len(source) > LONGEST_COMPILED * (source.count("\n") + 1):
        return  # at the file's usual length of lines it would take too long
    module.body = [module.body[i] for i in wanted]
    # Cells of a notebook await at the top level, and nothing here says whether this is one.
    compile(module, "<fill>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def _begins(statement: ast.stmt) -> int:
    """Return the first line of a statement, decorators included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min(statement.lineno, *(each.lineno for each in decorators)) if decorators else statement.lineno


def with_body(source: str, line: int) -> str:
    """Return the source with a body for the header in `line`, from 1 on; for a `try`, also with a `finally`."""
    lines = source.split("\n")
    header = lines[line - 1]
    indent = header[: len(header) - len(header.lstrip())]
    body = [f"{indent}    pass"]
    if header.lstrip().startswith("try"):
        body += [f"{indent}finally:", f"{indent}    pass"]
    return "\n".join([*lines[:line], *body, *lines[line:]])
