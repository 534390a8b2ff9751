"""The language server: every method it serves, bound to the function that does the work.

A handler unpacks the params, takes its snapshot before the first `await`, calls one function, and packs the
answer. All of them are coroutines: pygls starts those in the order in which the messages came, and can
cancel them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from lsprotocol import types
from pygls.exceptions import FeatureNotificationError, JsonRpcException, JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from palimpsest_engine import Draft, __version__
from palimpsest_server import inline, jobs, selection, status, transport, wire
from palimpsest_server.documents import Snapshot
from palimpsest_server.progress import Progress
from palimpsest_server.protocol import Protocol
from palimpsest_server.session import EngineFactory, Session

logger = logging.getLogger(__name__)

_CONFIGURATION_SECONDS = 1.0
_DRAFT = "palimpsest/draft"


def serve(engine: EngineFactory, *, tcp_port: int | None = None) -> int:
    """Serve one client on standard input and output, or on a loopback port, to the end; the exit code."""
    logging.basicConfig(stream=sys.stderr, format="palimpsest: %(levelname)s: %(message)s")
    server = create_server(engine)
    try:
        code = transport.stdio(server) if tcp_port is None else transport.tcp(server, tcp_port)
    except KeyboardInterrupt:
        code = 130
    finally:
        server.session.close()
    return transport.leave(code)


class Server(LanguageServer):
    """pygls' server with a session; it is the session's client, too."""

    def __init__(self, engine_factory: EngineFactory) -> None:
        super().__init__("palimpsest", __version__, protocol_cls=Protocol)
        self.session = Session(engine_factory, self)

    def notify(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification of our own."""
        self.protocol.notify(method, params)

    def warn(self, message: str) -> None:
        """Show a warning."""
        self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, message))

    def complain(self, message: str) -> None:
        """Show an error."""
        self.window_show_message(types.ShowMessageParams(types.MessageType.Error, message))

    def report_server_error(self, error: Exception, source: type[Exception]) -> None:
        """What pygls caught and has not settled: a message that is not JSON, a notification that failed."""
        if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
            assert isinstance(self.protocol, Protocol)
            self.protocol.refuse(None, types.ErrorCodes.ParseError, "not JSON")
        elif source is FeatureNotificationError:
            logger.error("a notification could not be handled", exc_info=True)


def create_server(engine_factory: EngineFactory) -> Server:
    """A server that has yet to be given a transport. Imports no tensors and opens no engine."""
    server = Server(engine_factory)
    session = server.session
    documents = session.documents

    # Life cycle and settings

    @server.feature(types.INITIALIZE)
    async def initialize(params: types.InitializeParams) -> None:
        documents.encoding = wire.Encoding(server.workspace.position_encoding)
        session.initialize(params.initialization_options)

    @server.feature(types.INITIALIZED)
    async def initialized(params: types.InitializedParams) -> None:
        # The client has our answer to `initialize` when it sends this: loading cannot delay that any more.
        session.open()
        asked = asyncio.create_task(pull_configuration(server))
        await asyncio.wait((asked,), timeout=_CONFIGURATION_SECONDS)
        session.warm()

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        if isinstance(params.settings, dict) and "palimpsest" in params.settings:
            session.configure(params.settings["palimpsest"])
        else:
            await pull_configuration(server)

    @server.feature(types.SHUTDOWN)
    async def shutdown(params: None) -> None:
        session.close()

    # Documents

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def did_open(params: types.DidOpenTextDocumentParams) -> None:
        session.jobs.end(params.text_document.uri, jobs.CHANGED)
        documents.open(params.text_document)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def did_change(params: types.DidChangeTextDocumentParams) -> None:
        document = params.text_document
        session.jobs.end(document.uri, jobs.CHANGED)
        if documents.change(document.uri, document.version, params.content_changes) is None:
            logger.warning("a change of %s, which is not open", document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    async def did_close(params: types.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        session.jobs.end(uri, "the document was closed")
        session.suggestions.forget(uri)
        documents.close(uri)

    # Fills

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(
        params: types.InlineCompletionParams,
    ) -> list[types.InlineCompletionItem] | None:
        document = documents.snapshot(params.text_document.uri)
        if document is None:
            session.answered(types.TEXT_DOCUMENT_INLINE_COMPLETION, session.refusal(None))
            return None
        encoding = documents.encoding
        ask, replaced, ahead = ask_of(params, document, encoding)

        def show(news: inline.DraftNews) -> None:
            server.notify(_DRAFT, draft_params(news, params.position))

        text, reason = await inline.complete(session, ask, show)
        session.answered(types.TEXT_DOCUMENT_INLINE_COMPLETION, reason)
        if not text:
            return None
        return [types.InlineCompletionItem(ahead + text, range=replaced)]

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=[selection.KIND]))
    async def code_action(params: types.CodeActionParams) -> list[types.CodeAction | types.Command]:
        document = documents.snapshot(params.text_document.uri)
        if document is None or session.refusal(document) or not can_apply(server.client_capabilities):
            return []
        span = selection.span_of(document, params.range, documents.encoding)
        only = params.context.only
        if not selection.offered(document, span, only):
            return []
        return [selection.action(document, params.range, server.client_capabilities)]

    @server.command(selection.COMMAND)
    async def fill_selection(params: types.ExecuteCommandParams) -> dict[str, Any]:
        try:
            target = selection.target_of(params.arguments)
        except ValueError as error:
            raise JsonRpcInvalidParams(str(error)) from error
        document = documents.snapshot(target.uri)
        progress = Progress(
            server,
            selection.TITLE,
            params.work_done_token,
            lambda: session.jobs.end(target.uri, jobs.CANCELLED),
        )

        def report(draft: Draft) -> None:
            progress.report(draft.settled_share)

        reason = jobs.CANCELLED
        try:
            change, reason = await selection.fill(session, document, target, report)
            if change is not None and document is not None:
                reason = await apply(server, selection.versioned(document, change, documents.encoding))
        finally:
            progress.end(reason)
            session.answered(selection.COMMAND, reason)
        if reason and reason != jobs.CANCELLED:
            server.warn(f"Palimpsest: nothing was changed: {reason}")
        return {"applied": not reason, "reason": reason or None}

    @server.feature(status.METHOD)
    async def read_status(params: Any) -> dict[str, Any]:
        return session.board.status()

    return server


