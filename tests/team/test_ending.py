"""A service that ends leaves no process behind, also none that was just being started."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Its child starts another process again and again, as a node of Ray does with its workers.
SERVICE = """
import subprocess, time
import psutil
from palimpsest_team.node import adopt_orphans
from palimpsest_team.service import kill_children
adopt_orphans()
subprocess.Popen(["sh", "-c", "while :; do sleep 60 & sleep 0.001; done"])
while len(psutil.Process().children(recursive=True)) < 20:
    time.sleep(0.01)
kill_children()
print(len(psutil.Process().children(recursive=True)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nowhere else are orphans adopted")
def test_children_that_a_killed_child_has_just_started_are_killed_too() -> None:
    done = subprocess.run([sys.executable, "-c", SERVICE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
