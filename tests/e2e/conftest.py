"""Connect an editor under test control to a real server process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import LanguageClient, make_test_lsp_client

SCRIPTED = [sys.executable, str(Path(__file__).with_name("scripted_server.py"))]
URI = "file:///project/a.py"


def full_capabilities(encodings: list[str] | None = None, **changes: Any) -> types.ClientCapabilities:
    """Return the capabilities of a client that can do all that this server can use."""
    full: dict[str, Any] = {
        "general": types.GeneralClientCapabilities(position_encodings=encodings),
        "text_document": types.TextDocumentClientCapabilities(
            inline_completion=types.InlineCompletionClientCapabilities(),
            code_action=types.CodeActionClientCapabilities(
                code_action_literal_support=types.ClientCodeActionLiteralOptions(
                    types.ClientCodeActionKindOptions(["refactor.rewrite"])
                ),
                tag_support=types.CodeActionTagOptions([types.CodeActionTag.LlmGenerated]),
            ),
        ),
        "window": types.WindowClientCapabilities(work_done_progress=True),
        "workspace": types.WorkspaceClientCapabilities(
            apply_edit=True,
            configuration=True,
            workspace_edit=types.WorkspaceEditClientCapabilities(document_changes=True, metadata_support=True),
        ),
    }
    return types.ClientCapabilities(**(full | changes))


class Editor:
    """A client with one document, that records all messages of the server."""

    uri = URI

    def __init__(self, client: LanguageClient, initialized: types.InitializeResult | None) -> None:
        self.client = client
        self.initialized = initialized
        self.statuses: list[Any] = []
        self.drafts: list[Any] = []
        self.edits: list[types.ApplyWorkspaceEditParams] = []
        self.registrations: list[types.Registration] = []
        self.text, self.version = "", 0
        self._news = asyncio.Condition()

        @client.feature("palimpsest/status")
        async def status(params: Any) -> None:
            await self._record(self.statuses, params)

        @client.feature("palimpsest/draft")
        async def draft(params: Any) -> None:
            await self._record(self.drafts, params)

        @client.feature(types.CLIENT_REGISTER_CAPABILITY)
        async def register(params: types.RegistrationParams) -> None:
            await self._record(self.registrations, *params.registrations)

        @client.feature(types.WORKSPACE_APPLY_EDIT)
        async def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            await self._record(self.edits, params)
            (change,) = params.edit.document_changes or []
            assert isinstance(change, types.TextDocumentEdit)
            current = change.text_document.version == self.version
            return types.ApplyWorkspaceEditResult(current, None if current else "another version")

    async def _record(self, where: list[Any], *what: Any) -> None:
        async with self._news:
            where.extend(what)
            self._news.notify_all()

    async def until(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Wait until a condition on the server's messages holds."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: bool(condition())), seconds)

    def open(self, text: str, language: str = "python", uri: str = URI) -> None:
        self.text, self.version, self.uri = text, 1, uri
        item = types.TextDocumentItem(uri, language, 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def change(self, *changes: types.TextDocumentContentChangeEvent) -> None:
        self.version += 1
        document = types.VersionedTextDocumentIdentifier(version=self.version, uri=self.uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, list(changes)))

    def type(self, line: int, character: int, text: str) -> None:
        where = types.Position(line, character)
        self.change(types.TextDocumentContentChangePartial(types.Range(where, where), text))

    def asked(self, line: int, character: int, automatic: bool = False) -> types.InlineCompletionParams:
        kind = types.InlineCompletionTriggerKind
        return types.InlineCompletionParams(
            types.InlineCompletionContext(kind.Automatic if automatic else kind.Invoked),
            types.TextDocumentIdentifier(self.uri),
            types.Position(line, character),
        )

    async def ask(self, line: int, character: int, automatic: bool = False) -> str | None:
        """Return the text of the first suggestion. All are for the cursor and nowhere else, and no two are the same."""
        answer = await self.client.text_document_inline_completion_async(self.asked(line, character, automatic))
        if answer is None:
            return None
        items = answer if isinstance(answer, list) else answer.items
        texts = [item.insert_text for item in items if isinstance(item.insert_text, str)]
        assert len(set(texts)) == len(items)
        at = types.Position(line, character)
        assert all(item.range == types.Range(at, at) for item in items)
        return texts[0]

    async def command(self, name: str, *arguments: Any) -> Any:
        """Return the result of a command."""
        params = types.ExecuteCommandParams(name, list(arguments))
        return await self.client.workspace_execute_command_async(params)

    async def refused(self, name: str, *arguments: Any) -> str:
        """Return the sentence with which a command is refused for its arguments."""
        with pytest.raises(JsonRpcException) as caught:
            await self.command(name, *arguments)
        assert caught.value.code == types.ErrorCodes.InvalidParams.value
        return str(caught.value.message)

    async def status(self) -> Any:
        return await self.client.protocol.send_request_async("palimpsest/status", None)

    async def reason(self) -> str | None:
        """Return why the last answer was empty."""
        empty = (await self.status()).lastEmpty
        return empty and empty.reason


Connect = Callable[..., Awaitable[Editor]]


@pytest.fixture
def capabilities() -> Callable[..., types.ClientCapabilities]:
    return full_capabilities


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Start a server and connect an editor to it; `engine` goes to the scripted engine."""
    started: list[Editor] = []

    async def start(
        engine: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        command: list[str] | None = None,
        able: types.ClientCapabilities | None = None,
        configuration: dict[str, Any] | None = None,
        folders: list[str] | None = None,
    ) -> Editor:
        client = make_test_lsp_client()
        editor = Editor(client, None)
        client.set_configuration({"palimpsest": configuration} if configuration else {})
        started.append(editor)
        await client.start_io(*(command or [*SCRIPTED, json.dumps(engine or {})]))
        options = None if settings is None else {"palimpsest": settings}
        editor.initialized = await client.initialize_session(
            types.InitializeParams(
                able or full_capabilities(),
                initialization_options=options,
                workspace_folders=[types.WorkspaceFolder(uri, uri) for uri in folders or ()] or None,
            )
        )
        return editor

    yield start
    for editor in started:
        process = editor.client._server
        if process is not None and process.returncode is None:
            try:
                await asyncio.wait_for(editor.client.shutdown_session(), 30)
            except TimeoutError:
                process.kill()
        await editor.client.stop()
