"""The faults that EmmyLua finds in the types of a folder of Lua."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from editors.lsp4ij_wire import Wire


def faults(program: Path, folder: Path) -> list[str]:
    """Return what is wrong in a folder that has an `.emmyrc.json`, as "file:line: text (code)", sorted."""
    ended: list[Wire] = []
    wire = Wire([str(program), "--resources-path", "none"], folder, _answer, ended.append)
    try:
        opened = {"uri": folder.as_uri(), "name": folder.name}
        capabilities = {"textDocument": {"diagnostic": {}}, "workspace": {"diagnostics": {}}}
        wire.request(
            "initialize",
            {"processId": os.getpid(), "rootUri": None, "workspaceFolders": [opened], "capabilities": capabilities},
        ).result(60)
        wire.notify("initialized", {})
        report = wire.request("workspace/diagnostic", {"previousResultIds": []}).result(240)
        wire.request("shutdown").result(60)
        wire.notify("exit", None)
        wire.process.wait(60)
    finally:
        wire.process.kill()
    assert {Path(each["uri"]).suffix for each in report["items"]} == {".lua"}, "nothing was checked"
    return sorted(_lines(report["items"]))


def _lines(items: list[dict[str, Any]]) -> Iterator[str]:
    for each in items:
        for found in each["items"]:
            line = found["range"]["start"]["line"] + 1
            yield f"{Path(each['uri']).name}:{line}: {found['message']} ({found['code']})"


def _answer(message: dict[str, Any]) -> Any:
    """Answer a request of the server: it is told of no settings but those in its own file."""
    return [None] if message["method"] == "workspace/configuration" else None
