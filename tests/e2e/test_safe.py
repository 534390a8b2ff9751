"""The process opens no connections, no socket but the one asked for, and no files that others can read."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from e2e.raw import ABLE, PATIENCE, raw

COMMAND = [sys.executable, "-m", "palimpsest_server", "serve"]
TEXT = "def add(a, b):\n    \n\n\nprint(add(1, 2))\n"
# A Python that starts with this on its path writes down every use of the network.
WATCHER = """
import os, sys
_out = os.open(os.environ["WATCHED_BY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(_out, b"watched\\n")
def _hook(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        inet = event == "socket.__new__" and args[1] in (2, 10)
        told = event in ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")
        if inet or (event.startswith("socket.get") and event != "socket.__new__") or told:
            os.write(_out, f"{event} {args[1:]!r}\\n".encode())
sys.addaudithook(_hook)
"""


@pytest.fixture
def watched(tmp_path):
    """Return an environment in which the network is watched, and the list of all that was seen in it."""
    (tmp_path / "sitecustomize.py").write_text(WATCHER, "utf-8")
    log = tmp_path / "network.log"
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path, "WATCHED_BY": str(log)}, log


def isolated():
    """Return a command that runs another one without any network, not even loopback."""
    for way in (["unshare", "-rn"], ["unshare", "-n"]):
        if shutil.which("unshare") and subprocess.run([*way, "true"], capture_output=True).returncode == 0:
            return way
    pytest.skip("this machine lets nobody have a network namespace of their own")


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def sockets(process):
    """Return the internet sockets of a process and its children."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return [(each.laddr, each.raddr, each.status) for one in family for each in one.net_connections(kind="inet")]


def test_the_watcher_sees(watched):
    environment, log = watched
    subprocess.run(
        [sys.executable, "-c", "import socket; socket.getaddrinfo('127.0.0.1', 1)"], env=environment, check=True
    )
    assert "socket.getaddrinfo" in log.read_text("utf-8")


def test_the_embedded_checkpoint_fills_without_any_network(watched):
    environment, log = watched
    environment = {name: value for name, value in environment.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    with raw(command=[*isolated(), *COMMAND, "--device", "cpu"], env=environment) as client:
        client.initialize()
        client.open(TEXT)
        for place in ((1, 4), (3, 0)):
            answer = client.inline(*place)
            assert "result" in answer
            assert client.status()["state"] in ("ready", "busy")
        assert client.status()["counters"]["model"] >= 1
        assert client.end() == 0
    seen = log.read_text("utf-8").splitlines()
    assert seen[0] == "watched"
    assert [line for line in seen if line != "watched"] == []


def test_no_socket_of_the_internet_is_open():
    with raw({"script": ["x"]}) as client:
        client.initialize()
        client.open("")
        assert client.offered() == "x"
        assert sockets(client.process) == []
        assert client.end() == 0


@pytest.mark.parametrize(
    "uri",
    [
        "untitled:/home/u/.env",
        "vscode-vfs://github/me/it/.env",
        "file:///code/C#/app/.env",
        "git:/code/kubeconfig?HEAD",
    ],
)
def test_a_name_of_secrets_counts_in_every_uri(uri):
    with raw({"script": ["x"]}) as client:
        client.initialize()
        client.open("", uri=uri)
        assert "its name says that it holds secrets" in client.offered(uri=uri)
        client.open("", uri="untitled:/home/u/id_rsa_utils.py")
        assert client.offered(uri="untitled:/home/u/id_rsa_utils.py") == "x"
        assert client.end() == 0


ENDPOINT = {"url": "http://elsewhere.example", "protocol": "openai", "model": "m", "keyEnv": "K", "keyFile": None}
FOREIGN = {
    "model": "/somewhere/else",
    "adapter": "/somewhere/else/adapter",
    "device": "cuda",
    "dtype": "bfloat16",
    "threads": 3,
    "quantization": "int4",
    "profile": "fast",
    "fallback": True,
    "endpoint": ENDPOINT,
    "logText": True,
    "trustWorkspace": True,
}


@pytest.mark.parametrize("trusts", [False, True])
@pytest.mark.parametrize("way", ["pulled", "sent"])
def test_a_workspace_chooses_no_model_without_trust(trusts, way):
    def pulled(params):
        return [FOREIGN if way == "pulled" else None] * len(params["items"])

    with raw({"tells_settings": True}, {"workspace/configuration": pulled}) as client:
        able = {**ABLE, "workspace": {**ABLE["workspace"], "configuration": way == "pulled"}}
        client.initialize(able, initializationOptions={"palimpsest": {"trustWorkspace": trusts, "debounceMs": 0}})
        if way == "sent":
            client.tell("workspace/didChangeConfiguration", {"settings": {"palimpsest": FOREIGN}})
        client.open("")
        # The configuration has been taken up when it has been complained about, or used.
        until(lambda: client.said("window/showMessage") or '"threads": 3' in client.offered())
        used = json.loads(client.offered())
        own = {"checkpoint": None, "adapter": None, "device": "auto", "dtype": "auto", "threads": None}
        own |= {"quantization": "none", "fallback": False, "profile": "balanced"}
        endpoint, _ = used.pop("endpoint"), used.pop("edit")
        assert used == ({key: FOREIGN["model" if key == "checkpoint" else key] for key in own} if trusts else own)
        assert (endpoint and endpoint["url"]) == (ENDPOINT["url"] if trusts else None)
        assert bool(client.said("window/showMessage")) is not trusts
        assert client.end() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no modes")
def test_files_are_readable_by_the_user_alone(tmp_path):
    homes = {name: str(tmp_path / name) for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME")}
    for home in homes.values():
        Path(home).mkdir(mode=0o700)
    log = tmp_path / "XDG_CACHE_HOME" / "palimpsest.log"
    command = [*COMMAND, "--log-file", str(log), "--log-level", "debug"]
    with raw(command=command, env=os.environ | homes, umask=0) as client:
        client.initialize(initializationOptions={"palimpsest": {"enable": False}})
        client.open("x = 1\n")
        assert client.offered() == "the setting palimpsest.enable is false"

        def written():
            return [path for home in homes.values() for path in Path(home).rglob("*")]

        until(lambda: any(path.suffix == ".json" for path in written()))
        assert log in written()
        for path in written():
            mode = stat.S_IMODE(path.stat().st_mode)
            assert (path, oct(mode)) == (path, oct(0o700 if path.is_dir() else 0o600))
        assert client.end() == 0
