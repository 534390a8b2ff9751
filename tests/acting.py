"""As much of an editor as a command needs, without a wire: it applies edits and takes back what it is told to."""

import asyncio

from lsprotocol import types

from palimpsest_engine import Fill, Verdict
from palimpsest_server.features import inline_completion
from palimpsest_server.features.code_actions import offer, run
from palimpsest_server.features.code_actions.target import target_of
from palimpsest_server.protocol import positions
from palimpsest_server.protocol.methods import RUN

URI = "file:///a.py"
UTF16 = types.PositionEncodingKind("utf-16")


def able(*, literals=True, tags=(), disabled=False, resolve=(), edits=True, versions=True, annotations=False):
    """Return a client's capabilities."""
    support = types.CodeActionClientCapabilities(
        code_action_literal_support=types.ClientCodeActionLiteralOptions(types.ClientCodeActionKindOptions([]))
        if literals
        else None,
        tag_support=types.CodeActionTagOptions(list(tags)) if tags else None,
        disabled_support=disabled,
        data_support=bool(resolve),
        resolve_support=types.ClientCodeActionResolveOptions(list(resolve)) if resolve else None,
    )
    workspace_edit = types.WorkspaceEditClientCapabilities(
        document_changes=versions,
        change_annotation_support=types.ChangeAnnotationsSupportOptions() if annotations else None,
        metadata_support=annotations,
    )
    return types.ClientCapabilities(
        text_document=types.TextDocumentClientCapabilities(code_action=support),
        workspace=types.WorkspaceClientCapabilities(apply_edit=edits, workspace_edit=workspace_edit),
    )


class Editor:
    """As much of the server as a command needs, and a client behind it that applies edits."""

    def __init__(self, session, client):
        self.session, self.client = session, client
        self.client_capabilities = able()
        self.applied, self.told = [], []
        self.obeys = True
        self.version = 1

    def warn(self, message):
        self.client.warn(message)

    def tell(self, message):
        self.told.append(message)

    async def workspace_apply_edit_async(self, params):
        self.applied.append(params)
        if not self.obeys:
            return types.ApplyWorkspaceEditResult(False)
        (change,) = params.edit.document_changes
        assert change.text_document == types.OptionalVersionedTextDocumentIdentifier(URI, self.version)
        self.take(change.edits)
        return types.ApplyWorkspaceEditResult(True)

    def take(self, edits):
        """Apply all edits of one version; from the last on, none of them moves another."""
        starts = [(edit.range.start.line, edit.range.start.character) for edit in edits]
        assert starts == sorted(starts)
        self.change(*(types.TextDocumentContentChangePartial(e.range, e.new_text) for e in reversed(edits)))

    def change(self, *changes):
        self.version += 1
        self.session.documents.change(URI, self.version, list(changes))
        inline_completion.moved_on(self.session, URI)

    def open(self, text, encoding=UTF16, language="python"):
        """Open a text in which « and » (or one ‸) are the selection, and return the range of that."""
        start = min(text.find(mark) for mark in "«‸" if mark in text) if set("«‸") & set(text) else 0
        end = text.index("»") - 1 if "»" in text else start
        plain = "".join(c for c in text if c not in "«»‸")
        self.session.documents.encoding = encoding
        self.session.documents.open(types.TextDocumentItem(URI, language, 1, plain))
        self.version = 1
        return self.document.range_at(start, end, encoding)

    @property
    def document(self):
        return self.session.documents.snapshot(URI)

    async def offered(self, where, only=None, trigger=None, diagnostics=()):
        context = types.CodeActionContext(list(diagnostics), only=only, trigger_kind=trigger)
        params = types.CodeActionParams(types.TextDocumentIdentifier(URI), where, context)
        return await offer.offered(self.session, self.document, params, self.client_capabilities)

    def run(self, action, where, version=1, **more):
        argument = {"action": action, "uri": URI, "version": version, **more}
        argument |= {"range": positions.as_json(where)} if where else {}
        return asyncio.create_task(run.run(self, RUN, target_of(RUN, argument), None))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def answer(engine, *choices, reason=""):
    """Answer the last job, once there is one; a choice is a text for each hole."""
    await until(lambda: engine.jobs and not engine.jobs[-1].future.done())
    request = engine.jobs[-1].request
    texts = [(choice,) if isinstance(choice, str) else choice for choice in choices]
    engine.jobs[-1].future.set_result(Fill(texts[0], Verdict("valid"), reason, alternatives=tuple(texts[1:])))
    return request
