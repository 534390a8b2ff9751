"""A notebook's cells are documents, in the client's order, after any messages."""

from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from palimpsest_server.documents.store import Documents

NOTEBOOK = "file:///a.ipynb"
CODE, MARKUP = types.NotebookCellKind.Code, types.NotebookCellKind.Markup


def cell(uri: str, kind: types.NotebookCellKind = CODE) -> types.NotebookCell:
    return types.NotebookCell(kind, uri)


def item(uri: str, text: str) -> types.TextDocumentItem:
    return types.TextDocumentItem(uri, "python", 1, text)


def opening(cells: list[types.NotebookCell], notebook: str = NOTEBOOK) -> types.DidOpenNotebookDocumentParams:
    return types.DidOpenNotebookDocumentParams(
        types.NotebookDocument(notebook, "jupyter-notebook", 1, cells),
        [item(each.document, f"# {each.document}") for each in cells],
    )


def change(notebook: str = NOTEBOOK, **cells) -> types.DidChangeNotebookDocumentParams:
    return types.DidChangeNotebookDocumentParams(
        types.VersionedNotebookDocumentIdentifier(2, notebook),
        types.NotebookDocumentChangeEvent(cells=types.NotebookDocumentCellChanges(**cells)),
    )


def structure(start, delete, cells=(), did_open=(), did_close=()) -> types.NotebookDocumentCellChangeStructure:
    return types.NotebookDocumentCellChangeStructure(
        types.NotebookCellArrayChange(start, delete, list(cells)),
        list(did_open),
        [types.TextDocumentIdentifier(uri) for uri in did_close],
    )


def content(uri: str, version: int, text: str) -> types.NotebookDocumentCellContentChanges:
    return types.NotebookDocumentCellContentChanges(
        types.VersionedTextDocumentIdentifier(version, uri), [types.TextDocumentContentChangeWholeDocument(text)]
    )


def closing(cells: list[str], notebook: str = NOTEBOOK) -> types.DidCloseNotebookDocumentParams:
    return types.DidCloseNotebookDocumentParams(
        types.NotebookDocumentIdentifier(notebook), [types.TextDocumentIdentifier(uri) for uri in cells]
    )


def code(documents: Documents, uri: str) -> list[str]:
    return [each.uri for each in documents.notebook_of(uri)]


def test_a_notebook_from_opening_to_closing():
    documents = Documents()
    documents.open(item("file:///b.py", "b"))
    news = documents.open_notebook(opening([cell("1"), cell("2", MARKUP), cell("3")]))
    assert (news.changed, news.closed) == (("1", "2", "3"), ())
    assert code(documents, "1") == code(documents, "2") == ["1", "3"]
    assert documents.notebook_of("file:///b.py") == documents.notebook_of("9") == ()
    assert [each.text for each in documents.notebook_of("3")] == ["# 1", "# 3"]

    news = documents.change_notebook(change(text_content=[content("3", 2, "x"), content("1", 5, "y")]))
    assert (news.changed, news.closed) == (("3", "1"), ())
    assert [(each.version, each.text) for each in documents.notebook_of("3")] == [(5, "y"), (2, "x")]

    news = documents.change_notebook(change(data=[cell("2", CODE)]))
    assert (news.changed, news.closed) == ((), ())
    assert code(documents, "1") == ["1", "2", "3"]

    news = documents.close_notebook(closing(["1", "2", "3"]))
    assert sorted(news.closed) == ["1", "2", "3"]
    assert [each.uri for each in documents.recent()] == ["file:///b.py"]
    assert documents.notebook_of("1") == ()


def test_cells_come_go_and_move():
    documents = Documents()
    documents.open_notebook(opening([cell("1"), cell("2"), cell("3")]))
    news = documents.change_notebook(change(structure=structure(1, 1, [cell("4")], [item("4", "")], ["2"])))
    assert (news.changed, news.closed) == (("4",), ("2",))
    assert code(documents, "1") == ["1", "4", "3"]
    assert documents.snapshot("2") is None
    news = documents.change_notebook(change(structure=structure(0, 3, [cell("3"), cell("1"), cell("4")])))
    assert (news.changed, news.closed) == ((), ())
    assert code(documents, "1") == ["3", "1", "4"]


