"""Say what is asked by a request with an instruction, and judge the answer of any model to it. Text only."""

from __future__ import annotations

from dataclasses import replace

from palimpsest_engine.fill.following import nothing
from palimpsest_engine.prompt.conversation import Conversation, whole_sentences
from palimpsest_engine.prompt.instruct import InstructAsk
from palimpsest_engine.prompt.pieces import newline_of, plain
from palimpsest_engine.request import Fill, FillRequest, Verdict
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_engine.syntax.watched import SyntaxGate

NO_CHAT = (
    "The model was not taught to follow instructions; `palimpsest models pull qwen2.5-coder-0.5b --use` fetches one "
    "that was."
)
LONGEST = 3000  # tokens of a selection, an instruction and what is shown with them
ENDLESS = "The answer did not end, so nothing of it is offered."
EXPLAINED, NEW = 400, 640  # tokens of an explanation, and of new code
MORE = 384  # tokens that a replacement may have beyond the selection's
_AROUND = 4000  # characters on either side


def conversation_of(request: FillRequest) -> Conversation:
    """Return what a request with an instruction asks."""
    hole = request.holes[0]
    ask = InstructAsk(
        request.instruction,
        language_of(request.path, request.language) or "",
        request.path or "file",
        plain(request.text[max(0, hole.start - _AROUND) : hole.start]),
        plain(request.text[hole.start : hole.end]),
        plain(request.text[hole.end : hole.end + _AROUND]),
        request.diagnostics,
    )
    excerpts = () if request.task == "rewrite" else request.context
    return Conversation(ask, request.task, request.turns, excerpts)


def refused(request: FillRequest) -> str:
    """Return the reason why there is nothing to ask, or ""."""
    if not request.instruction.strip():
        return "The instruction is empty."
    hole = request.holes[0]
    if request.task == "rewrite" and hole.start == hole.end:
        return "There is nothing to rewrite here: the selection is empty."
    shown = request.text[hole.start : hole.end], *(each.text for each in request.context)
    if request.task == "explain" and not any(map(str.strip, shown)):
        return "There is nothing to explain here: the selection is empty."
    return ""


def limit_of(request: FillRequest, selected: int) -> int:
    """Return the tokens that an answer may have. selected: those of the selection."""
    return {"rewrite": selected + MORE, "write": NEW, "explain": EXPLAINED}[request.task]


def fitted(request: FillRequest, conversation: Conversation, answer: str) -> str:
    """Return what an answer puts into the hole, with the line ends of the document; or tells, with plain ones."""
    text = conversation.answer(answer)
    return text if request.task == "explain" else text.replace("\n", newline_of(request.text))


def judged(request: FillRequest, conversation: Conversation, answer: str, *, ended: bool) -> Fill:
    """Return the fill that an answer makes, or nothing and the reason. ended: the model came to its end."""
    text = fitted(request, conversation, answer)
    if not ended and request.task == "explain":
        text = whole_sentences(text)
    elif not ended and request.task == "write":
        text = fitted(request, conversation, answer.rpartition("\n")[0])  # whole lines may do
    elif not ended:
        return nothing(ENDLESS)
    if not text.strip():
        return nothing("The model wrote nothing.")
    if request.task == "explain":
        return Fill((text,), Verdict("not checked", "an explanation is no code"))
    hole = request.holes[0]
    if text == request.text[hole.start : hole.end]:
        return nothing("The model would leave everything as it is.")
    gate = SyntaxGate(request.text, request.holes, conversation.ask.language or None)
    verdict = gate.judge((text,))
    if verdict.status == "worse" and not ended:
        return nothing(ENDLESS)
    if verdict.status == "worse":
        return replace(nothing("The answer would have broken the syntax."), verdict=verdict, treatment="rejected")
    return Fill((text,), verdict, treatment="none" if ended else "cut")


def too_long(conversation: Conversation, selected: int, whole: int, most: int) -> str:
    """Say how much would fit. selected, whole, most: tokens of the selection, of all that is shown, and that may be shown."""
    lines = conversation.ask.selection.count("\n") + 1
    room = max(0, most - (whole - selected))
    fit = lines * room // max(selected, 1)
    if not selected or not fit:
        others = sum(len(each.text) for each in conversation.excerpts)
        what = "The instruction is" if len(conversation.ask.instruction) > others else "What the model is shown is"
        return f"{what} too long: {most:,} tokens fit with all that is shown, and it makes {whole:,} of them."
    return f"The selection of {lines:,} lines is too long: about {fit:,} of them would fit."
