"""Places of endpoints: code that leaves this machine is announced, and asking imports no tensor library."""

from __future__ import annotations

import subprocess
import sys

import pytest

from palimpsest_engine import Endpoint
from palimpsest_engine.remote.address import address_of


@pytest.mark.parametrize(
    ("url", "base", "warning"),
    [
        ("http://127.0.0.1:8012/", "http://127.0.0.1:8012", ""),
        ("http://localhost:8012/v1", "http://localhost:8012", ""),
        ("http://[::1]:8012", "http://[::1]:8012", ""),
        ("http://127.9.9.9", "http://127.9.9.9", ""),
        ("http://10.0.0.5:8012", "http://10.0.0.5:8012", "Code is sent to 10.0.0.5, unencrypted."),
        (
            "https://llm.example.org/team/v1/completions",
            "https://llm.example.org/team",
            "Code is sent to llm.example.org.",
        ),
        (
            "http://localhost.example.org",
            "http://localhost.example.org",
            "Code is sent to localhost.example.org, unencrypted.",
        ),
        (
            "http://127.0.0.1.example.org",
            "http://127.0.0.1.example.org",
            "Code is sent to 127.0.0.1.example.org, unencrypted.",
        ),
        ("http://0.0.0.0:1", "http://0.0.0.0:1", "Code is sent to 0.0.0.0, unencrypted."),
    ],
)
def test_a_host_that_is_not_this_machine_is_named(url, base, warning):
    address = address_of(Endpoint(url))
    assert (address.base, address.warning, address.loopback) == (base, warning, not warning)


def test_an_engine_of_an_endpoint_fills_without_tensors():
    code = (
        "import sys\n"
        "from palimpsest_engine import *\n"
        "engine = open_engine(EngineSettings(endpoint=Endpoint('http://127.0.0.1:9')))\n"
        "try: engine.submit(FillRequest('x = 1', (Span(4, 5),), language='python')).future.result(20)\n"
        "except EndpointError as error: print(error)\n"
        "import palimpsest_engine.remote.hole\n"
        "print([n for n in ('torch', 'transformers', 'numpy', 'tokenizers', 'pygls') if n in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["Nothing answers at 127.0.0.1:9: is the server running?", "[]"]
