"""An editor with a session behind it, for commands."""

import pytest

from acting import Editor
from palimpsest_server.features.code_actions import explain, work


@pytest.fixture
def editor(session, client, monkeypatch):
    class Progress:
        """A progress that only records."""

        def __init__(self, server, title, token, on_cancel):
            server.cancel, server.progress = on_cancel, []

        def report(self, share, message=""):
            pass

        def end(self, message=""):
            pass

    for module in (work, explain):
        monkeypatch.setattr(module, "WorkDoneProgress", Progress)
    return Editor(session, client)
