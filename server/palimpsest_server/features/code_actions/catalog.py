"""The table of code actions: title, kind, and what each writes over; asks no engine and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from palimpsest_engine import Span
from palimpsest_server.documents import window
from palimpsest_server.features.code_actions.scene import (
    Scene,
    as_chosen,
    body,
    broken,
    placeholders,
    selected_code,
    selected_lines,
    selected_or_blank,
)
from palimpsest_server.protocol import methods
from palimpsest_server.protocol.methods import REWRITE
from palimpsest_server.session.session import Session

ALTERNATIVE = "alternative"
INSTRUCT, FOLLOW_UP, EARLIER, LATER = "instruct", "followUp", "earlier", "later"
EXPLAIN, TEST = "explain", "test"
CONVERSING = (INSTRUCT, FOLLOW_UP, EARLIER, LATER)

CANNOT = "the model for edits writes from left to right and cannot keep a part of the text"
TOO_LARGE = "the file is too large to be looked through"
TOO_FAR = f"more than {2 * window.STRIDE} characters of a large file are selected"


@dataclass(frozen=True, slots=True)
class Action:
    """One action that asks the engine.

    title: with the number of holes, where there may be several. explained: what it does, for menus. holes: the spans that it
    writes over; none if it is not offered here. missing: the reason for that, to the user. strength, task: of the fill.
    parses: `holes` asks the outline and so belongs on another thread.
    """

    id: str
    title: str
    explained: str
    kind: str
    holes: Callable[[Scene], tuple[Span, ...]]
    missing: str
    strength: float = 1.0
    parses: bool = False
    task: Literal["rewrite", "write", "explain"] = "rewrite"

    def titled(self, count: int) -> str:
        """Return the title for so many holes."""
        return self.title.format(holes="1 hole" if count == 1 else f"{count} holes")

    def offered(self, count: int) -> str:
        """Return the title for a menu, whose reader may not know the action."""
        return f"{self.titled(count)} ({self.explained})"


SELECT = "select some code first"

ACTIONS = {
    action.id: action
    for action in (
        Action(
            "fill",
            "Palimpsest: fill the selection",
            "write new code here",
            f"{REWRITE}.fill",
            selected_or_blank,
            "select something first, or go to a blank line",
        ),
        Action(
            "complete",
            "Palimpsest: complete this function or class",
            "write its body",
            f"{REWRITE}.complete",
            body,
            "the cursor is not in a function or class",
            parses=True,
        ),
        Action(
            "touchUp",
            "Palimpsest: touch up",
            "change about a third of the selection",
            f"{REWRITE}.touchUp",
            selected_code,
            SELECT,
            0.3,
        ),
        Action(
            "rework",
            "Palimpsest: rework",
            "change more than half of the selection",
            f"{REWRITE}.rework",
            selected_code,
            SELECT,
            0.6,
        ),
        Action(
            "rewrite",
            "Palimpsest: rewrite",
            "change all of the selection",
            f"{REWRITE}.rewrite",
            selected_code,
            SELECT,
        ),
        Action(
            "repair",
            "Palimpsest: repair",
            "mend what is broken here",
            methods.REPAIR,
            broken,
            "nothing here is known to be broken",
            parses=True,
        ),
        Action(
            "fillHoles",
            "Palimpsest: fill {holes}",
            "write all that is still missing in the file",
            methods.FILL_HOLES,
            placeholders,
            "there are no holes in this file",
            parses=True,
        ),
    )
}


_NO_CODE = "there is no code on these lines"

# What a user says has to be said first, so menus have only what is ready-made (`instructions.py`).
INSTRUCTED = {
    action.id: action
    for action in (
        Action(
            INSTRUCT,
            "Palimpsest: rewrite as you say",
            "by an instruction",
            methods.INSTRUCT,
            selected_lines,
            _NO_CODE,
        ),
        Action(
            FOLLOW_UP,
            "Palimpsest: follow up",
            "change the last answer as you say",
            methods.INSTRUCT,
            as_chosen,
            _NO_CODE,
            0.6,
        ),
        Action(
            EXPLAIN,
            "Palimpsest: explain",
            "say what the selection does",
            methods.INSTRUCT,
            selected_lines,
            _NO_CODE,
            task="explain",
        ),
        Action(
            TEST,
            "Palimpsest: write a test",
            "in the file of tests",
            methods.INSTRUCT,
            selected_lines,
            _NO_CODE,
            task="write",
        ),
    )
}
RUNNABLE = ACTIONS | INSTRUCTED
WITHOUT_MODEL = (ALTERNATIVE, EARLIER, LATER)


async def holes_of(session: Session, rows: Sequence[Action], scene: Scene | None) -> dict[str, tuple[Span, ...]]:
    """Return the spans that each of the actions would write over."""
    if scene is None:
        return {action.id: () for action in rows}
    look = [action for action in rows if not action.parses or scene.outline is None]
    parse = [action for action in rows if action not in look]
    found = {action.id: action.holes(scene) for action in look}
    if parse:
        found |= await session.surroundings.off_loop(lambda: {action.id: action.holes(scene) for action in parse})
    return found


def why_not(action: Action, scene: Scene | None) -> str:
    """Return the reason why an action has nothing to write over, to the user."""
    if scene is None:
        return TOO_FAR
    return TOO_LARGE if action.parses and scene.outline is None else action.missing
