"""The code actions: what they are, where each is offered, what it writes over, and how a client is told.

Knows LSP's forms of an action and spans of text; asks no engine and changes nothing. `commands` runs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lsprotocol import types

from palimpsest_engine import Span
from palimpsest_engine.syntax.outline import Outline
from palimpsest_server.documents import edits, window
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.protocol import methods, positions
from palimpsest_server.protocol.methods import REWRITE, RUN
from palimpsest_server.session.recent_fills import Standing
from palimpsest_server.session.session import Session

ALTERNATIVE = "alternative"

TOO_LARGE = "the file is too large to be looked through"
TOO_FAR = f"more than {2 * window.STRIDE} characters of a large file are selected"

_BAD = (types.DiagnosticSeverity.Error, types.DiagnosticSeverity.Warning, None)
_MOST_PROBLEMS = 100
_PREVIEW = 48
_LONGEST_WORD = 256
_WORD, _WORD_BEFORE = re.compile(r"\w+"), re.compile(r"\w+\Z")


@dataclass(frozen=True, slots=True)
class Scene:
    """What an action looks at; offsets are those of `text`.

    text: the document, or a window of a large one, which begins at offset `base`. chosen: the selection, empty for a
    cursor. problems: what other tools complain about. outline: None where the document is too large for one.
    """

    text: str
    base: int
    chosen: Span
    problems: tuple[Span, ...]
    outline: Outline | None

    @property
    def line(self) -> Span:
        """The line that the selection begins on."""
        return Span(*positions.line_around(self.text, self.chosen.start))


# What each action writes over


def selected(scene: Scene) -> tuple[Span, ...]:
    """The selection without the blanks at its ends, unless it is nothing but blanks."""
    text = scene.text[scene.chosen.start : scene.chosen.end]
    if not text:
        return ()
    start = scene.chosen.start + len(text) - len(text.lstrip()) if text.strip() else scene.chosen.start
    return (Span(start, start + (len(text.strip()) or len(text))),)


def selected_code(scene: Scene) -> tuple[Span, ...]:
    """The selection, if there is anything in it to start from."""
    return selected(scene) if scene.text[scene.chosen.start : scene.chosen.end].strip() else ()


def selected_or_blank(scene: Scene) -> tuple[Span, ...]:
    """The selection, or the cursor on a blank line."""
    return selected(scene) or (() if _line_text(scene).strip() else (scene.chosen,))


def body(scene: Scene) -> tuple[Span, ...]:
    """The body around the cursor; from a blank line in it, what comes after."""
    found = scene.outline.body_at(scene.chosen.start) if scene.outline else None
    if found is None or scene.chosen.end > max(found.end, scene.line.end):
        return ()
    at = scene.chosen.start
    if found.start < at and not _line_text(scene).strip():
        return (Span(at, max(at, found.end)),)
    return (found,)


def placeholders(scene: Scene) -> tuple[Span, ...]:
    """Every hole of the file."""
    return scene.outline.placeholders() if scene.outline else ()


def broken(scene: Scene) -> tuple[Span, ...]:
    """What is broken in the selection, or on the cursor's line: by syntax, or in the eyes of other tools."""
    within = broken_within(scene)
    defects = scene.outline.defects(within) if scene.outline else ()
    problems = (
        Span(max(problem.start, within.start), min(problem.end, within.end))
        for problem in scene.problems
        if problem.start <= within.end and within.start <= problem.end
    )
    return merged(whole_words(scene.text, span) for span in (*defects, *problems))


def broken_within(scene: Scene) -> Span:
    """Where a repair looks."""
    return scene.chosen if scene.chosen.start < scene.chosen.end else scene.line


def _line_text(scene: Scene) -> str:
    return scene.text[scene.line.start : scene.line.end]


