"""Every command in a block of the pages is run, as a process, in a folder like the one that its page describes.

commands.toml says how, and lists the few that are not run, each with a reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import sysconfig
import threading
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from page_commands import DATA, REASONS, ROOT, Block, Entry, blocks, commands, entries
from small_model import small_model

pytestmark = [
    pytest.mark.docs,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("bash") or os.name == "nt", reason="the pages' commands are for a Unix shell"),
]
ENTRIES = {entry.command: entry for entry in entries()}
SECONDS = 400  # for a command on a busy machine; each takes seconds
ADDRESS = re.compile(r"https?://[\w.\[\]:-]+:\d+[^\s\"'`,]*")
# Remembers the folder and the variables for the next command of the block. `set -a` exports what is assigned.
SHELL = """trap 'pwd >"$STATE/folder"; env -0 >"$STATE/variables"' EXIT
set -a -o pipefail
"""


def planned() -> list[tuple[Block, list[Entry]]]:
    """Return the blocks, each with what is run of it. One of several pages is run on the first, unless `again`."""
    done: set[str] = set()
    plan = []
    for block in blocks():
        chosen = [ENTRIES[each] for each in block.commands if each in ENTRIES and not ENTRIES[each].reason]
        chosen = [entry for entry in chosen if entry.again or entry.command not in done]
        done |= {entry.command for entry in chosen}
        if any(not entry.again for entry in chosen):
            plan.append((block, chosen))
    return plan


class Scratch:
    """A user's home and a folder of work, in which commands are run one after the other, without a network."""

    def __init__(self, folder: Path) -> None:
        self.home, self.work, self.state, environment = (folder / name for name in ("home", "work", "state", "venv"))
        for made in (self.home / ".config", self.home / "models", self.work, self.state, environment / "bin"):
            made.mkdir(parents=True)
        data = tomllib.loads(DATA.read_text("utf-8"))
        for name, text in data["files"].items():
            for place in (self.work, self.state):
                (place / name).write_text(text, "utf-8")
        for name in ("fixtures", "deploy", "dist"):
            (self.work / name).symlink_to(ROOT / name)
        shutil.copy(ROOT / "fixtures" / "demo" / "inventory.py", self.work)
        _programs(environment)
        self.folder = self.work
        self.variables = {
            "HOME": str(self.home),
            "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("engine", "server")),
            "PYTHONUNBUFFERED": "1",
            "LANG": "C.UTF-8",
            "STATE": str(self.state),
            "ROOT": str(ROOT),
            "VENV": str(environment),  # that of Make's targets
            "PALIMPSEST_MODELS": str(self.home / "installed-models"),
            "PALIMPSEST_ENGINE": "own",
            "XDG_RUNTIME_DIR": str(self.state),
            "BROWSER": "true",
            "OMP_NUM_THREADS": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
        }

    def run(self, line: str) -> tuple[int, str]:
        """Run a line of the shell; return its exit status and what it printed."""
        with self.started(line) as process:
            try:
                printed, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        self.folder = Path((self.state / "folder").read_text("utf-8").rstrip("\n"))
        pairs = (each.partition("=") for each in (self.state / "variables").read_text("utf-8").split("\0") if each)
        self.variables = {name: value for name, _, value in pairs if name not in {"_", "PWD", "OLDPWD", "SHLVL"}}
        return process.returncode, printed

    @contextmanager
    def started(self, line: str, where: Path | None = None) -> Iterator[subprocess.Popen[str]]:
        """Start a line of the shell in a process group of its own, which is gone afterwards."""
        with subprocess.Popen(
            ["bash", "-c", SHELL + line],
            cwd=where or self.folder,
            env=self.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def _programs(environment: Path) -> None:
    """Put into bin/ what an environment of development has: the interpreter, which is ours, and our commands."""
    for name, words in (
        ("python", ""),
        ("palimpsest", "-m palimpsest_server"),
        ("pip", "-m pip"),
        ("pytest", "-m pytest"),
    ):
        (program := environment / "bin" / name).write_text(
            f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', "utf-8"
        )
        program.chmod(0o755)
    for name in ("ruff", "mypy", "lint-imports", "uv", "uvx"):
        if (program := Path(sysconfig.get_path("scripts")) / name).exists():
            (environment / "bin" / name).symlink_to(program)
    for name in ("installed", "installed-dev", "installed-docs"):
        (environment / name).touch()
        os.utime(environment / name, (2**32, 2**32))  # newer than the files of a clone that is made now


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


@pytest.mark.parametrize(
    ("block", "chosen"), [pytest.param(*each, id=f"{each[0].page}:{each[0].line}") for each in planned()]
)
def test_the_commands_of_a_block_run(block: Block, chosen: list[Entry], scratch: Scratch) -> None:
    for entry in chosen:
        if entry.clone:
            scratch.folder = ROOT
        if entry.before:
            small = str(small_model()) if "$SMALL_MODEL" in entry.before else ""
            status, printed = scratch.run(f"SMALL_MODEL={small}\nset -e\n{entry.before}")
            assert status == 0, f"before {entry.command}: {printed}"
        line = f"{entry.command} {entry.more}".strip()
        if entry.serves is not None:
            _serve(scratch, entry, line)
            continue
        if entry.beside:
            status, printed = _beside(scratch, entry, line)
        else:
            status, printed = scratch.run(line)
        assert status in entry.status, f"{line}\nended with {status}:\n{printed}"
        missing = [pattern for pattern in entry.says if not re.search(pattern, printed, re.M)]
        missing += [name for name in entry.makes if not (scratch.folder / name).is_file()]
        assert missing == [], f"{line}\nprinted:\n{printed}"


def _beside(scratch: Scratch, entry: Entry, line: str) -> tuple[int, str]:
    with scratch.started(entry.beside) as server:
        port = urlsplit(_address(server)).port
        return scratch.run(re.sub(r"(127\.0\.0\.1:)\d+", rf"\g<1>{port}", line))


def _serve(scratch: Scratch, entry: Entry, line: str) -> None:
    """Start the server, ask it one thing, and end it as Ctrl-C does, or as an editor does."""
    with scratch.started(line) as process:
        if entry.serves == "lsp":
            answer = printed = _initialize(process)
        else:
            answer = _ask(_address(process), entry, scratch)
            os.killpg(process.pid, signal.SIGINT)
            printed, _ = process.communicate(timeout=SECONDS)
    assert re.search(entry.answers, answer), f"{line}\nanswered:\n{answer}"
    assert process.returncode in {0, 130}, f"{line}\nended with {process.returncode}:\n{printed}"


def _address(process: subprocess.Popen[str]) -> str:
    """Return the first address that the server prints."""
    assert process.stdout is not None
    watch = threading.Timer(SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    watch.start()
    printed = ""
    try:
        for line in process.stdout:
            printed += line
            if found := ADDRESS.search(line):
                return found[0]
    finally:
        watch.cancel()
    raise AssertionError(f"no address in:\n{printed}")


def _ask(address: str, entry: Entry, scratch: Scratch) -> str:
    """Return the body of what the server answers. Its certificate is of the test's own making."""
    address = address.replace("0.0.0.0", "127.0.0.1")
    url = re.match(r"https?://[^/]+", address)[0] + entry.serves if entry.serves else address  # type: ignore[index]
    _, expanded = scratch.run("".join(f'echo "{name}: {value}"\n' for name, value in entry.headers.items()) or ":")
    headers = dict(each.split(": ", 1) for each in expanded.splitlines())
    context = ssl._create_unverified_context() if url.startswith("https") else None
    handlers = (urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor())
    opener = urllib.request.build_opener(*handlers, urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers), timeout=SECONDS) as response:
        return str(response.read().decode("utf-8"))


def _initialize(process: subprocess.Popen[str]) -> str:
    """Say `initialize`, `shutdown` and `exit`, and return all that the server answers."""
    assert process.stdin is not None
    sent = [
        {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}},
        {"method": "initialized", "params": {}},
        {"id": 2, "method": "shutdown"},
        {"method": "exit"},
    ]
    for message in sent:
        body = json.dumps({"jsonrpc": "2.0", **message})
        process.stdin.write(f"Content-Length: {len(body)}\r\n\r\n{body}")
    process.stdin.flush()
    printed, _ = process.communicate(timeout=SECONDS)
    return printed


