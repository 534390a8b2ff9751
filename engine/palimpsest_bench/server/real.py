"""Measures typing with the real checkpoint behind a real server: whole sessions, and files of any size.

Knows the protocol, nothing of engines. `docs/json.md` names the figures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from palimpsest_bench.server import figures, observe, replay
from palimpsest_bench.server.client import connected
from palimpsest_engine import PalimpsestError

SIZES = (1_000, 10_000, 100_000, 1_000_000)


def sessions(
    command: Sequence[str], section: dict[str, Any], languages: Sequence[str], keystrokes: int
) -> dict[str, Any]:
    """Replay the typing sessions in these languages (all if empty), one after the other on one server, at their own pace.

    Only the middle keystrokes of each are replayed, and long pauses are cut. Raises PalimpsestError if there is no
    session, or if the checkpoint cannot be loaded.
    """
    known = {
        name: replay.middle_keystrokes(each, keystrokes)
        for name, each in replay.sessions().items()
        if not languages or replay.opened(each).language in languages
    }
    if not known:
        raise PalimpsestError(f"no session is in a language of this checkpoint ({', '.join(languages)})")

    async def run() -> tuple[list[replay.Notes], dict[str, int]]:
        notes = list[replay.Notes]()
        async with connected(command, section | {"drafts": True, "eagerness": "high"}) as editor:
            typist = observe.Typist(editor)
            await typist.until_ready()
            # The first fill includes work that is done once.
            await typist.type_at("value = [\n", 0, "value = [")
            before = await editor.counters()
            for name, session in known.items():
                going = replay.Replay(editor, session, f"file:///bench/{name}/{replay.opened(session).name}")
                notes.append(await going.run(longest_pause=figures.LONGEST_PAUSE))
                going.close()
            after = await editor.counters()
        return notes, {name: after[name] - before[name] for name in after}

    notes, counters = asyncio.run(run())
    typed = sum(note.keystrokes for note in notes)
    answers = [ms for note in notes for ms in note.answer_ms]
    finals = [ms for note in notes for ms in note.final_ms]
    steps = [float(each) for note in notes for each in note.nfe]
    return {
        "session": {
            "sessions": list(known),
            "left_out": [name for name in replay.sessions() if name not in known],
            "keystrokes": typed,
            "answered": round(len(answers) / typed, 4),
            "suggested": round(len(finals) / typed, 4),
            "along": round(sum(note.along for note in notes) / typed, 4),
            "accepted": sum(note.accepted for note in notes),
            "answer_ms": known_percentiles(answers),
            "final_ms": known_percentiles(finals),
            "nfe": known_percentiles(steps),
            "counters": counters,
        }
    }


def known_percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return the median, the 95th and the 99th percentile; None for fewer than two values."""
    return observe.percentiles(values, 50, 95, 99) if len(values) > 1 else None


def sized(document: str, size: int) -> tuple[str, range]:
    """Make a text of about `size` characters from copies of the document. Returns it and the lines of its middle copy.

    A text shorter than the document begins at a function in the document's middle, because nothing is offered in imports.
    """
    copies = size // len(document) + 1
    start = document.index("\ndef ", len(document) // 2) + 1 if copies == 1 else 0
    whole = (document * (copies + 1))[start : start + size]
    whole = whole[: whole.rfind("\n") + 1]
    first = (copies - 1) // 2 * document.count("\n")
    return whole, range(first, min(first + document.count("\n"), whole.count("\n")))


def files(
    command: Sequence[str], section: dict[str, Any], document: str, keystrokes: int, sizes: Sequence[int] = SIZES
) -> list[dict[str, float]]:
    """Time a keystroke until its final answer, in the middle of files of these sizes. Returns percentiles by size.

    The server does not wait for a pause in the typing.
    """

    async def run() -> list[list[observe.Keystroke]]:
        found = []
        async with connected(command, section | {"drafts": True, "debounceMs": 0, "eagerness": "high"}) as editor:
            for size in sizes:
                text, lines = sized(document, size)
                typist = observe.Typist(editor, f"file:///bench/{size}.py")
                await typist.until_ready()
                notes, _ = await typist.type_all(text, keystrokes, lines)
                found.append(notes)
                editor.close(f"file:///bench/{size}.py")
        return found

    return [
        {"characters": size, **observe.percentiles([note.settled_ms for note in notes], 50, 95)}
        for size, notes in zip(sizes, asyncio.run(run()), strict=True)
        if len(notes) > 1
    ]
