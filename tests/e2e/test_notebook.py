"""`notebookDocument/did*`: cells are documents."""

from lsprotocol import types

NOTEBOOK = "file:///project/n.ipynb"
CELLS = ("vscode-notebook-cell:/project/n.ipynb#W0", "vscode-notebook-cell:/project/n.ipynb#W1")


def opened(texts):
    cells = [types.NotebookCell(types.NotebookCellKind.Code, uri) for uri in CELLS]
    items = [types.TextDocumentItem(uri, "python", 1, text) for uri, text in zip(CELLS, texts, strict=True)]
    return types.DidOpenNotebookDocumentParams(types.NotebookDocument(NOTEBOOK, "jupyter-notebook", 1, cells), items)


async def ask(editor, uri, line, character):
    context = types.InlineCompletionContext(types.InlineCompletionTriggerKind.Invoked)
    where = types.Position(line, character)
    params = types.InlineCompletionParams(context, types.TextDocumentIdentifier(uri), where)
    answer = await editor.client.text_document_inline_completion_async(params)
    return answer and [item.insert_text for item in answer]


async def test_a_cell_is_filled_changed_and_closed(connect):
    editor = await connect({"script": ["1", "2"]})
    editor.client.notebook_document_did_open(opened(["x = 1\n", "y = "]))
    assert await ask(editor, CELLS[1], 0, 4) == ["1"]
    where = types.Range(types.Position(0, 4), types.Position(0, 4))
    text = types.NotebookDocumentCellContentChanges(
        types.VersionedTextDocumentIdentifier(2, CELLS[1]),
        [types.TextDocumentContentChangePartial(where, "x + ")],
    )
    editor.client.notebook_document_did_change(
        types.DidChangeNotebookDocumentParams(
            types.VersionedNotebookDocumentIdentifier(2, NOTEBOOK),
            types.NotebookDocumentChangeEvent(cells=types.NotebookDocumentCellChanges(text_content=[text])),
        )
    )
    assert await ask(editor, CELLS[1], 0, 8) == ["2"]
    closed = types.DidCloseNotebookDocumentParams(
        types.NotebookDocumentIdentifier(NOTEBOOK), [types.TextDocumentIdentifier(uri) for uri in CELLS]
    )
    editor.client.notebook_document_did_close(closed)
    assert await ask(editor, CELLS[1], 0, 0) is None
    assert await editor.reason() == "the document is not open"


async def test_an_untitled_document_is_one_too(connect):
    editor = await connect({"script": ["1"]})
    item = types.TextDocumentItem("untitled:Untitled-1", "python", 1, "x = ")
    editor.client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    assert await ask(editor, "untitled:Untitled-1", 0, 4) == ["1"]
