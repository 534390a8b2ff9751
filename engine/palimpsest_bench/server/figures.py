"""Measures the server's own share of the time, from the outside, with engines that stand in for the model.

Each function starts its own server process, types, and returns figures as `docs/json.md` names them.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from palimpsest_bench.server import replay, stand_ins
from palimpsest_bench.server.client import Editor, Place, connected
from palimpsest_bench.server.observe import percentiles
from palimpsest_engine import PalimpsestError

_URI = "file:///bench/ledger.py"
_AT_ONCE = {"debounceMs": 0}  # so that each keystroke reaches the engine
_FORETOLD = 'total = sum(entry.amount for entry in entries if entry.account == "assets:bank" and entry.day > first)'
_KNOWN_LINES = 0.3  # about the share of suggestions that users accept from a good assistant
_STEP_SECONDS = 0.02
_STEPS = 20
_KEY_SECONDS = 0.07
_HOUR = 3600.0
LONGEST_PAUSE = 1.5  # seconds; nothing happens any more in a longer one


def typing(document: str, requests: int) -> dict[str, float]:
    """Time a keystroke and its request until an engine that takes no time has answered."""

    async def run() -> list[float]:
        async with connected(stand_ins.command("scripted", script=["value"]), _AT_ONCE) as editor:
            return await _typed(editor, document, replay.behind((0, 0), document), document, requests)

    return percentiles(asyncio.run(run()), 50, 95, 99)


def big_file(document: str, size: int, keystrokes: int) -> dict[str, float]:
    """Time the same in the middle of a file of `size` characters."""
    half = document * (size // (2 * len(document)) + 1)

    async def run() -> list[float]:
        async with connected(stand_ins.command("scripted", script=["value"]), _AT_ONCE) as editor:
            return await _typed(editor, half + half, replay.behind((0, 0), half), document, keystrokes)

    return percentiles(asyncio.run(run()), 50, 99)


async def _typed(editor: Editor, text: str, cursor: Place, keys: str, count: int) -> list[float]:
    """Type the same keys repeatedly at a place. Returns the milliseconds of each keystroke after the first ten."""
    editor.open(_URI, "python", text)
    took = list[float]()
    for turn in range(count + 10):
        key = keys[turn % len(keys)]
        begun = time.perf_counter()
        editor.change(_URI, turn + 2, cursor, cursor, key)
        cursor = replay.behind(cursor, key)
        await editor.suggested(_URI, cursor)
        took.append((time.perf_counter() - begun) * 1000)
    return took[10:]


def along(document: str, keystrokes: int) -> dict[str, float]:
    """Time typing along a suggestion. Raises PalimpsestError if the server stops suggesting it."""

    async def run() -> list[float]:
        took = list[float]()
        async with connected(
            stand_ins.command("scripted", script=[_FORETOLD]), _AT_ONCE | {"answerWithinMs": 10_000}
        ) as editor:
            editor.open(_URI, "python", document)
            line, version = document.count("\n"), 1
            while len(took) < keystrokes:
                line, version = line + 1, version + 1
                editor.change(_URI, version, (line - 1, 0), (line - 1, 0), "\n")
                left = await editor.suggested(_URI, (line, 0))
                if not left:
                    raise PalimpsestError("there was no suggestion to type along")
                for column, key in enumerate(left[:-1]):
                    begun = time.perf_counter()
                    version += 1
                    editor.change(_URI, version, (line, column), (line, column), key)
                    rest = await editor.suggested(_URI, (line, column + 1))
                    took.append((time.perf_counter() - begun) * 1000)
                    if rest != left[column + 1 :]:
                        raise PalimpsestError(
                            f"{left[column + 1 :]!r} was suggested, and {rest!r} after typing along it"
                        )
        return took

    return percentiles(asyncio.run(run()), 50, 99)


def model_share(keystrokes: int | None) -> dict[str, Any]:
    """Measure the share of keystrokes that reach the model in the typing sessions, at their own pace.

    All sessions run at the same time, each on a server of its own. keystrokes: the most of each session. Raises
    PalimpsestError if the server has no counters.
    """

    async def run() -> list[_Share]:
        sessions = {name: replay.first_keystrokes(each, keystrokes) for name, each in replay.sessions().items()}
        ready = asyncio.Barrier(2 * len(sessions))  # a server that starts would slow the others down
        shares = [_share(name, each, known, ready) for known in (_KNOWN_LINES, 0.0) for name, each in sessions.items()]
        return await asyncio.gather(*shares)

    shares = asyncio.run(run())
    known, unknown = shares[: len(shares) // 2], shares[len(shares) // 2 :]
    return {
        "all": _over_all(known),
        "sessions": {share.name: round(share.jobs / share.notes.keystrokes, 4) for share in known},
        "known_lines": _KNOWN_LINES,
        "along": round(sum(s.notes.along for s in known) / sum(s.notes.keystrokes for s in known), 4),
        "accepted": sum(share.notes.accepted for share in known),
        "never_right": _over_all(unknown),
        "never_right_sessions": {share.name: round(share.jobs / share.notes.keystrokes, 4) for share in unknown},
        "answer_ms": percentiles([ms for share in known for ms in share.notes.answer_ms], 50, 95),
        "keystrokes": sum(share.notes.keystrokes for share in known),
    }


class _Share:
    """The replay of one session: its name, notes, and the number of the model's jobs."""

    def __init__(self, name: str, notes: replay.Notes, jobs: int) -> None:
        self.name = name
        self.notes = notes
        self.jobs = jobs


