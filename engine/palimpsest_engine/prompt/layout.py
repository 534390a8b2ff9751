"""Lay a document's pieces out as tokens: the encoder's context, the canvas' pins, the beginning of the hole.

Knows the tokenizer and the prompt dialects; no tensors, no model. Offsets of text are code points, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from palimpsest_engine.checkpoint.spec import Chat, Spec, known_turns
from palimpsest_engine.prompt.dialects import PATH, PREFIX, SUFFIX
from palimpsest_engine.prompt.pieces import Hole, Keep, plain
from palimpsest_engine.prompt.tokens import Tokens
from palimpsest_engine.request import Excerpt

# Only so many characters on each side of the hole are tokenised as the token budget could need, and never more than WINDOW.
# In front of the hole the window moves in steps of a quarter, so that typing does not shift it, and with it every cached
# token, at each keystroke.
WINDOW = 65_536
CHARACTERS = 16  # at most in a token, on average; in code there are three or four
TOKEN_STRIDE = 64
LONGEST_HEALED = 24
EOS = 1
CHAT_ENDS = TURN_END, AFTER_TURN = (
    "<turn|>",
    "<eos>",
)  # the end of the model's turn, and what fills a canvas up after it
# The sentences of the chat dialect.
ASK = (
    "Write out the whole {language} file whose ending is given below, without changes to that ending. "
    "Answer with the file alone."
)
ASK_FOR_ALL = "Write out the whole {language} file. Answer with the file alone."
OTHERS = "Parts of the project, to know what there is:\n\n```\n"
LINE_COMMENTS = {
    **dict.fromkeys(("python", "ruby", "bash", "yaml", "toml"), "#"),
    **dict.fromkeys(("lua", "sql"), "--"),
}  # "//" elsewhere


@dataclass(frozen=True, slots=True)
class Layout:
    """One canvas worth of holes.

    context: encoder tokens. left: pinned tokens before the first hole, where the canvas is the whole prompt. healed: text
    at the end of the document's prefix that the first hole writes again (token healing). between: pinned tokens after each
    hole but the last. right: pinned tokens after the last hole (the canvas takes as many as fit, or all if it is the whole
    prompt). end: the token that fills a canvas up after the suffix.
    """

    context: tuple[int, ...]
    healed: str
    between: tuple[tuple[int, ...], ...]
    right: tuple[int, ...]
    end: int
    left: tuple[int, ...] = ()


def window_for(tokens: int) -> int:
    """Return a number of characters that holds at least so many tokens."""
    return min(WINDOW, tokens * CHARACTERS)


def prefix_window(text: str, window: int) -> str:
    """Return the end of a long prefix, from the start of a line; its start is stable while the user types."""
    if len(text) <= window:
        return text
    stride = max(1, window // 4)
    start = -(-(len(text) - window) // stride) * stride
    line = text.find("\n", start - 1) + 1
    return text[line or start :]


def heal(tokens: Tokens, ids: list[int]) -> tuple[list[int], str]:
    """Return (ids without the last token, its text). The hole writes that token again and may make it a longer one."""
    if not ids:
        return ids, ""
    text = tokens.text(ids[-1])
    if not text or len(text) > LONGEST_HEALED:
        return ids, ""
    return ids[:-1], text


def heal_words(tokens: Tokens, prefix: str) -> tuple[list[int], str]:
    """Return (ids of a prefix, the text at its end that the hole writes again), for vocabularies whose words take the blank
    before them along.

    Of an indentation only the last blank belongs to the next word: its other blanks are a token that no word follows as it
    stands. A line end is a token's end.
    """
    if prefix[-1:] in (" ", "\t"):
        return tokens.encode(prefix[:-1]), prefix[-1]
    if prefix[-1:] in ("", "\n"):
        return tokens.encode(prefix), ""
    return heal(tokens, tokens.encode(prefix))


def lay_out(
    pieces: Sequence[Keep | Hole],
    spec: Spec,
    tokens: Tokens,
    language: str | None,
    excerpts: Sequence[Excerpt] = (),
    path: str | None = None,
    asked: Sequence[int] = (),
) -> Layout:
    """Lay out pieces `Keep, Hole, Keep, ..., Hole, Keep`, of which the first and last reach the document's ends.

    Excerpts come before everything that typing changes, so that they stay encoded. asked: the prompt of the `chat` dialect up
    to the text before the first hole, if it is not the usual one.
    """
    keeps = [plain(piece.text) for piece in pieces if isinstance(piece, Keep)]
    prefix = prefix_window(keeps[0], window_for(spec.context))
    window = keeps[-1][: window_for(max(spec.suffix, spec.canvas))]
    after = tokens.encode(window)
    words = spec.dialect in ("taught", "sides")  # vocabularies of models that began as left-to-right ones
    before, healed = heal_words(tokens, prefix) if words else heal(tokens, tokens.encode(prefix))
    suffix = after[: spec.suffix]
    elsewhere = fitting(excerpts, spec.elsewhere, tokens, language, taught=spec.dialect == "taught")
    asked = list(asked)
    if spec.dialect == "chat" and not asked:
        ending = window if len(suffix) == len(after) else window[: [0, *tokens.offsets(window)][len(suffix)]]
        asked = chat_context(tokens, spec.chat, ending, language, elsewhere)
    used = len(asked) or len(suffix) + len(elsewhere)
    room = spec.context - used - (spec.canvas if spec.dialect == "sides" else 8)
    if len(before) > room:
        cut = -(-(len(before) - room) // TOKEN_STRIDE) * TOKEN_STRIDE
        before = before[cut:]
    closing, left, right = list[int](), list[int](), after
    if spec.dialect == "fim":
        assert spec.suffix_id is not None
        assert spec.prefix_id is not None
        assert spec.bos_id is not None
        context = [spec.bos_id, spec.suffix_id, *suffix, spec.prefix_id, *elsewhere, *before]
        end = EOS
    elif spec.dialect == "sides":
        context, right = [], suffix
        left = [*([] if spec.bos_id is None else [spec.bos_id]), *elsewhere, *before]
        closing = [] if spec.eos_id is None else [spec.eos_id]
        end = closing[0] if closing else min(tokens.ends, default=EOS)
    elif spec.dialect == "taught":
        context = taught_context(tokens, spec, suffix, before, elsewhere, path or f"file.{language or 'txt'}")
        end = min(tokens.ends, default=EOS)
    else:
        context = [*asked, *before]
        end = tokens.control(AFTER_TURN)
        closing = [*tokens.encode(closing_fence(keeps[-1])), tokens.control(TURN_END)]
    return Layout(
        context=tuple(context),
        healed=healed,
        between=tuple(tuple(tokens.encode(text)) for text in keeps[1:-1]),
        right=tuple([*right, *closing] if spec.dialect == "sides" else (right + closing)[: spec.canvas]),
        end=end,
        left=tuple(left),
    )


def fitting(
    excerpts: Sequence[Excerpt], budget: int, tokens: Tokens, language: str | None, *, taught: bool = False
) -> list[int]:
    """Return the tokens of as many whole excerpts as fit in the budget, from the last (the most useful) backwards.

    taught: as files of the project, if the model was taught a mark for them; otherwise each has its title in a comment.
    """
    out: list[int] = []
    mark, announced = LINE_COMMENTS.get(language or "", "//"), tokens.dialect.file if taught else ""
    for excerpt in reversed(excerpts):
        title = "" if announced else f"{mark} {excerpt.title}\n"
        ids = tokens.encode(plain(f"{title}{excerpt.text.strip(chr(10))}\n\n"))
        if announced:
            ids = [*tokens.marked(announced.replace(PATH, excerpt.title)), *ids]
        if len(out) + len(ids) <= budget:
            out = ids + out
    return out


def chat_context(tokens: Tokens, chat: Chat, ending: str, language: str | None, elsewhere: list[int]) -> list[int]:
    """Return the prompt of an instruction-tuned checkpoint, up to where the model's answer has begun: the prefix follows.

    The turns are the model's own; without the model's turn it does not converge. Where nothing stands after the hole, no
    ending is asked for: an empty one invites an empty answer.
    """
    name, (before, after) = language or "code", chat.turns or known_turns(chat)
    shown = f"\n\n```{name}\n{ending}{closing_fence(ending)}" if ending.strip() else ""
    ask = chat.instruction or (ASK if shown else ASK_FOR_ALL)
    others: list[int | str] = [OTHERS, *elsewhere, "```\n\n"] if elsewhere else []
    return tokens.joined(
        [
            *tokens.spelled(before),
            *others,
            ask.replace("{language}", name) + shown,
            *tokens.spelled(after),
            f"```{name}\n",
        ]
    )


def closing_fence(code: str) -> str:
    """Return the end of a code block: on a line of its own, and behind no blank line that is not the code's."""
    return "```" if code.endswith("\n") else "\n```"


def taught_context(
    tokens: Tokens, spec: Spec, suffix: list[int], prefix: list[int], elsewhere: list[int], path: str
) -> list[int]:
    """Return the prompt of a left-to-right model: both sides in the order of its dialect, other files before them."""
    dialect = tokens.dialect
    out = [] if spec.bos_id is None else [spec.bos_id]
    if elsewhere:
        out += [*tokens.marked(dialect.repo.replace(PATH, "project")), *elsewhere]
        if dialect.own_file:
            out += tokens.marked(dialect.file.replace(PATH, path))
    for part in dialect.template(spec.order):
        out += prefix if part == PREFIX else suffix if part == SUFFIX else [tokens.control(part)]
    return out