def test_a_cell_taken_out_and_put_back_keeps_its_text_and_goes_with_the_notebook():
    documents = Documents()
    documents.open_notebook(opening([cell("1"), cell("2")]))
    documents.change_notebook(change(structure=structure(0, 1)))
    assert code(documents, "2") == ["2"]
    documents.change_notebook(change(structure=structure(1, 0, [cell("1")])))
    assert [each.text for each in documents.notebook_of("2")] == ["# 2", "# 1"]
    documents.change_notebook(change(structure=structure(0, 1)))
    assert sorted(documents.close_notebook(closing([])).closed) == ["1", "2"]
    assert documents.recent() == ()


def test_a_cell_closed_and_opened_in_one_message_is_open():
    documents = Documents()
    documents.open_notebook(opening([cell("1")]))
    news = documents.change_notebook(change(structure=structure(0, 1, [cell("1")], [item("1", "new")], ["1"])))
    assert (news.changed, news.closed) == (("1",), ())
    assert [each.text for each in documents.notebook_of("1")] == ["new"]


def test_a_notebook_opened_twice_has_its_second_cells(caplog):
    documents = Documents()
    documents.open_notebook(opening([cell("1"), cell("2")]))
    news = documents.open_notebook(opening([cell("2"), cell("3")]))
    assert (news.changed, news.closed) == (("2", "3"), ("1",))
    assert code(documents, "2") == ["2", "3"]
    assert "a second time" in caplog.text


def test_a_message_about_a_closed_notebook_is_logged_once_and_changes_nothing(caplog):
    documents = Documents()
    for _ in range(3):
        news = documents.change_notebook(change(text_content=[content("1", 2, "x")]))
        assert (news.changed, news.closed) == ((), ())
    assert documents.close_notebook(closing(["1"])).closed == ()
    assert len(caplog.records) == 2
    documents.open_notebook(opening([cell("1")]))
    news = documents.change_notebook(change(structure=structure(7, 7), text_content=[content("9", 2, "x")]))
    assert (news.changed, news.closed) == ((), ())
    assert code(documents, "1") == ["1"]
    assert len(caplog.records) == 4


@given(data=st.data())
def test_any_row_of_changes_leaves_the_cells_of_the_client(data):
    """Compare with a plain list of cells; the documents reported as changed and closed are those that differ."""
    documents = Documents()
    documents.open(item("other", ""))
    row, texts = [], {}
    documents.open_notebook(opening([]))
    for name in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(row)))
        end = data.draw(st.integers(start, len(row)))
        taken = row[start:end]
        moved = data.draw(st.permutations(taken))[: data.draw(st.integers(0, len(taken)))]
        fresh = [
            cell(f"{name}.{n}", data.draw(st.sampled_from([CODE, MARKUP]))) for n in range(data.draw(st.integers(0, 2)))
        ]
        gone = [each.document for each in taken if each not in moved]
        put = data.draw(st.permutations([*moved, *fresh]))
        row[start:end] = put
        texts = {uri: text for uri, text in texts.items() if uri not in gone} | {each.document: "" for each in fresh}
        edited = data.draw(st.lists(st.sampled_from(sorted(texts)), unique=True)) if texts else []
        texts |= dict.fromkeys(edited, f"{name}")
        opened = [item(each.document, "") for each in fresh]
        news = documents.change_notebook(
            change(
                structure=structure(start, end - start, put, opened, gone),
                text_content=[content(uri, name + 2, f"{name}") for uri in edited],
            )
        )
        assert {*news.changed} == {each.uri for each in opened} | {*edited}
        assert {*news.closed} == {*gone}
        assert {each.uri: each.text for each in documents.recent()} == texts | {"other": ""}
        for uri in texts:
            assert code(documents, uri) == [each.document for each in row if each.kind == CODE]
    assert {*documents.close_notebook(closing([])).closed} == {*texts}
    assert [each.uri for each in documents.recent()] == ["other"]
