"""The ways of asking a left-to-right model for the next edit: a window of code that may have to follow from some changes.

Text only. `sweep` and `zeta2` are the published prompts of Sweep's and Zed's models; `chatml` asks an instruction-tuned model
in sentences of our own, in the turns that Qwen's chat template makes. The answer is the window, written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from palimpsest_engine.request import Diff

NO_EDITS = "NO_EDITS"
_FENCE = "```"
_SYSTEM = "You finish a change that a programmer has begun."


class Mark(str):
    """A control token in a prompt, as opposed to text that happens to look like one."""


Prompt = tuple[str, ...]  # marks and texts in turn


@dataclass(frozen=True, slots=True)
class EditAsk:
    """A window to write anew.

    path, language: of its document. changes: what it may have to follow, the newest last. prefix, suffix: the text on either
    side of the window. window: whole lines. cursor: an offset in the window, or None.
    """

    path: str
    language: str
    changes: tuple[Diff, ...]
    prefix: str
    window: str
    suffix: str
    cursor: int | None = None

    @property
    def was(self) -> str:
        """Return the window as it was before those changes that are in it."""
        text = self.window
        for change in reversed(self.changes):
            if change.after and change.path == self.path and change.after in text:
                text = text.replace(change.after, change.before, 1)
        return text

    def marked(self, mark: str) -> str:
        """Return the window with a mark at the cursor."""
        if self.cursor is None:
            return self.window
        return self.window[: self.cursor] + mark + self.window[self.cursor :]


@dataclass(frozen=True, slots=True)
class EditFormat:
    """A way of asking. prompt: the marks and texts of an ask. ends: texts at which an answer ends."""

    name: str
    prompt: Callable[[EditAsk], Prompt]
    ends: tuple[str, ...]

    def window(self, ask: EditAsk, answer: str) -> str:
        """Return the window that an answer stands for; as it is where the answer is that nothing has to change."""
        ends = [at for end in self.ends if (at := answer.find(end)) >= 0]
        text = answer[: min(ends, default=len(answer))]
        if text.strip() in ("", NO_EDITS):
            return ask.window
        line_end = "\n" if ask.window.endswith("\n") else ""
        return text.rstrip("\n") + line_end * (1 + len(ask.window) - len(ask.window.rstrip("\n")) - len(line_end))


def _chatml(ask: EditAsk) -> Prompt:
    shown = "\n".join(
        f"Before:\n{_block(ask.language, each.before)}\nAfter:\n{_block(ask.language, each.after)}"
        for each in ask.changes
    )
    changed = (
        f"I changed this in {ask.path}.\n{shown}\nOther places do not fit that change yet. " if ask.changes else ""
    )
    question = (
        f"{changed}Here is the code as it is now:\n{_block(ask.language, ask.window)}\n"
        "Rewrite it completely so that everything fits the change. Answer with the code only."
    )
    start, end = Mark("<|im_start|>"), Mark("<|im_end|>")
    turns = (start, f"system\n{_SYSTEM}", end, "\n", start, f"user\n{question}", end, "\n", start)
    return (*turns, f"assistant\n{_FENCE}{ask.language}\n")


def _sweep(ask: EditAsk) -> Prompt:
    first = ask.prefix.count("\n") + 1
    place = f"{ask.path}:{first}:{first + ask.window.count(chr(10)) - 1}"
    file = Mark("<|file_sep|>")
    out = [file, f"{ask.path}\n{_lines(ask.prefix + ask.window + ask.suffix)}"]
    for each in ask.changes:
        out += [file, f"{each.path}.diff\noriginal:\n{_lines(each.before)}updated:\n{_lines(each.after)}"]
    out += [file, f"original/{place}\n{_lines(ask.was)}", file, f"current/{place}\n{_lines(ask.marked('<|cursor|>'))}"]
    return (*out, file, f"updated/{place}\n")


def _zeta2(ask: EditAsk) -> Prompt:
    history = "".join(f"--- a/{each.path}\n+++ b/{each.path}\n{_hunk(each)}\n" for each in ask.changes)
    return (
        Mark("<[fim-suffix]>"),
        f"{ask.suffix}\n",
        Mark("<[fim-prefix]>"),
        f"<filename>edit_history\n{history}<filename>{ask.path}\n"
        f"{ask.prefix}<<<<<<< CURRENT\n{_lines(ask.marked('<|user_cursor|>'))}=======\n",
        Mark("<[fim-middle]>"),
    )


FORMATS = {
    each.name: each
    for each in (
        EditFormat("chatml", _chatml, (f"\n{_FENCE}", "<|im_end|>")),
        EditFormat("sweep", _sweep, ("<|file_sep|>", "<|endoftext|>")),
        EditFormat("zeta2", _zeta2, (">>>>>>> UPDATED",)),
    )
}


def _hunk(change: Diff) -> str:
    old, new = change.before.splitlines(), change.after.splitlines()
    lines = [f"@@ -1,{len(old)} +1,{len(new)} @@", *(f"-{each}" for each in old), *(f"+{each}" for each in new)]
    return "\n".join(lines) + "\n"


def _block(language: str, text: str) -> str:
    return f"{_FENCE}{language}\n{_lines(text)}{_FENCE}"


def _lines(text: str) -> str:
    """Return a text that ends with the end of a line, unless it is empty."""
    return text if not text or text.endswith("\n") else text + "\n"


def plain_text(prompt: Prompt, marks: Sequence[str]) -> str:
    """Return a prompt as one text, for servers; what looks like a mark in the code is broken up."""
    out = []
    for part in prompt:
        text = str(part)
        if not isinstance(part, Mark):
            for mark in marks:
                text = text.replace(mark, f"{mark[:1]} {mark[1:]}")
        out.append(text)
    return "".join(out)
