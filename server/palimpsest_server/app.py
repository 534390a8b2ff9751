"""Bind every method that the language server serves to the function that does the work.

A handler unpacks the params, takes its snapshot before the first `await`, calls one function, and packs the answer. All
are coroutines: pygls starts those in the order in which the messages came, and can cancel them. Code actions and next edits
are bound in `handlers.py` of their rooms. Handlers import what is not needed to answer `initialize`.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from palimpsest_server import configuration, settings
from palimpsest_server.documents.uris import path_of
from palimpsest_server.features import completion_list, drafts
from palimpsest_server.features.code_actions import handlers
from palimpsest_server.features.next_edit import handlers as next_edit_handlers
from palimpsest_server.protocol import positions, transport
from palimpsest_server.protocol.methods import CANVAS, DRAFT, PAUSE, STATUS
from palimpsest_server.server import Server

if TYPE_CHECKING:
    from palimpsest_server.documents.notebooks import CellNews
    from palimpsest_server.documents.store import Snapshot
    from palimpsest_server.features import inline_completion
    from palimpsest_server.session.engine_slot import EngineFactory
    from palimpsest_server.session.session import Session

logger = logging.getLogger(__name__)


def serve(engine: EngineFactory, *, listen: Path | None = None, client: int | None = None) -> int:
    """Serve one client to the end, on standard input and output or on a Unix socket, and return the exit code.

    client: the id of its process, for one that does not name it in `initialize`.
    """
    server = create_server(engine)
    server.process_id = client
    try:
        if listen is None:
            code = transport.stdio(server)
        else:
            from palimpsest_server.protocol import listener

            code = listener.listen(server, listen)
    except KeyboardInterrupt:
        code = 130
    finally:
        server.close()
    return transport.leave(code)


def create_server(engine_factory: EngineFactory) -> Server:
    """Make a server that has no transport yet. Imports no tensors and opens no engine."""
    server = Server(engine_factory)

    # Life cycle and settings

    @server.feature(types.INITIALIZE)
    async def initialize(params: types.InitializeParams) -> None:
        def begin(session: Session) -> None:
            session.documents.encoding = positions.Encoding(server.workspace.position_encoding)
            session.live.client = params.client_info.name if params.client_info else ""
            session.work_in(folders_of(params))
            session.initialize(params.initialization_options)

        server.on_session(begin)
        chosen, _ = settings.parse(settings.section_of(params.initialization_options)[0])
        if completion_list.wanted(chosen, params.capabilities):
            server.feature(types.TEXT_DOCUMENT_COMPLETION, completion_list.OPTIONS)(complete)
            server.feature(types.COMPLETION_ITEM_RESOLVE)(resolve_completion)

    @server.feature(types.INITIALIZED)
    async def initialized(params: types.InitializedParams) -> None:
        # The client sends this after our answer to `initialize`, so loading cannot delay that any more.
        server.session.open()
        server.session.live.open()
        server.background(server.session.outcomes.open())
        server.tell_of_log()
        configuration.subscribe(server)
        await configuration.pull(server)
        server.session.warm()

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def did_change_configuration(params: types.DidChangeConfigurationParams) -> None:
        if not server.session.reconfigure(params.settings):
            await configuration.pull(server)

    @server.feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    async def did_change_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        gone = {folder.uri for folder in params.event.removed}
        kept = {uri: path for uri, path in server.session.folders.items() if uri not in gone}
        server.session.work_in(kept | paths_of(params.event.added))
        await configuration.pull(server)

    @server.feature(types.SHUTDOWN)
    async def shutdown(params: None) -> None:
        server.session.close()
        server.hush()

    # Documents

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def did_open(params: types.DidOpenTextDocumentParams) -> None:
        with in_step(params.text_document.uri):
            server.session.documents.open(params.text_document)
        server.session.publisher.moved_on()
        moved_on(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def did_change(params: types.DidChangeTextDocumentParams) -> None:
        document = params.text_document
        with in_step(document.uri):
            server.session.documents.change(document.uri, document.version, params.content_changes)
        moved_on(server.session.documents.opened(document.uri))

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    async def did_close(params: types.DidCloseTextDocumentParams) -> None:
        uri = server.session.documents.opened(params.text_document.uri)
        server.session.forget(uri)
        server.session.documents.close(uri)
        server.session.publisher.moved_on()

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    async def did_open_notebook(params: types.DidOpenNotebookDocumentParams) -> None:
        with in_step(params.notebook_document.uri):
            take(server.session.documents.open_notebook(params))

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    async def did_change_notebook(params: types.DidChangeNotebookDocumentParams) -> None:
        with in_step(params.notebook_document.uri):
            take(server.session.documents.change_notebook(params))

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    async def did_close_notebook(params: types.DidCloseNotebookDocumentParams) -> None:
        take(server.session.documents.close_notebook(params))

    @contextmanager
    def in_step(uri: str) -> Iterator[None]:
        """Put a document out of step if a change of it fails: nobody knows how much of it was taken."""
        try:
            yield
        except Exception:
            server.lose_track(uri)
            raise

    def take(news: CellNews) -> None:
        for uri in news.changed:
            moved_on(uri)
        for uri in news.closed:
            server.session.forget(uri)

    def moved_on(uri: str) -> None:
        from palimpsest_server.features import inline_completion

        server.session.publisher.typed_on()
        inline_completion.moved_on(server.session, uri)

    # Fills

    async def ask(
        method: str, params: Any, *, automatic: bool
    ) -> tuple[inline_completion.Answer, inline_completion.Ask | None, types.Range]:
        """Answer a question about a position, and log the answer."""
        from palimpsest_server.features import inline_completion

        session = server.session
        with session.requests.under_way(method):
            document = session.documents.snapshot(params.text_document.uri)
            if document is None:
                answer = inline_completion.Answer(reason=session.documents.why_not_open(params.text_document.uri))
                session.publisher.answered(method, answer.reason)
                return answer, None, types.Range(params.position, params.position)
            chosen = getattr(params.context, "selected_completion_info", None)
            asked, replaced = ask_of(document, params.position, chosen, session.documents.encoding, automatic=automatic)

            def show(news: inline_completion.DraftNews) -> None:
                fields = (news.text, news.settled_share, news.step)
                server.notify(DRAFT, drafts.params(document, params.position, *fields, final=news.final))

            answer = await inline_completion.complete(session, asked, show)
            session.publisher.answered(method, answer.reason, answer.source, "".join(answer.texts[:1]), answer.doubt)
            if chosen is None:
                inline_completion.watch(session, asked, answer)
            return answer, asked, replaced

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(
        params: types.InlineCompletionParams,
    ) -> list[types.InlineCompletionItem] | None:
        automatic = params.context.trigger_kind == types.InlineCompletionTriggerKind.Automatic
        answer, _, replaced = await ask(types.TEXT_DOCUMENT_INLINE_COMPLETION, params, automatic=automatic)
        chosen = params.context.selected_completion_info
        ahead = chosen.text if chosen else ""
        return [types.InlineCompletionItem(ahead + text, range=replaced) for text in answer.texts] or None

    async def complete(params: types.CompletionParams) -> types.CompletionList | None:
        if server.session.settings.completion == "off":
            server.session.publisher.answered(
                types.TEXT_DOCUMENT_COMPLETION, 'the setting palimpsest.completion is "off"'
            )
            return None
        answer, asked, _ = await ask(types.TEXT_DOCUMENT_COMPLETION, params, automatic=True)
        if asked is None:
            return None
        return completion_list.items(asked, answer, server.session.documents.encoding)

    async def resolve_completion(params: types.CompletionItem) -> types.CompletionItem:
        return completion_list.resolved(params, server.session.board.status()["model"])

    handlers.register(server, next_edit_handlers.actions)
    next_edit_handlers.register(server)

    @server.command(PAUSE)
    async def pause(params: types.ExecuteCommandParams) -> dict[str, Any]:
        from palimpsest_server.session.permission import end_refused
        from palimpsest_server.status import board

        try:
            wanted = board.pause_of(params.arguments)
            document = server.session.documents.snapshot(wanted.uri)
            wanted = replace(wanted, uri=document.uri) if document else wanted
            paused, what = server.session.pauses.change(
                wanted, document.language if document else "", server.session.folders
            )
        except ValueError as error:
            raise JsonRpcInvalidParams(str(error)) from error
        end_refused(server.session)
        server.session.publisher.publish()
        return {"paused": paused, "what": what}

    @server.command(CANVAS)
    async def canvas(params: types.ExecuteCommandParams) -> dict[str, Any]:
        from palimpsest_server.features import canvas

        return await canvas.show(server, canvas.place_of(*params.arguments or ()))

    @server.feature(STATUS)
    async def read_status(params: Any) -> dict[str, Any]:
        return server.session.board.status()

    return server


def ask_of(
    document: Snapshot,
    position: types.Position,
    chosen: types.SelectedCompletionInfo | None,
    encoding: positions.Encoding,
    *,
    automatic: bool,
) -> tuple[inline_completion.Ask, types.Range]:
    """Return the question, and the range that the answer replaces.

    While a completion is selected in the editor's list, a suggestion goes on from that completion, and shows only if it
    begins with it.
    """
    from palimpsest_server.documents import window
    from palimpsest_server.features import inline_completion

    if chosen is None:
        offset = document.content.offset_at(position, encoding)
        text, base = window.around(document, offset, offset)
        return inline_completion.Ask(document, text, offset - base, offset, automatic), document.range_at(
            offset, offset, encoding
        )
    span = document.span_of(chosen.range, encoding)
    text, base = window.around(document, span.start, span.end)
    text = text[: span.start - base] + chosen.text + text[span.end - base :]
    ask = inline_completion.Ask(document, text, span.start - base + len(chosen.text), span.end, automatic)
    return ask, document.range_at(span.start, span.end, encoding)


def folders_of(params: types.InitializeParams) -> dict[str, Path]:
    """Return the workspace folders by their URIs; for older clients the root."""
    if params.workspace_folders:
        return paths_of(params.workspace_folders)
    return paths_of([types.WorkspaceFolder(params.root_uri or root_of(params.root_path or ""), "")])


def root_of(path: str) -> str:
    """Return the URI of the root that an older client names by its path; "" if there is none, or none on this machine."""
    try:
        return Path(os.path.abspath(path)).as_uri() if path and not foreign(path) else ""
    except (OSError, ValueError) as error:  # a relative one, and the working directory was deleted
        logger.warning("the root %s cannot be used: %s", path, error)
        return ""


def foreign(path: str) -> bool:
    """Return whether a path belongs to another system than this one."""
    found = sys.platform != "win32" and re.match(r"[A-Za-z]:[\\/]|\\\\", path) is not None
    if found:
        logger.warning("the root %s is no folder of this system", path)
    return found


def paths_of(folders: Iterable[types.WorkspaceFolder]) -> dict[str, Path]:
    """Return the paths of those folders that can have one."""
    found = {folder.uri: path_of(folder.uri) for folder in folders}
    return {uri: path for uri, path in found.items() if path and "\0" not in str(path)}
