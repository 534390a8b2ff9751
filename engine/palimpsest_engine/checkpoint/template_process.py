"""Render one chat template from standard input and end: the process behind `chat_template.py`.

The environment is that of transformers' `apply_chat_template`: jinja2's immutable sandbox, without a loader, so that no
template reads a file or includes another one. The system bounds memory and time.
"""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MEMORY = 1 << 29  # bytes
SECONDS = 2  # of processor time
LONGEST = 200  # characters of a reason
MOST = 1 << 16  # characters of what a template writes


class Generation(Extension):
    """The block `{% generation %}`, which marks the assistant's text for training, and changes nothing of it."""

    tags = {"generation"}  # noqa: RUF012  # as the library declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return what stands in the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Names(Namespace):
    """A namespace whose names begin with no underscore, so that no template reaches into Python by it."""

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a name. Raises SecurityError for one that begins with an underscore."""
        if str(name).startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace has no name {name}")
        super().__setitem__(name, value)


def namespace(*args: Any, **names: Any) -> Names:
    """Return a namespace with these names in it."""
    found = Names()
    for name, value in dict(*args, **names).items():
        found[name] = value
    return found


def complain(message: str) -> None:
    """Raise what a template says is wrong."""
    raise jinja2.TemplateError(message)


def as_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return a value as JSON, in which nothing is escaped for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment() -> ImmutableSandboxedEnvironment:
    """Return the environment in which chat templates are rendered."""
    found = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    found.filters["tojson"] = as_json
    found.globals["raise_exception"] = complain
    found.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    found.globals["namespace"] = namespace
    return found


def answer(template: str, variables: dict[str, Any]) -> dict[str, str]:
    """Render a template; return its text, or the error in a few words."""
    try:
        out, size = list[str](), 0
        for part in environment().from_string(template).generate(**variables):
            out.append(part)
            size += len(part)
            if size > MOST:
                return {"error": f"it writes more than {MOST:,} characters"}
        return {"text": "".join(out)}
    except MemoryError:
        return {"error": "it takes too much memory"}
    except Exception as error:  # a template can raise anything
        said = " ".join(str(error).split()) or type(error).__name__
        said = said if len(said) <= LONGEST else f"{said[:LONGEST]}…"
        where = f" (line {error.lineno})" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        return {"error": said.rstrip(".") + where}


def bound() -> None:
    """Limit what this process may take, where the system can."""
    if sys.platform == "win32":  # there the other process has only the clock
        return
    import resource

    limits = {"RLIMIT_AS": MEMORY, "RLIMIT_CPU": SECONDS, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}
    for name, most in limits.items():
        with contextlib.suppress(ValueError, OSError, AttributeError):
            resource.setrlimit(getattr(resource, name), (most, most))


if __name__ == "__main__":
    question = json.load(sys.stdin)
    bound()
    json.dump(answer(*question), sys.stdout)
