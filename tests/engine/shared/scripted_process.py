"""Run an engine process whose engine answers with the number of the process, after so many steps of so many seconds.

Several numbers of steps, such as `1000,0`, are those of the first process that listens, the second, and so on; the last
counts for all that follow.
"""

import asyncio
import os
import sys
from pathlib import Path

from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_engine.shared.address import place
from palimpsest_engine.shared.host import Host
from palimpsest_engine.shared.starting import Taken, holding


def main() -> None:
    steps, seconds = list(map(int, sys.argv[1].split(","))), float(sys.argv[2])
    seen = Path(os.environ["XDG_RUNTIME_DIR"], "pids")
    seen.mkdir(exist_ok=True)
    version = sys.argv[3] if len(sys.argv) > 3 else "1.0"

    def engine(_: object) -> ScriptedEngine:
        turn = min(len(list(seen.iterdir())), len(steps))
        return ScriptedEngine([str(os.getpid())], steps=steps[turn - 1], step_seconds=seconds)

    host = Host(engine, 20.0, version)
    try:
        with holding(place()) as leave:
            (seen / str(os.getpid())).touch()
            asyncio.run(host.serve(place(), leave))
    except Taken:
        sys.exit(0)
    os._exit(0)


main()
