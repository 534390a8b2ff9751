"""The server answers `initialize` without a tensor library in the process."""

import json
import subprocess
import sys

HEAVY = ("torch", "transformers", "numpy", "tokenizers", "tree_sitter")

PROBE = """
import asyncio, json, sys
from palimpsest_engine import open_engine
from palimpsest_server.app import create_server

class Writer:
    def write(self, data):
        loaded = [name for name in {heavy!r} if name in sys.modules]
        print(json.dumps({{"answer": "serverInfo" in data.decode(), "loaded": loaded}}))

async def main():
    server = create_server(open_engine)
    server.protocol.set_writer(Writer())
    params = {{"processId": None, "rootUri": None, "capabilities": {{}}}}
    server.protocol.handle_message({{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}})
    for _ in range(10):
        await asyncio.sleep(0)

asyncio.run(main())
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_initialize_is_answered_before_anything_heavy_is_imported():
    heavy = (
        *HEAVY,
        "click",
        "psutil",
        "starlette",
        "uvicorn",
        "palimpsest_canvas",
        "statistics",
        "palimpsest_server.session.session",
        "palimpsest_engine.syntax.outline",
    )
    assert json.loads(run(PROBE.format(heavy=heavy))) == {"answer": True, "loaded": []}


def test_every_module_of_the_server_but_the_command_line_imports_without_tensors():
    code = (
        "import importlib, pkgutil, sys, palimpsest_server as p\n"
        "for m in pkgutil.iter_modules(p.__path__):\n"
        "    if m.name not in ('cli', '__main__'): importlib.import_module('palimpsest_server.' + m.name)\n"
        f"print([n for n in {HEAVY!r} if n in sys.modules])"
    )
    assert run(code).strip() == "[]"


def test_the_engine_imports_without_the_server():
    code = "import palimpsest_engine, sys; print([n for n in ('pygls', 'lsprotocol') if n in sys.modules])"
    assert run(code).strip() == "[]"
