"""Open an engine for some settings. Imports nothing heavy, and neither does opening one."""

from __future__ import annotations

from dataclasses import replace

from palimpsest_engine.engine import Engine, EngineSettings


def open_engine(settings: EngineSettings | None = None) -> Engine:
    """Return an engine for the settings; it imports and loads what it needs on `warm` or the first `submit`."""
    settings = settings or EngineSettings()
    if settings.edit is not None and (settings.endpoint is not None or settings.edit != settings.checkpoint):
        from palimpsest_engine.runtime.roles import TwoEngines

        others = replace(settings, checkpoint=settings.edit, adapter=None, endpoint=None, edit=None)
        return TwoEngines(open_engine(replace(settings, edit=None)), open_engine(others))
    if settings.endpoint is not None:
        from palimpsest_engine.runtime.remote import RemoteEngine

        return RemoteEngine(settings.endpoint)
    from palimpsest_engine.runtime.local import LocalEngine

    return LocalEngine(settings)
