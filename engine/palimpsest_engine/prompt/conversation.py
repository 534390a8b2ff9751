"""Lay out a conversation about a selection as messages: rewriting it, writing something about it, explaining it.

Text only: no tokens. `instruct.py` asks for a rewriting and reads the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from textwrap import dedent, indent
from typing import Literal

from palimpsest_engine.prompt.edit_formats import Mark, Prompt
from palimpsest_engine.prompt.instruct import InstructAsk, chatml, replacement
from palimpsest_engine.prompt.pieces import plain
from palimpsest_engine.request import Excerpt, Turn

Task = Literal["rewrite", "write", "explain"]
Role = Literal["system", "user", "assistant"]
_EXPLAINS = "You explain source code to programmers, briefly and in plain sentences."
_WRITES = "You write source code exactly as you are told, and nothing else."
_FENCE = "```"
_SENTENCE = re.compile(r"[.!?:][\"')\]*`]*(?=\s|$)")
_FENCE_LINE = re.compile(r"^[ \t]*(```+).*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that a model is asked. turns: earlier ones, the newest last. excerpts: of elsewhere, the most useful last."""

    ask: InstructAsk
    task: Task = "rewrite"
    turns: tuple[Turn, ...] = ()
    excerpts: tuple[Excerpt, ...] = ()

    @property
    def begun(self) -> str:
        """Return the beginning of the answer, where it can be begun for the model."""
        if self.task == "rewrite":
            return _messages(chatml(self.ask))[-1].text
        return "" if self.task == "explain" else f"{_FENCE}{self.ask.language}\n"

    def messages(self) -> tuple[Message, ...]:
        """Return the messages up to the question that is to be answered."""
        turns = self.known
        out = list(self._first(turns[0] if turns else None))
        for number, turn in enumerate(turns, 1):
            following = turns[number].instruction if number < len(turns) else ""
            out += [Message("assistant", self._answered(turn)), Message("user", self._followed(following))]
        return tuple(out)

    @property
    def known(self) -> tuple[Turn, ...]:
        """Return the turns that can be shown: a rewriting without the code that it was about leads models astray."""
        if self.task == "rewrite" and self.turns and not self.turns[0].before:
            return self.without_oldest().turns
        return self.turns

    def without_oldest(self) -> Conversation:
        """Return the conversation without its oldest turn; what was answered there is what the next one is about."""
        gone, *rest = self.turns
        if rest and self.task == "rewrite":
            rest[0] = replace(rest[0], before=gone.answer)
        return replace(self, turns=tuple(rest))

    def fitting(self, fits: Callable[[Conversation], bool]) -> Conversation:
        """Return as much as fits: without the oldest turns, then the least useful excerpts, then some diagnostics.

        What is asked now stays.
        """
        conversation = self
        while not fits(conversation):
            if conversation.turns:
                conversation = conversation.without_oldest()
            elif len(conversation.excerpts) > 1:
                conversation = replace(conversation, excerpts=conversation.excerpts[1:])
            elif told := conversation.ask.diagnostics:
                conversation = replace(conversation, ask=replace(conversation.ask, diagnostics=told[: len(told) // 2]))
            else:
                break
        return conversation

    def _first(self, turn: Turn | None) -> tuple[Message, Message]:
        """Return the system's message and the first question: of an earlier turn, or the one that is to be answered."""
        ask = self.ask
        if turn is not None:
            ask = replace(ask, instruction=turn.instruction)
        if self.task == "explain":
            return Message("system", _EXPLAINS), Message("user", _explain(ask, self.excerpts))
        if self.task == "write":
            return Message("system", _WRITES), Message("user", _write(ask, self.excerpts))
        if turn is not None:
            ask = replace(ask, selection=plain(turn.before), diagnostics=())
        system, question, *_ = _messages(chatml(ask))
        return system, question

    def _answered(self, turn: Turn) -> str:
        return plain(turn.answer) if self.task == "explain" else _block(self.ask.language, dedent(plain(turn.answer)))

    def _followed(self, instruction: str) -> str:
        """Return a question about the answer before it; "" for the question that is to be answered."""
        ask, shown = self.ask, ""
        if not instruction:
            instruction = ask.instruction
            if self.task == "rewrite":
                if ask.selection != plain(self.turns[-1].answer):
                    shown = f"The code is now:\n{_block(ask.language, dedent(ask.selection))}\n\n"
                shown += _told(ask)
        if self.task == "explain":
            return instruction.strip()
        return f"{shown}Now rewrite your code: {instruction.strip()}\n\nAnswer with the whole code and nothing else."

    def answer(self, text: str) -> str:
        """Return what goes into the hole, or is told, for an answer of a model to which `begun` was shown."""
        if self.task == "rewrite":
            return replacement(self.ask, text)
        return self._code(text) if self.task == "write" else text.strip()

    def _code(self, text: str) -> str:
        """Return new code, as whole lines at the place where it goes."""
        ask = self.ask
        bare = replacement(replace(ask, selection=""), text)
        if not bare:
            return ""
        beside = ask.prefix.rpartition("\n")[2]
        margin = "" if beside.strip() else beside
        before = "\n" if beside.strip() else ""
        after = "" if ask.suffix.startswith("\n") else "\n"
        return before + indent(bare, margin).removeprefix(margin) + after


def chatml_of(conversation: Conversation) -> Prompt:
    """Return the turns that Qwen's chat template makes of a conversation, with the answer begun."""
    start, end = Mark("<|im_start|>"), Mark("<|im_end|>")
    out: list[str] = []
    for each in conversation.messages():
        out += [start, f"{each.role}\n{each.text}", end, "\n"]
    return (*out, start, f"assistant\n{conversation.begun}")


def as_one_question(conversation: Conversation) -> str:
    """Return a conversation as one question, for a model with a template of its own. The last answer stands in the hole."""
    ask, earlier = conversation.ask, [each.instruction.strip() for each in conversation.turns]
    if conversation.task != "rewrite":
        system, question, *_ = replace(conversation, turns=()).messages()
        said = (f"{each.instruction.strip()}\n{plain(each.answer).strip()}\n\n" for each in conversation.turns)
        return f"{system.text}\n\n{''.join(said)}{question.text}"
    before = f"It was rewritten already, as these sentences say: {' '.join(earlier)}\n" if earlier else ""
    return (
        f"Write out the whole file {ask.path}, with one change. This part of it is to be rewritten:\n\n"
        f"{_block(ask.language, dedent(ask.selection))}\n\n{before}{_told(ask)}"
        f"Rewrite it so: {ask.instruction.strip()}\n\nEverything else stays as it is. Answer with the file alone."
    )


def with_ending(question: str, language: str, ending: str) -> str:
    """Return a question about a file with the end of that file, which does not change."""
    return (
        f"{question}\n\nBelow that part the file reads so:\n\n{_block(language, ending)}"
        if ending.strip()
        else question
    )


def code_in(answer: str) -> tuple[str, bool, bool]:
    """Return the first block of an answer that was not begun for the model, whether it has one, and whether it is closed.

    An answer without any is code as it is.
    """
    opening = _FENCE_LINE.search(answer)
    if opening is None:
        return answer, False, False
    end = re.compile(rf"^[ \t]*{opening[1]}`*[ \t]*$", re.MULTILINE)  # not a fence of the code itself
    closing = end.search(answer, opening.end())
    block = answer[opening.end() : len(answer) if closing is None else closing.start()]
    return block.removeprefix("\n"), True, closing is not None


def whole_sentences(text: str) -> str:
    """Return a text that was cut off, up to its last whole sentence."""
    ends = [found.end() for found in _SENTENCE.finditer(text)]
    cut = text[: ends[-1]] if ends else text.rpartition(" ")[0] + " …"
    return f"{cut}\n{_FENCE}" if len(_FENCE_LINE.findall(cut)) % 2 else cut


def _messages(prompt: Prompt) -> list[Message]:
    """Return the messages of a prompt in Qwen's turns."""
    turns = (prompt[at + 1].partition("\n") for at, part in enumerate(prompt[:-1]) if part == Mark("<|im_start|>"))
    roles: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}
    return [Message(roles[role], text) for role, _, text in turns]


def _explain(ask: InstructAsk, excerpts: Sequence[Excerpt]) -> str:
    return (
        f"{_shown(ask.language, excerpts)}This is a part of {ask.path}:\n{_block(ask.language, dedent(ask.selection))}\n\n"
        f"{_told(ask)}{ask.instruction.strip()}\n\nAnswer in a few plain sentences, without repeating the code."
    )


def _write(ask: InstructAsk, excerpts: Sequence[Excerpt]) -> str:
    present = there = ""
    if excerpts:
        there = " The code above is there already: do not repeat it."
    if ask.selection.strip():
        present = f"It takes the place of this:\n{_block(ask.language, dedent(ask.selection))}\n\n"
    return (
        f"{_shown(ask.language, excerpts)}Write code for {ask.path}: {ask.instruction.strip()}\n\n{present}{_told(ask)}"
        f"Answer with the new code and nothing else.{there}"
    )


def _shown(language: str, excerpts: Sequence[Excerpt]) -> str:
    return "".join(f"{each.title}:\n{_block(language, dedent(plain(each.text)))}\n\n" for each in excerpts)


def _told(ask: InstructAsk) -> str:
    return "".join(f"A tool says of it: {each}\n" for each in ask.diagnostics)


def _block(language: str, text: str) -> str:
    return f"{_FENCE}{language}\n{text if text.endswith(chr(10)) else text + chr(10)}{_FENCE}"
