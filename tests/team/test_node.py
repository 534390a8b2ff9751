"""A node of Ray ends with the service that started it, also where the service is process 1, as in a container."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHILD = """
import os, sys
from palimpsest_team.node import end_with_parent
os.getppid = lambda: int(sys.argv[2])
end_with_parent(int(sys.argv[1]))
print("goes on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system cannot tell a child that its parent is gone")
@pytest.mark.parametrize(
    ("parent", "now", "code", "said"), [(77, 77, 0, "goes on\n"), (1, 1, 0, "goes on\n"), (77, 1, 1, "")]
)
def test_a_child_goes_on_under_its_own_parent_alone(parent, now, code, said):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(parent), str(now)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (code, said), done.stderr
