"""Find the calls that have to change with a definition's parameters, and the definition that has to change with a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from palimpsest_engine.changes import Certainty, NextEdit, Place
from palimpsest_engine.syntax.next_edit.calls import Argument, Call, call_around, calls_of
from palimpsest_engine.syntax.next_edit.definitions import (
    Definition,
    Parameter,
    definition_around,
    is_known,
    named,
    only_definition,
)
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene, token_text
from palimpsest_engine.syntax.tree import Parsed

_CHANGES = 3  # the newest changes, which are looked at
_UNTYPED = ("python", "javascript", "ruby", "lua", "php")


def arguments(scene: Scene) -> Iterator[NextEdit | Place]:
    """Yield what follows from changes of parameters and of arguments."""
    for age, changed in enumerate(scene.changes[:_CHANGES]):
        newer = [each for each in scene.changes if each is not changed][:age]
        yield from _of_parameters(scene, changed, newer)
        if not age:
            yield from _of_arguments(scene, changed)


def _of_parameters(scene: Scene, changed: Changed, newer: Sequence[Changed]) -> Iterator[NextEdit | Place]:
    before, now = _both(changed)
    if before is None or now is None or before.name != now.name or before.names == now.names:
        return
    only = only_definition(scene, now.name, now.own, changed.now.grammar)
    if only is None or only[1].node != now.node:
        return
    for document, parsed in scene.documents.items():
        if parsed.grammar != changed.now.grammar or (parsed is not changed.now and not _may_mean(parsed, now)):
            continue
        for call in calls_of(parsed, now.name):
            if (
                call.name.start_byte >= now.list.start_byte
                and call.node.end_byte <= now.list.end_byte
                and parsed is changed.now
            ):
                continue
            if call.spread or any(_holds(each, parsed, call) for each in newer):
                continue
            if not (call.bare or now.member or parsed is not changed.now or _through_self(parsed, call)):
                continue  # a method of something else
            yield from _at_call(document, parsed, call, before, now)


def _at_call(
    document: str, parsed: Parsed, call: Call, before: Definition, now: Definition
) -> Iterator[NextEdit | Place]:
    """Yield what one call has to become."""
    if not _fits(call, before) or before.takes_any or now.takes_any:
        return
    sure: Certainty = "sure" if call.bare or _through_self(parsed, call) else "likely"
    if sorted(before.names) == sorted(now.names):
        yield from _reordered(document, parsed, call, before, now, sure)
        return
    gone = [each for each in before.names if each not in now.names]
    new = [each for each in now.parameters if each.name not in before.names]
    kept = [each for each in now.names if each in before.names]
    if kept != [each for each in before.names if each in now.names]:
        return
    if len(gone) == 1 and not new:
        yield from _removed(document, parsed, call, before, gone[0], sure)
    elif len(new) == 1 and not gone and not new[0].optional:
        yield from _added(document, parsed, call, now, new[0])


def _reordered(
    document: str, parsed: Parsed, call: Call, before: Definition, now: Definition, sure: Certainty
) -> Iterator[NextEdit]:
    positional = [each for each in call.arguments if not each.keyword]
    given = before.names[: len(positional)]
    order = now.names[: len(positional)]
    if len(positional) < 2 or sorted(given) != sorted(order) or given == order:
        return
    texts = dict(zip(given, (_text(parsed, each) for each in positional), strict=True))
    off = [i for i in range(len(order)) if texts[order[i]] != _text(parsed, positional[i])]
    if not off:
        return
    first, last = off[0], off[-1]
    span = positional[first].node.start_byte, positional[last].node.end_byte
    text, at = "", span[0]
    for i in range(first, last + 1):
        text += parsed.data[at : positional[i].node.start_byte].decode("utf-8", "replace") + texts[order[i]]
        at = positional[i].node.end_byte
    yield NextEdit(
        document, parsed.span(span), text, "argument", f"the parameters of `{now.name}` were reordered", sure
    )


def _removed(
    document: str, parsed: Parsed, call: Call, before: Definition, gone: str, sure: Certainty
) -> Iterator[NextEdit]:
    i = before.names.index(gone)
    at = next((j for j, each in enumerate(call.arguments) if each.keyword == gone), None)
    if at is None:
        if i >= len(call.arguments) or any(each.keyword for each in call.arguments[: i + 1]):
            return
        at = i
    nodes = [each.node for each in call.arguments]
    if at + 1 < len(nodes):
        span = nodes[at].start_byte, nodes[at + 1].start_byte
    elif at:
        span = nodes[at - 1].end_byte, nodes[at].end_byte
    else:
        span = nodes[at].start_byte, nodes[at].end_byte
    yield NextEdit(
        document, parsed.span(span), "", "argument", f"`{gone}` is no parameter of `{before.name}` any more", sure
    )


def _added(document: str, parsed: Parsed, call: Call, now: Definition, new: Parameter) -> Iterator[NextEdit | Place]:
    reason = f"`{now.name}` has a new parameter, `{new.name}`"
    if any(each.keyword == new.name for each in call.arguments) or not is_known(parsed, new.name, call.node):
        if not any(each.keyword == new.name for each in call.arguments):
            yield Place(document, parsed.span((call.node.start_byte, call.node.end_byte)), reason)
        return
    i = now.names.index(new.name)
    nodes = [each.node for each in call.arguments]
    keyword = new.keyword or any(each.keyword for each in call.arguments[:i])
    text = f"{new.name}={new.name}" if keyword else new.name
    if keyword or i >= len(nodes):
        at = nodes[-1].end_byte if nodes else call.list.start_byte + 1
        text = f", {text}" if nodes else text
    else:
        at, text = nodes[i].start_byte, f"{text}, "
    yield NextEdit(document, parsed.span((at, at)), text, "argument", reason, "likely")


def _of_arguments(scene: Scene, changed: Changed) -> Iterator[NextEdit | Place]:
    """Yield what the definition has to become after a call got one argument more."""
    added = [hunk for hunk in changed.hunks if hunk.now]
    if len(changed.hunks) != 1 or not added or added[0].was:
        return
    first, last = added[0].now[0], added[0].now[-1]
    call = call_around(changed.now, first.start_byte, last.end_byte)
    if call is None or call.spread:
        return
    new = [
        each
        for each in call.arguments
        if first.start_byte <= each.node.start_byte and each.node.end_byte <= last.end_byte
    ]
    name = token_text(changed.now, call.name)
    only = only_definition(scene, name, name, changed.now.grammar)
    if len(new) != 1 or only is None:
        return
    parsed, definition = only
    name = new[0].keyword or _text(changed.now, new[0])
    if definition.takes_any or len(call.arguments) != len(definition.parameters) + 1 or name in definition.names:
        return
    document = next(each for each, other in scene.documents.items() if other is parsed)
    reason = f"a call gives `{definition.name}` one argument more"
    typed = parsed.grammar not in _UNTYPED or any("typed" in each.node.type for each in definition.parameters)
    typed |= definition.node.child_by_field_name("return_type") is not None
    if typed or not name.isidentifier():
        yield Place(document, parsed.span((definition.list.start_byte, definition.list.end_byte)), reason)
        return
    i = len(definition.parameters) if new[0].keyword else call.arguments.index(new[0])
    nodes = [each.node for each in definition.parameters]
    if i < len(nodes):
        at, text = nodes[i].start_byte, f"{name}, "
    else:
        own = [each for each in definition.list.children if each.is_named]
        at = own[-1].end_byte if own else definition.list.start_byte + 1
        text = f", {name}" if own else name
    if i >= len(nodes) and any(each.optional for each in definition.parameters):
        return
    yield NextEdit(document, parsed.span((at, at)), text, "argument", reason, "likely")


def _both(changed: Changed) -> tuple[Definition | None, Definition | None]:
    """Return the definition whose parameters were changed, before and after."""
    if not changed.hunks:
        return None, None
    first, last = changed.hunks[0], changed.hunks[-1]
    found = []
    for parsed, start, tokens in (
        (changed.was, first.was_at, last.was),
        (changed.now, first.now_at, last.now),
    ):
        at = last.was_at if parsed is changed.was else last.now_at
        end = tokens[-1].end_byte if tokens else at
        found.append(definition_around(parsed, start, max(end, start)))
    return found[0], found[1]


def _fits(call: Call, definition: Definition) -> bool:
    """Return whether a call gives what a definition takes."""
    positional = [each for each in call.arguments if not each.keyword]
    if len(call.arguments) > len(definition.parameters):
        return False
    given = {*definition.names[: len(positional)], *(each.keyword for each in call.arguments if each.keyword)}
    return given <= set(definition.names) and all(each.optional or each.name in given for each in definition.parameters)


def _may_mean(parsed: Parsed, definition: Definition) -> bool:
    """Return whether the name in another document may be that definition: it is a member, or it is imported or shared."""
    if definition.member or parsed.grammar in ("go", "c", "java", "rust", "cpp", "kotlin", "csharp"):
        return True
    return any(_in_import(leaf) for leaf in named(parsed, definition.name))


def _in_import(leaf: object) -> bool:
    node = getattr(leaf, "parent", None)
    while node is not None:
        if "import" in node.type:
            return True
        node = node.parent
    return False


def _through_self(parsed: Parsed, call: Call) -> bool:
    before = parsed.data[max(call.name.start_byte - 6, 0) : call.name.start_byte]
    return before.endswith((b"self.", b"this.", b"Self::", b"this.#"))


def _holds(changed: Changed, parsed: Parsed, call: Call) -> bool:
    start, end = changed.now_range
    return changed.now is parsed and call.node.start_byte < end and start < call.node.end_byte


def _text(parsed: Parsed, argument: Argument) -> str:
    return token_text(parsed, argument.node)
