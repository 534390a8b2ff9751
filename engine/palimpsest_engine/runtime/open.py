"""Open an engine for some settings. Imports nothing heavy, and neither does opening one."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from palimpsest_engine.engine import Engine, EngineSettings
from palimpsest_engine.errors import CheckpointMissing, EndpointError

_RELATIVE = (
    "The {} {} depends on the folder in which the server happens to run, so it is not used: write the absolute path, or "
    "one that begins with ~."
)


def open_engine(settings: EngineSettings | None = None) -> Engine:
    """Return an engine for the settings; it imports and loads what it needs on `warm` or the first `submit`.

    The variable PALIMPSEST_ENGINE=own, for places where no process may stay behind, makes each engine one of this process.
    """
    settings = settings or EngineSettings()
    if settings.edit is not None and (settings.endpoint is not None or settings.edit != settings.checkpoint):
        from palimpsest_engine.runtime.roles import TwoEngines

        others = replace(settings, checkpoint=settings.edit, adapter=None, endpoint=None, edit=None)
        return TwoEngines(open_engine(replace(settings, edit=None)), open_engine(others))
    if settings.endpoint is not None:
        from palimpsest_engine.runtime.remote import RemoteEngine

        return RemoteEngine(settings.endpoint)
    if settings.shared and os.environ.get("PALIMPSEST_ENGINE") != "own":
        return _shared(replace(settings, shared=False))
    from palimpsest_engine.runtime.local import LocalEngine

    return LocalEngine(settings)


def _shared(settings: EngineSettings) -> Engine:
    from palimpsest_engine import __version__
    from palimpsest_engine.checkpoint import store
    from palimpsest_engine.shared.client import SharedEngine
    from palimpsest_engine.shared.starting import Starter

    # The choice of the user at this moment, not at that when the process opened its first engine.
    named = replace(settings, checkpoint=settings.checkpoint or store.chosen() or store.EMBEDDED_NAME)
    command = (sys.executable, "-P", "-m", "palimpsest_server", "engine")
    return SharedEngine(named, lambda: open_engine(settings), Starter(command), __version__)


def refuse_relative(settings: EngineSettings) -> None:
    """Raise CheckpointMissing or EndpointError if a path in the settings depends on the working folder.

    Editors start a server in the folder that is being worked on, and whoever wrote what is in there is to choose nothing.
    """
    from palimpsest_engine.checkpoint.locate import NO_ADAPTER, absolute, is_path

    for model in (settings.checkpoint, settings.edit):
        if model is not None and is_path(model) and absolute(model) is None:
            raise CheckpointMissing(_RELATIVE.format("model", model))
    if settings.adapter not in (None, NO_ADAPTER) and absolute(settings.adapter) is None:
        raise CheckpointMissing(_RELATIVE.format("adapter", settings.adapter))
    if settings.endpoint and settings.endpoint.key_file and absolute(settings.endpoint.key_file) is None:
        raise EndpointError(_RELATIVE.format("keyFile of the endpoint", settings.endpoint.key_file))
