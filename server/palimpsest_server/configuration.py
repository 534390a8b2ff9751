"""Ask the client for its configuration, and to be told of changes; `settings` knows the contents.

A client may never answer. The server then goes on without an answer, and takes it up if it comes late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from palimpsest_server.server import Server

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 1.0


async def pull(server: Server) -> None:
    """Ask the client for the section `palimpsest`, for all and for each workspace folder, if it can be asked."""
    workspace = server.client_capabilities.workspace
    if workspace and workspace.configuration:
        # A task, not a timeout: a late answer counts, too.
        await asyncio.wait((server.background(_pull(server)),), timeout=_PATIENCE_SECONDS)


async def _pull(server: Server) -> None:
    session = server.session
    folders = tuple(session.folders)
    scopes = (None, *folders)
    items = [types.ConfigurationItem(scope_uri=scope, section="palimpsest") for scope in scopes]
    try:
        answer = await server.workspace_configuration_async(types.ConfigurationParams(items))
    except (JsonRpcException, asyncio.CancelledError) as error:
        logger.warning("the client has no configuration to give: %s", error)
        return
    parts = list(answer) if isinstance(answer, Sequence) else []
    if len(parts) != len(items):
        logger.warning("the client gave %d parts of its configuration in place of %d", len(parts), len(items))
        return
    session.configure(parts[0], dict(zip(folders, parts[1:], strict=True)))


def subscribe(server: Server) -> None:
    """Ask to be told of changed configurations, if the client waits to be asked."""
    workspace = server.client_capabilities.workspace
    can = workspace and workspace.did_change_configuration
    if not (can and can.dynamic_registration):
        return
    registration = types.Registration(
        id="palimpsest-configuration",
        method=types.WORKSPACE_DID_CHANGE_CONFIGURATION,
        register_options=types.DidChangeConfigurationRegistrationOptions(section="palimpsest"),
    )
    server.background(_register(server, types.RegistrationParams([registration])))


async def _register(server: Server, params: types.RegistrationParams) -> None:
    try:
        await server.client_register_capability_async(params)
    except (JsonRpcException, asyncio.CancelledError) as error:
        logger.warning("the client does not tell of changed configurations: %s", error)
