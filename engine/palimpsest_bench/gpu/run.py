"""Runs the parts one after the other, each in a process of its own and within its time, and saves each line that they say.

Imports no torch: what a part does to its process, or to the GPU's driver, does not touch this one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from palimpsest_bench.gpu.worker import LOST
from palimpsest_engine import __version__

WORKER = (sys.executable, "-m", "palimpsest_bench.gpu.worker")
NEEDED = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "psutil", "triton", "click")
LATE = "the time was up"
_LEFT = 3.0  # seconds of all to print what was found


@dataclass(frozen=True, slots=True)
class Part:
    """A part, the seconds it is given of nine minutes, and the most that one of its items may take."""

    name: str
    seconds: float
    item: float = float("inf")


# In the order of their value; together 540 seconds. What a part leaves over the next ones may use.
PARTS = (
    Part("machine", 30),
    Part("parity", 90, item=30),
    Part("step", 170),
    Part("step int8", 45),
    Part("step int4", 45),
    Part("step int4-small", 40),
    Part("step fp8", 35),
    Part("kernels", 50),
    Part("left to right", 35),
)
MINUTES = sum(part.seconds for part in PARTS) / 60

Say = Callable[[str], None]


def missing() -> list[str]:
    """Return the packages that are needed and not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def run(
    minutes: float,
    rehearse: bool,
    output: Path,
    say: Say,
    parts: Sequence[Part] = PARTS,
    worker: Sequence[str] = WORKER,
) -> dict[str, Any]:
    """Run the parts and return what they found; it is saved after each line.

    The process of a part is killed when its time is up. If one item ends its process, or takes too long, another process
    continues behind it.
    """
    begun = time.monotonic()
    found: dict[str, Any] = {
        "format": 1,
        "version": __version__,
        "rehearsal": rehearse,
        "versions": {name: importlib.metadata.version(name) for name in NEEDED if name not in missing()},
        "minutes": minutes,
        "parts": {},
    }
    share, ends = (60 * minutes - _LEFT) / (60 * MINUTES), 0.0
    log = output.with_suffix(".log")
    with log.open("w", encoding="utf-8") as errors:
        for part in parts:
            ends += share * part.seconds
            about: dict[str, Any] = {"rows": []}
            found["parts"][part.name] = about
            started = time.monotonic()
            work = Work(part, begun + ends, share * part.item, rehearse, tuple(worker), errors, say)
            work.run(about, lambda: save(found, output))
            about["seconds"] = round(time.monotonic() - started, 1)
            found["took_s"] = round(time.monotonic() - begun, 1)
            save(found, output)
            useless = about.get("failed", LATE) != LATE or any("error" in row for row in about["rows"][:1])
            if part.name == "machine" and useless:
                break  # there is no GPU, or torch cannot be imported; a slow first import is no reason
    return found


def save(found: dict[str, Any], output: Path) -> None:
    """Replace the file by one with what was found so far."""
    beside = output.with_name(f"{output.name}.tmp")
    beside.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    beside.replace(output)


@dataclass(frozen=True, slots=True)
class End:
    """The end of a process: its exit code, the last item that was finished, the one under way, and why it ended."""

    code: int
    done: str | None
    under_way: str | None
    why: str


@dataclass
class Work:
    """The processes of a part. until: the end of its time, by the monotonic clock."""

    part: Part
    until: float
    item: float
    rehearse: bool
    worker: tuple[str, ...]
    errors: IO[str]
    say: Say

    def run(self, about: dict[str, Any], keep: Callable[[], None]) -> None:
        """Collect the rows of the part in `about`; `failed` says why there are no more."""
        after: str | None = None

        def take(row: dict[str, Any]) -> None:
            about["rows"].append(row)
            self.say(f"{self.part.name}: {said(row)}")
            keep()

        while time.monotonic() < self.until:
            end = self._one(after, take)
            if end.under_way is not None:
                take({"name": end.under_way, "ok": False, "error": end.why})
                after = end.under_way
            elif end.code == LOST and end.done is not None:  # an error of CUDA; its row is there
                after = end.done
            else:
                if end.why:
                    about["failed"] = end.why
                    self.say(f"{self.part.name}: {end.why}")
                return
        about["failed"] = LATE

    def _one(self, after: str | None, take: Callable[[dict[str, Any]], None]) -> End:
        """Run one process, which begins behind the item `after`."""
        asked = [*self.worker, self.part.name, f"--seconds={self.until - time.monotonic():.1f}"]
        asked += [f"--after={after}"] if after else []
        asked += ["--rehearse"] if self.rehearse else []
        process = subprocess.Popen(
            asked,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
        reader.start()
        done: str | None = None
        under_way: str | None = None
        late = self.until
        try:
            while (line := lines.get(timeout=max(0.0, min(late, self.until) - time.monotonic()))) is not None:
                told = json.loads(line)
                if "begin" in told:
                    under_way, late = told["begin"], time.monotonic() + self.item
                else:
                    done, under_way, late = under_way, None, self.until
                    take(told["row"])
            code = process.wait(timeout=max(0.0, self.until - time.monotonic()))
        except (queue.Empty, subprocess.TimeoutExpired):
            over = time.monotonic() >= self.until
            return End(-1, done, under_way, LATE if over else f"it took longer than {self.item:.0f} s")
        finally:
            kill(process)
            reader.join()
        return End(code, done, under_way, "" if code == 0 else f"its process ended with {code}")


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def kill(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started, if it is still there."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def said(row: dict[str, Any]) -> str:
    """Say a row in a line."""
    if "error" in row:
        return f"{row['name']}: {row['error']}"
    words = [row["name"]]
    if "off" in row:
        words.append(f"off by {row['off']:.2g}")
    if "most" in row:
        words.append(f"of {row['most']:g}: {'right' if row['ok'] else 'WRONG'}")
    for name, took in (row.get("ways") or ({"": row} if "ms" in row else {})).items():
        words.append(f"{name} {took['ms']:.4g} ms ({took['low']:.4g} to {took['high']:.4g})".strip())
    return " ".join(words)