@pytest.mark.parametrize("command", [each for each in ENTRIES if re.search(r"\bpip install .*palimpsest-ls$", each)])
def test_commands_that_need_an_index_install_the_built_wheel(command: str, scratch: Scratch) -> None:
    if not list((ROOT / "dist").glob("*.whl")):
        pytest.skip("dist/ has no wheel; `make packages` builds it")
    if command.startswith("uv ") and not (Path(sysconfig.get_path("scripts")) / "uv").exists():
        pytest.skip("needs uv")
    offline = f'--no-deps --no-index --find-links "{ROOT}/dist" --target "$HOME/installed"'
    status, printed = scratch.run(f"{command} {offline}")
    assert status == 0, printed
    assert (scratch.home / "installed" / "palimpsest_server" / "__main__.py").exists()


def test_every_command_of_a_block_is_in_the_data_file_and_the_other_way_round() -> None:
    on_pages = {command for block in blocks() for command in block.commands}
    assert sorted(on_pages - set(ENTRIES)) == [], "not in commands.toml: say how it is run, or why not"
    assert sorted(set(ENTRIES) - on_pages) == [], "on no page any more"
    assert len(ENTRIES) == len(entries()), "a command is there twice"


def test_reasons_are_of_the_list_and_stand_alone() -> None:
    assert {entry.reason for entry in ENTRIES.values() if entry.reason} <= set(REASONS)
    for entry in ENTRIES.values():
        assert bool(entry.reason) != bool(entry.says or entry.makes or entry.answers), (
            f"{entry.command}: a reason, or what it says"
        )
    assert sum(bool(entry.reason) for entry in ENTRIES.values()) <= 55, "run it rather, with the smallest options"


def test_targets_of_make_that_are_not_run_are_there() -> None:
    for entry in ENTRIES.values():
        if entry.reason and entry.command.startswith("make "):
            command = [*entry.command.split(), "--dry-run"]
            assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0, command


def test_commands_are_read_without_comments_prompts_and_breaks() -> None:
    text = "# all\n$ one --a 1   # says\nsaid\ntwo \\\n    --b '#2'\n"
    assert list(commands(text)) == ["one --a 1", "said", "two --b '#2'"]
    assert list(commands(text, prompted=True)) == ["one --a 1"]
