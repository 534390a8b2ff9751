"""Ask a chat model to rewrite a selection as a user has instructed, and read its answer. Text only: no tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent, indent

from palimpsest_engine.prompt.answer_text import FENCE, indented_like, unfenced, without_surroundings
from palimpsest_engine.prompt.edit_formats import Mark, Prompt
from palimpsest_engine.prompt.pieces import plain

_SYSTEM = "You edit source code exactly as you are told, and change nothing else."
_END = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class InstructAsk:
    """A selection to rewrite. prefix, suffix: the text around it. diagnostics: sentences of other tools about it."""

    instruction: str
    language: str
    path: str
    prefix: str
    selection: str
    suffix: str
    diagnostics: tuple[str, ...] = ()

    @property
    def margin(self) -> str:
        """Return the white space that all lines of the selection begin with."""
        lines = [line for line in self.selection.splitlines() if line.strip()]
        first = min((len(line) - len(line.lstrip()) for line in lines), default=0)
        return lines[0][:first] if lines else ""


def chatml(ask: InstructAsk) -> Prompt:
    """Return the turns that Qwen's chat template makes of an ask, with the answer begun.

    The text around the selection is not shown: a coder of half a billion parameters then rewrote that, too.
    """
    said = "".join(f"A tool says of it: {each}\n" for each in ask.diagnostics)
    question = (
        f"This is a part of {ask.path}:\n{_block(ask, dedent(ask.selection))}\n\n{said}"
        f"Rewrite this code: {ask.instruction.strip()}\n\n"
        "Answer with the whole rewritten code and nothing else."
    )
    start, end = Mark("<|im_start|>"), Mark(_END)
    turns = (start, f"system\n{_SYSTEM}", end, "\n", start, f"user\n{question}", end, "\n", start)
    return (*turns, f"assistant\n{fence_of(ask)}{ask.language}\n")


def replacement(ask: InstructAsk, answer: str) -> str:
    """Return the replacement that an answer stands for, with the margin of the selection and its blank lines at both ends.

    A fence ends it. Remarks, and lines at its ends that repeat the text around the selection, are left out. It is indented
    with tabs or blanks as the selection is.
    """
    _, *turn_ends = ends_of(ask)
    for end in turn_ends:
        answer = answer.partition(end)[0]
    lines = plain(answer).split("\n")
    code = without_surroundings(unfenced(lines, ask.language, fence_of(ask)), ask.prefix, ask.suffix, ask.selection)
    if not code:
        return ""
    written = indent(indented_like(dedent("\n".join(code)), ask.selection), ask.margin)
    bare = ask.selection.strip("\n")
    before, _, after = ask.selection.partition(bare) if bare else ("", "", ask.selection)
    return before + written.strip("\n") + after


def ends_of(ask: InstructAsk) -> tuple[str, ...]:
    """Return the texts that end an answer: the fence, and the end of a turn unless the code has that text itself."""
    fence = f"\n{fence_of(ask)}"
    return (fence,) if _END in ask.selection + ask.instruction else (fence, _END)


def fence_of(ask: InstructAsk) -> str:
    """Return a fence for the selection: longer than those in it."""
    within = re.findall(rf"^[ \t]*({FENCE}`*)", ask.selection, re.MULTILINE)
    return max(within, key=len) + "`" if within else FENCE


def _block(ask: InstructAsk, text: str) -> str:
    fence = fence_of(ask)
    return f"{fence}{ask.language}\n{text if text.endswith(chr(10)) else text + chr(10)}{fence}"