def whole_words(text: str, span: Span) -> Span:
    """The span, grown to the ends of the words that it cuts; an empty one to those that it touches."""
    before, after = text[max(0, span.start - _LONGEST_WORD) : span.start], text[span.end : span.end + _LONGEST_WORD]
    empty = span.start == span.end
    head = _WORD_BEFORE.search(before) if empty or _WORD.match(text, span.start) else None
    tail = _WORD.match(after) if empty or _WORD.match(text, span.end - 1) else None
    return Span(span.start - (len(head[0]) if head else 0), span.end + (len(tail[0]) if tail else 0))


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Sorted, and those that overlap or touch as one."""
    out = list[Span]()
    for span in sorted(spans):
        if out and span.start <= out[-1].end:
            out[-1] = Span(out[-1].start, max(out[-1].end, span.end))
        else:
            out.append(span)
    return tuple(out)


# The table


@dataclass(frozen=True, slots=True)
class Action:
    """One slow action.

    title: with the number of holes, where there may be several. holes: what it writes over; none if it is not offered
    here. missing: why it is not, to the user. strength: of the fill. parses: `holes` asks the outline and so belongs
    on another thread.
    """

    id: str
    title: str
    kind: str
    holes: Callable[[Scene], tuple[Span, ...]]
    missing: str
    strength: float = 1.0
    parses: bool = False

    def titled(self, count: int) -> str:
        """The title for so many holes."""
        return self.title.format(holes="1 hole" if count == 1 else f"{count} holes")


_SELECT = "select some code first"

ACTIONS = {
    action.id: action
    for action in (
        Action(
            "fill",
            "Palimpsest: fill the selection",
            f"{REWRITE}.fill",
            selected_or_blank,
            "select something first, or go to a blank line",
        ),
        Action(
            "complete",
            "Palimpsest: complete this function or class",
            f"{REWRITE}.complete",
            body,
            "the cursor is not in a function or class",
            parses=True,
        ),
        Action("touchUp", "Palimpsest: touch up", f"{REWRITE}.touchUp", selected_code, _SELECT, 0.3),
        Action("rework", "Palimpsest: rework", f"{REWRITE}.rework", selected_code, _SELECT, 0.6),
        Action("rewrite", "Palimpsest: rewrite", f"{REWRITE}.rewrite", selected_code, _SELECT),
        Action(
            "repair",
            "Palimpsest: repair",
            methods.REPAIR,
            broken,
            "nothing here is known to be broken",
            parses=True,
        ),
        Action(
            "fillHoles",
            "Palimpsest: fill {holes}",
            methods.FILL_HOLES,
            placeholders,
            "there are no holes in this file",
            parses=True,
        ),
    )
}


def wanted(kind: str, only: Sequence[str] | None) -> bool:
    """The client's `only` lets this kind through: it names the kind, or one above it; "" is above all."""
    names = [each.value if isinstance(each, types.CodeActionKind) else each for each in only or ()]
    return only is None or any(not name or f"{kind}.".startswith(f"{name}.") for name in names)


# The scene


async def scene_of(
    session: Session, document: Snapshot, chosen: Span, problems: Sequence[Span], *, parses: bool
) -> Scene | None:
    """What there is to look at around a selection; None if the selection is too much of a large document.

    parses: an outline is needed. It is made on another thread when it is first asked.
    """
    small = window.is_small(document)
    if not small and chosen.end - chosen.start > 2 * window.STRIDE:
        return None
    text, base = window.around(document, chosen.start, chosen.end)
    end = base + len(text)
    seen = (
        Span(max(p.start, base) - base, min(p.end, end) - base) for p in problems if p.start <= end and base <= p.end
    )
    outline = session.surroundings.outline(document, text) if parses and small else None
    return Scene(text, base, Span(chosen.start - base, chosen.end - base), tuple(seen), outline)


def problems_of(context: types.CodeActionContext) -> list[types.Range]:
    """Where other tools see errors and warnings."""
    bad = [each.range for each in context.diagnostics if each.severity in _BAD]
    return bad[:_MOST_PROBLEMS]


# What is offered


