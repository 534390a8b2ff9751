"""Every run draws the same examples: a failure in CI is one that can be had again. No run writes to the user's folders.

Nor does a run see which model the developer has pulled and chosen.
"""

import itertools
import os
import re
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from editors.programs import default_cache

# How long a busy machine takes to make up an example says nothing of the test.
settings.register_profile("palimpsest", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("palimpsest")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job (`nohup make test &`) ignores interrupts, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["PALIMPSEST_EDITORS"] = str(default_cache())  # programs to drive are kept, whatever else is not
_folders = tempfile.TemporaryDirectory(prefix="palimpsest-tests-", ignore_cleanup_errors=True)
os.environ |= {
    "XDG_RUNTIME_DIR": _folders.name,
    "XDG_CACHE_HOME": _folders.name,
    "PALIMPSEST_ENGINE": "own",  # no process stays behind, but in the tests that are about it
    "PALIMPSEST_STATE": "",  # what became of suggestions is counted in those tests alone that are about it
}  # where servers say what they are doing
os.environ["PALIMPSEST_MODELS"] = str(Path(_folders.name, "no-models"))  # for what starts before a test does
_number = itertools.count()


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of models of this test alone, which does not exist yet."""
    folder = Path(_folders.name, f"models-{next(_number)}")
    monkeypatch.setenv("PALIMPSEST_MODELS", str(folder))
    return folder


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the tests for GPUs out unless they are asked for: they need Triton's compiler, the others its interpreter."""
    asked = re.search(r"(?<!not )\bgpu\b", config.option.markexpr)
    return True if collection_path == Path(__file__).parent / "gpu" and not asked else None