def _over_all(shares: Sequence[_Share]) -> float:
    return round(sum(share.jobs for share in shares) / sum(share.notes.keystrokes for share in shares), 4)


async def _share(name: str, session: replay.TypingSession, known: float, ready: asyncio.Barrier) -> _Share:
    command = stand_ins.command(
        "foresight", text=replay.final_text(session), share=known, steps=5, step_seconds=_STEP_SECONDS
    )
    async with connected(command, {"drafts": True}) as editor:
        await editor.request("palimpsest/status", None)
        await ready.wait()
        going = replay.Replay(editor, session, f"file:///bench/{replay.opened(session).name}")
        notes = await going.run(longest_pause=LONGEST_PAUSE)
        return _Share(name, notes, (await editor.counters())["model"])


def superseded_steps(document: str, keystrokes: int) -> dict[str, float]:
    """Count the denoising steps that began after a newer keystroke had made their job pointless."""

    async def run(log: Path) -> dict[int, float]:
        command = stand_ins.command("counting", log=str(log), steps=_STEPS, step_seconds=_STEP_SECONDS)
        sent = dict[int, float]()  # times by the length of the text before the keystroke
        async with connected(command, _AT_ONCE) as editor:
            editor.open(_URI, "python", document)
            cursor = replay.behind((0, 0), document)
            await editor.suggested(_URI, cursor)  # this waits until the server has loaded everything
            for turn in range(keystrokes):
                sent[len(document) + turn] = time.monotonic()
                editor.change(_URI, turn + 2, cursor, cursor, "x")
                cursor = replay.behind(cursor, "x")
                editor.inline(_URI, cursor)  # never cancelled, as by some editors: the server has to notice by itself
                await asyncio.sleep(_KEY_SECONDS)
        return sent

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "steps.jsonl"
        sent = asyncio.run(run(log))
        jobs = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    late = [sum(at > sent[length] for at in begun) for length, begun in jobs if length in sent]
    if not late:
        raise PalimpsestError("no job was superseded: the server did not ask the engine")
    return {"max": max(late), "mean": round(statistics.fmean(late), 4), "jobs": len(late)}


def memory_growth(hours: float) -> dict[str, float]:
    """Compare resident memory after the events of an hour with that after the events of a minute.

    All sessions are open side by side, and begin again as other files when they end. They run as fast as the server
    answers, without pauses.
    """

    async def run() -> tuple[float, float, int]:
        sessions = list(replay.sessions().values())
        seconds = statistics.fmean(session[-1].at / len(session) for session in sessions)
        hour = int(hours * _HOUR / seconds)
        minute = min(int(60 / seconds), hour - 1)
        after_minute, files = 0.0, len(sessions)
        async with connected(stand_ins.command("scripted", script=[stand_ins.WRONG]), _AT_ONCE) as editor:
            going = [replay.Replay(editor, each, f"file:///bench/{turn}") for turn, each in enumerate(sessions)]
            for turn in range(hour):
                which = turn % len(going)
                if going[which].over:
                    going[which].close()
                    going[which] = replay.Replay(editor, sessions[which], f"file:///bench/{files}")
                    files += 1
                going[which].step()
                await going[which].answered()
                if turn == minute:
                    after_minute = editor.resident_mb
            return after_minute, editor.resident_mb, hour

    after_minute, after_hour, events = asyncio.run(run())
    return {
        "ratio": round(after_hour / after_minute, 4),
        "after_minute_mb": round(after_minute, 1),
        "after_hour_mb": round(after_hour, 1),
        "events": events,
    }