async def offered(
    session: Session, document: Snapshot, params: types.CodeActionParams, can: types.ClientCapabilities
) -> list[types.CodeAction | types.Command]:
    """The actions for a selection, as this client understands them.

    An automatic request with `only` is one of those that editors make when a file is saved: nothing of ours may happen
    then. The automatic ones at every move of the cursor get what is about the whole file only on one of its holes; some
    clients make no others.
    """
    only, encoding = params.context.only, session.documents.encoding
    automatic = params.context.trigger_kind is types.CodeActionTriggerKind.Automatic
    if automatic and only:
        return []
    chosen = document.span_of(params.range, encoding)
    found = list[types.CodeAction | types.Command]()
    rows = [action for action in ACTIONS.values() if wanted(action.kind, only)]
    if can_apply(can):
        problems = problems_of(params.context)
        spans = [document.span_of(problem, encoding) for problem in problems]
        scene = await scene_of(session, document, chosen, spans, parses=any(action.parses for action in rows))
        holes = await holes_of(session, rows, scene)
        explicit = only is not None and "" not in only
        for action in rows:
            missing = "" if holes[action.id] else why_not(action, scene)
            if missing and not (explicit and shows_disabled(can)):
                continue
            if automatic and action.kind.startswith("source.") and scene and not on_one_of(holes[action.id], scene):
                continue
            argument = argument_of(action.id, document, params.range)
            if problems and action.id == "repair":
                argument["problems"] = [plain(problem) for problem in problems]
            command = types.Command(action.titled(len(holes[action.id])), RUN, arguments=[argument])
            found.append(literal(action.kind, command, can, missing) if literals(can) else command)
    if wanted(methods.ALTERNATIVE, only) and (standing := last_fill(session, document, chosen)):
        found += alternatives(document, standing, can, encoding)
    return found if session.documents.current(document) else []


async def holes_of(session: Session, rows: Sequence[Action], scene: Scene | None) -> dict[str, tuple[Span, ...]]:
    """What each of the actions would write over."""
    if scene is None:
        return {action.id: () for action in rows}
    look = [action for action in rows if not action.parses or scene.outline is None]
    parse = [action for action in rows if action not in look]
    found = {action.id: action.holes(scene) for action in look}
    if parse:
        found |= await session.surroundings.off_loop(lambda: {action.id: action.holes(scene) for action in parse})
    return found


def on_one_of(holes: Iterable[Span], scene: Scene) -> bool:
    """The cursor, or the selection, touches one of them."""
    return any(hole.start <= scene.chosen.end and scene.chosen.start <= hole.end for hole in holes)


def why_not(action: Action, scene: Scene | None) -> str:
    """Why an action has nothing to write over, to the user."""
    if scene is None:
        return TOO_FAR
    return TOO_LARGE if action.parses and scene.outline is None else action.missing


def last_fill(session: Session, document: Snapshot, chosen: Span | None) -> Standing | None:
    """The last fill that stands there still, on lines that the selection has something of."""
    for standing in session.recent_fills.find(document.uri, document.content):
        first, _ = document.content.line_around(standing.span.start)
        _, last = document.content.line_around(standing.span.end)
        if chosen is None or (chosen.start <= last and first <= chosen.end):
            return standing
    return None


# As a client understands it


def can_apply(can: types.ClientCapabilities) -> bool:
    """The client takes edits that name the version they are for; others could hit another text."""
    return bool(can.workspace and can.workspace.apply_edit and knows_versions(can))


def knows_versions(can: types.ClientCapabilities) -> bool:
    """Edits for this client can name the version they are for."""
    workspace = can.workspace and can.workspace.workspace_edit
    return bool(workspace and workspace.document_changes)


def literals(can: types.ClientCapabilities) -> bool:
    """The client knows actions, not only bare commands."""
    wishes = can.text_document and can.text_document.code_action
    return bool(wishes and wishes.code_action_literal_support)


def shows_disabled(can: types.ClientCapabilities) -> bool:
    """The client can show an action that does not work now, and why."""
    wishes = can.text_document and can.text_document.code_action
    return bool(literals(can) and wishes and wishes.disabled_support)


