"""The client's process is watched from the moment on that it is known."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

from palimpsest_server.protocol import transport


def test_a_process_whose_id_is_known_late_is_watched(monkeypatch):
    monkeypatch.setattr(transport, "_HANDSHAKE_SECONDS", 0.01)
    monkeypatch.setattr(transport, "_PARENT_SECONDS", 0.01)
    looks, stopping = [], threading.Event()

    class Server:
        protocol = SimpleNamespace(stopping=stopping, initialized=True)

        @property
        def process_id(self):
            looks.append(None)
            return client.pid if len(looks) > 3 else None

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as client:
        watching = threading.Thread(target=transport._mind, args=(Server(), stopping.set))
        watching.start()
        assert not stopping.wait(0.3)
        client.kill()
        assert stopping.wait(60)
    watching.join(60)
    assert len(looks) == 4


def test_a_client_that_never_names_its_process_is_not_looked_for_for_ever(monkeypatch):
    monkeypatch.setattr(transport, "_HANDSHAKE_SECONDS", 0.001)
    server = SimpleNamespace(protocol=SimpleNamespace(stopping=threading.Event(), initialized=True), process_id=None)
    transport._mind(server, lambda: None)
