"""Ask a chat model to rewrite a selection as a user has instructed, and read its answer. Text only: no tokens."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent, indent

from palimpsest_engine.prompt.edit_formats import Mark, Prompt

_SYSTEM = "You edit source code exactly as you are told, and change nothing else."
_FENCE = "```"
_END = "<|im_end|>"
ENDS = (f"\n{_FENCE}", _END)


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
        f"This is a part of {ask.path}:\n{_block(ask.language, dedent(ask.selection))}\n\n{said}"
        f"Rewrite this code: {ask.instruction.strip()}\n\n"
        "Answer with the whole rewritten code and nothing else."
    )
    start, end = Mark("<|im_start|>"), Mark(_END)
    turns = (start, f"system\n{_SYSTEM}", end, "\n", start, f"user\n{question}", end, "\n", start)
    return (*turns, f"assistant\n{_FENCE}{ask.language}\n")


def replacement(ask: InstructAsk, answer: str) -> str:
    """Return the replacement that an answer stands for, with the margin of the selection and its blank lines at both ends.

    A fence ends it. Lines at its ends that repeat the text around the selection are left out.
    """
    text = answer[: min((at for end in ends_of(ask) if (at := answer.find(end)) >= 0), default=len(answer))]
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(_FENCE)]
    around = _words(ask.prefix) | _words(ask.suffix)
    own = _words(ask.selection)
    start, end = 0, len(lines)
    while start < end and _surplus(lines[start], around, own):
        start += 1
    while end > start and _surplus(lines[end - 1], around, own):
        end -= 1
    if start == end:
        return ""
    written = indent(dedent("\n".join(lines[start:end])), ask.margin)
    bare = ask.selection.strip("\n")
    before, _, after = ask.selection.partition(bare) if bare else ("", "", ask.selection)
    return before + written.strip("\n") + after


def ends_of(ask: InstructAsk) -> tuple[str, ...]:
    """Return the texts that end an answer; the end of a turn is none if the code has that text itself."""
    return ENDS[:1] if _END in ask.selection + ask.instruction else ENDS


def _words(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines()}


def _surplus(line: str, around: set[str], own: set[str]) -> bool:
    """Return whether a line at an end of an answer is blank, or repeats a line around the selection that is not its own."""
    bare = line.strip()
    return not bare or (bare in around and bare not in own and any(map(str.isalnum, bare)))


def _block(language: str, text: str) -> str:
    return f"{_FENCE}{language}\n{text if text.endswith(chr(10)) else text + chr(10)}{_FENCE}"