def resolves(can: types.ClientCapabilities) -> bool:
    """The client asks for the edit of an action when it is chosen."""
    wishes = can.text_document and can.text_document.code_action
    support = wishes and wishes.data_support and wishes.resolve_support
    return bool(literals(can) and support and "edit" in support.properties)


def literal(
    kind: str, command: types.Command, can: types.ClientCapabilities, missing: str = "", **quick: Any
) -> types.CodeAction:
    """An action: with the tag for generated code, if the client knows that. missing: why it does not work now."""
    wishes = can.text_document and can.text_document.code_action
    tags = wishes and wishes.tag_support
    return types.CodeAction(
        command.title,
        kind=kind,
        tags=[types.CodeActionTag.LlmGenerated]
        if tags and types.CodeActionTag.LlmGenerated in tags.value_set
        else None,
        disabled=types.CodeActionDisabled(missing) if missing else None,
        command=None if missing or quick else command,
        **quick,
    )


def alternatives(
    document: Snapshot, standing: Standing, can: types.ClientCapabilities, encoding: positions.Encoding
) -> list[types.CodeAction | types.Command]:
    """The other texts for the last fill: resolved when chosen, with their edit, or as commands, whatever the client can."""
    found = list[types.CodeAction | types.Command]()
    place = document.range_at(standing.span.start, standing.span.end, encoding)
    for number, text in enumerate(standing.others):
        argument = argument_of(ALTERNATIVE, document, place) | {"number": number}
        command = types.Command(f"Palimpsest: instead, {preview(text)}", RUN, arguments=[argument])
        if literals(can) and knows_versions(can):
            quick: dict[str, Any] = {"data": argument}
            if not resolves(can):
                change = alternative(document, standing, number)
                quick = {"edit": versioned(document, [change] if change else [], can, encoding, "alternative")}
            found.append(literal(methods.ALTERNATIVE, command, can, **quick))
        elif can_apply(can):
            found.append(command)
    return found


def alternative(document: Snapshot, standing: Standing, number: int) -> edits.Edit | None:
    """The edit that puts another text in the place of the one that stands there. Raises IndexError."""
    start = standing.span.start
    old, new = document.content.slice(start, standing.span.end), standing.others[number]
    change = edits.smallest(old, Span(0, len(old)), new)
    return change and edits.Edit(Span(start + change.span.start, start + change.span.end), change.text)


def preview(text: str) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _PREVIEW else f"{line[: _PREVIEW - 1]}…"


def argument_of(action: str, document: Snapshot, range_: types.Range) -> dict[str, Any]:
    """The one argument of the command that runs an action."""
    return {"action": action, "uri": document.uri, "version": document.version, "range": plain(range_)}


def plain(range_: types.Range) -> dict[str, dict[str, int]]:
    """A range as JSON."""
    edges = {"start": range_.start, "end": range_.end}
    return {name: {"line": edge.line, "character": edge.character} for name, edge in edges.items()}


def versioned(
    document: Snapshot,
    changes: Sequence[edits.Edit],
    can: types.ClientCapabilities,
    encoding: positions.Encoding,
    what: str,
) -> types.WorkspaceEdit:
    """The edits for the wire, as one: to be undone in one step, refused if the document is at another version by then, and
    with a note on who wrote them, where the client has a place for that."""
    support = can.workspace and can.workspace.workspace_edit and can.workspace.workspace_edit.change_annotation_support
    ranges = [(document.range_at(change.span.start, change.span.end, encoding), change.text) for change in changes]
    identifier = types.OptionalVersionedTextDocumentIdentifier(document.uri, document.version)
    if not support:
        plain_edits = [types.TextEdit(where, text) for where, text in ranges]
        return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(identifier, plain_edits)])
    name = "palimpsest"
    edits = [types.AnnotatedTextEdit(name, where, text) for where, text in ranges]
    note = types.ChangeAnnotation(
        f"Palimpsest: {what}", needs_confirmation=False, description="written by a language model on this machine"
    )
    return types.WorkspaceEdit(
        document_changes=[types.TextDocumentEdit(identifier, edits)], change_annotations={name: note}
    )
