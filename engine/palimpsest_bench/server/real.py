"""What typing is like with the real checkpoint behind a real server: whole sessions, and files of any size.

Knows the protocol, nothing of engines. The figures are named as in `docs/json.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from palimpsest_bench.server import figures, measure, replay
from palimpsest_bench.server.editor import connected
from palimpsest_engine import PalimpsestError

_LONGEST_PAUSE = 1.5  # whatever could happen in a pause has happened by then
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def sessions(
    command: Sequence[str], section: dict[str, Any], languages: Sequence[str], keystrokes: int
) -> dict[str, Any]:
    """The typing sessions in these languages (all, if there is none), one after the other on one server, at their own pace:
    so many keystrokes out of the middle of each, longer pauses cut. Raises PalimpsestError if there is none, or no
    checkpoint can be loaded."""
    known = {
        name: replay.middle_keystrokes(each, keystrokes)
        for name, each in replay.sessions().items()
        if not languages or replay.opened(each).language in languages
    }
    if not known:
        raise PalimpsestError(f"no session is in a language of this checkpoint ({', '.join(languages)})")

    async def run() -> tuple[list[replay.Notes], dict[str, int]]:
        notes = list[replay.Notes]()
        async with connected(command, section | {"drafts": True}) as editor:
            typist = measure.Typist(editor)
            await typist.until_ready()
            # The first fill pays for what is done once.
            await typist.type_at("value = [\n", 0, "value = [")
            before = await editor.counters()
            for name, session in known.items():
                going = replay.Replay(editor, session, f"file:///bench/{name}/{replay.opened(session).name}")
                notes.append(await going.run(longest_pause=_LONGEST_PAUSE))
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
    """Median, 95th and 99th percentile; None of fewer than two values."""
    return figures.percentiles(values, 50, 95, 99) if len(values) > 1 else None


def sized(document: str, size: int) -> tuple[str, range]:
    """(about so many characters, made of whole lines of the document over and over; the lines of a copy in its middle).
    Less than a copy begins with the first class or function of its middle: imports are no place to offer anything."""
    copies = size // len(document) + 1
    start = document.index("\ndef ", len(document) // 2) + 1 if copies == 1 else 0
    whole = (document * (copies + 1))[start : start + size]
    whole = whole[: whole.rfind("\n") + 1]
    first = (copies - 1) // 2 * document.count("\n")
    return whole, range(first, min(first + document.count("\n"), whole.count("\n")))


def files(
    command: Sequence[str], section: dict[str, Any], document: str, keystrokes: int, sizes: Sequence[int] = SIZES
) -> list[dict[str, float]]:
    """From a keystroke until there is nothing more to come, in the middle of files of so many characters, with code of the
    same kind around it: percentiles by size. Waits for no pause in the typing."""

    async def run() -> list[list[measure.Keystroke]]:
        found = []
        async with connected(command, section | {"drafts": True, "debounceMs": 0}) as editor:
            for size in sizes:
                text, lines = sized(document, size)
                typist = measure.Typist(editor, f"file:///bench/{size}.py")
                await typist.until_ready()
                notes, _ = await typist.type_all(text, keystrokes, lines)
                found.append(notes)
                editor.close(f"file:///bench/{size}.py")
        return found

    return [
        {"characters": size, **figures.percentiles([note.settled_ms for note in notes], 50, 95)}
        for size, notes in zip(sizes, asyncio.run(run()), strict=True)
        if len(notes) > 1
    ]