def ask_of(
    params: types.InlineCompletionParams, document: Snapshot, encoding: wire.Encoding
) -> tuple[inline.Ask, types.Range, str]:
    """What is asked, the range that the answer replaces, and the text that it has to begin with.

    While a completion is selected in the editor's list, a suggestion goes on from that completion, and shows
    only if it begins with it.
    """
    automatic = params.context.trigger_kind == types.InlineCompletionTriggerKind.Automatic
    chosen = params.context.selected_completion_info
    if chosen is None:
        offset = wire.offset_at(document.text, params.position, encoding)
        ask = inline.Ask(document, document.text, offset, automatic)
        return ask, wire.range_at(document.text, offset, offset, encoding), ""
    span = selection.span_of(document, chosen.range, encoding)
    text = document.text[: span.start] + chosen.text + document.text[span.end :]
    ask = inline.Ask(document, text, span.start + len(chosen.text), automatic)
    return ask, wire.range_at(document.text, span.start, span.end, encoding), chosen.text


def draft_params(news: inline.DraftNews, position: types.Position) -> dict[str, Any]:
    """The fields of `palimpsest/draft`."""
    return {
        "uri": news.ask.document.uri,
        "version": news.ask.document.version,
        "position": {"line": position.line, "character": position.character},
        "text": news.text,
        "settledShare": round(news.settled_share, 4),
        "step": news.step,
        "final": news.final,
    }


def can_apply(can: types.ClientCapabilities) -> bool:
    """The client takes edits that name the version they are for; others could hit another text."""
    workspace = can.workspace
    return bool(
        workspace and workspace.apply_edit and workspace.workspace_edit and workspace.workspace_edit.document_changes
    )


async def apply(server: Server, change: types.WorkspaceEdit) -> str:
    """Have the client apply an edit; the reason if it does not."""
    if not can_apply(server.client_capabilities):
        return "the client does not apply versioned edits"
    workspace = server.client_capabilities.workspace
    knows_metadata = workspace and workspace.workspace_edit and workspace.workspace_edit.metadata_support
    metadata = types.WorkspaceEditMetadata(is_refactoring=True) if knows_metadata else None
    edit = types.ApplyWorkspaceEditParams(change, label=selection.TITLE, metadata=metadata)
    try:
        answer = await server.workspace_apply_edit_async(edit)
    except JsonRpcException as error:
        return f"the client refused the edit: {error}"
    return "" if answer.applied else answer.failure_reason or "the client did not apply the edit"


async def pull_configuration(server: Server) -> None:
    """Ask the client for the section `palimpsest`, if it can be asked."""
    workspace = server.client_capabilities.workspace
    if not (workspace and workspace.configuration):
        return
    item = types.ConfigurationItem(section="palimpsest")
    try:
        answer = await server.workspace_configuration_async(types.ConfigurationParams([item]))
    except JsonRpcException as error:
        logger.warning("the client has no configuration to give: %s", error)
        return
    if answer and answer[0] is not None:
        server.session.configure(answer[0])
