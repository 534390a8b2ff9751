"""The process opens no connections, no socket but the one asked for, and no files that others can read."""

import http.server
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
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
            shown = args if event.startswith("socket.get") else args[1:]
            os.write(_out, f"{event} {shown!r}\\n".encode())
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


def llama(asked):
    """Return a server that speaks as llama.cpp does, knows one middle, and keeps what it was sent."""

    class Llama(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.answer("application/json", {"default_generation_settings": {"n_ctx": 4096}, "model_alias": "tiny"})

        def do_POST(self):
            asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer("text/event-stream", {"content": "a + b", "stop": True, "stop_type": "eos"})

        def answer(self, kind, found):
            body = json.dumps(found).encode()
            body = b"data: " + body + b"\n\n" if kind == "text/event-stream" else body
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Llama)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def endpoint():
    """Return the URL of a server of middles, and all that it was sent."""
    asked = []
    server = llama(asked)
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


ADD = "def add(a, b):\n    return \n"


def test_with_an_endpoint_its_address_is_the_only_one_that_is_spoken_to(watched, endpoint):
    environment, log = watched
    url, asked = endpoint
    with raw(command=COMMAND, env=environment) as client:
        client.initialize(initializationOptions={"palimpsest": {"endpoint": url}})
        client.open(ADD)
        assert client.offered(1, 11) == "a + b"
        client.type(1, 11, "a")
        client.inline(1, 12)
        assert client.end() == 0
    assert any("input_suffix" in each for each in asked)
    port = url.rpartition(":")[2]
    told = {line for line in log.read_text("utf-8").splitlines() if not line.startswith(("watched", "socket.__new__"))}
    assert f"socket.connect (('127.0.0.1', {port}),)" in told
    assert {line for line in told if f"'127.0.0.1', {port}" not in line} == set()


SECRETS = 'password = "S3cret-of-yours"\nLIMIT_OF_ADDITION = 7\n\n\ndef add_all(a, b):\n    return a + b\n'


@pytest.mark.parametrize("sources", [["documents"], []])
def test_excerpts_for_an_endpoint_follow_the_rules_of_secrets(endpoint, sources):
    url, asked = endpoint
    with raw(command=COMMAND) as client:
        client.initialize(
            initializationOptions={"palimpsest": {"endpoint": url, "contextSources": sources, "speculate": False}}
        )
        client.open(SECRETS, uri="file:///project/add_all.py")
        client.open("API_TOKEN=S3cret-of-the-file\nadd_all = 1\n", uri="file:///project/.env")
        client.open(ADD.replace("add(", "add_all("))
        assert client.offered(1, 11) == "a + b"
        end = time.monotonic() + PATIENCE
        version = 1
        while sources and not any("LIMIT_OF_ADDITION" in each for each in asked):
            assert time.monotonic() < end
            version += 1
            client.type(2, 0, "\n", version=version)  # what takes long to choose serves the next request
            assert client.offered(1, 11) == "a + b"
        assert "its name says that it holds secrets" in client.offered(uri="file:///project/.env")
        assert client.end() == 0
    sent = "".join(asked)
    assert ("LIMIT_OF_ADDITION" in sent) == bool(sources)
    assert ("<redacted>" in sent) == bool(sources)
    assert "S3cret" not in sent


def test_a_workspace_that_names_an_endpoint_is_sent_nothing(endpoint):
    url, asked = endpoint

    def pulled(params):
        return [{"endpoint": url} for _ in params["items"]]

    with raw({"script": ["x"]}, {"workspace/configuration": pulled}) as client:
        client.initialize({**ABLE, "workspace": {**ABLE["workspace"], "configuration": True}})
        client.open("")
        until(lambda: client.said("window/showMessage"))
        assert client.offered() == "x"
        assert sockets(client.process) == []
        assert client.end() == 0
    assert asked == []


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
    "engine": "own",
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
        endpoint, shared, _ = used.pop("endpoint"), used.pop("shared"), used.pop("edit")
        assert used == ({key: FOREIGN["model" if key == "checkpoint" else key] for key in own} if trusts else own)
        assert shared is not trusts
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
            with suppress(FileNotFoundError):  # the new content of the status, which has taken the place of the old
                mode = stat.S_IMODE(path.stat().st_mode)
                assert (path, oct(mode)) == (path, oct(0o700 if path.is_dir() else 0o600))
        assert client.end() == 0
