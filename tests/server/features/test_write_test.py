"""A test for the selected code, written into the file that its tests belong into."""

import asyncio

import pytest
from lsprotocol import types

from acting import able, answer, until
from palimpsest_engine import Excerpt
from palimpsest_server.features.code_actions import run, write_test
from palimpsest_server.features.code_actions.target import target_of
from palimpsest_server.protocol import positions
from palimpsest_server.protocol.methods import RUN
from palimpsest_server.session import jobs

SOURCE = "def area(r):\n    return 3 * r * r\n\n\ndef edge(r):\n    return 6 * r\n"
TEST = "from shapes import area\n\n\ndef test_area():\n    assert area(1) == 3\n"


class Workplace:
    """A folder with a file that is open; edits are applied to the disk, as an editor does that saves at once."""

    def __init__(self, editor, folder):
        self.editor, self.session, self.folder = editor, editor.session, folder
        self.sent = []
        editor.workspace_apply_edit_async = self.apply
        editor.client_capabilities = self.able()
        self.session.work_in({folder.as_uri(): folder})
        self.uri = self.put("src/shapes.py", SOURCE).as_uri()
        self.session.documents.open(types.TextDocumentItem(self.uri, "python", 1, SOURCE))

    def able(self, operations=(types.ResourceOperationKind.Create,), **more):
        can = able(**more)
        can.workspace.workspace_edit.resource_operations = list(operations)
        return can

    def put(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    async def apply(self, params):
        self.sent.append(params)
        for change in params.edit.document_changes:
            if isinstance(change, types.CreateFile):
                assert change.uri.startswith(self.folder.as_uri())
                path = self.folder / change.uri.removeprefix(f"{self.folder.as_uri()}/")
                assert not path.exists()
                self.put(path, "")
        [edit] = change.edits
        path = self.folder / change.text_document.uri.removeprefix(f"{self.folder.as_uri()}/")
        lines = path.read_bytes().decode().split("\n")
        assert edit.range.start == edit.range.end == types.Position(len(lines) - 1, len(lines[-1]))
        path.write_bytes(path.read_bytes() + edit.new_text.encode())
        return types.ApplyWorkspaceEditResult(True)

    def run(self, uri=None, lines=(0, 2)):
        where = types.Range(types.Position(lines[0], 0), types.Position(lines[1], 0))
        argument = {"action": "test", "uri": uri or self.uri, "range": positions.as_json(where)}
        return asyncio.create_task(run.run(self.editor, RUN, target_of(RUN, argument), None))

    async def refused(self, **more):
        result = await asyncio.wait_for(self.run(**more), 10)
        assert (result["applied"], self.sent) == (False, [])
        return result["reason"]


@pytest.fixture
def workplace(editor, tmp_path):
    return Workplace(editor, tmp_path)


async def test_a_file_of_tests_is_made_if_there_is_none(workplace, engine):
    running = workplace.run()
    request = await answer(engine, f"\n{TEST}\n")
    path = workplace.folder / "tests/test_shapes.py"
    assert (request.task, request.text, request.holes[0].start, request.path) == (
        "write",
        "",
        0,
        "tests/test_shapes.py",
    )
    assert request.instruction == "Write a test for this code with pytest."
    assert request.context == (Excerpt("src/shapes.py", SOURCE[:34]),)
    assert not request.tidy
    result = await running
    assert result == {"applied": True, "reason": None, "holes": 1, "filled": 1, "uri": path.as_uri()}
    assert path.read_text() == TEST
    [sent] = workplace.sent
    assert [type(each) for each in sent.edit.document_changes] == [types.CreateFile, types.TextDocumentEdit]
    assert sent.label == "Palimpsest: write a test"


@pytest.mark.parametrize(
    ("before", "between"),
    [
        ("x = 1", "\n\n\n"),
        ("x = 1\n", "\n\n"),
        ("x = 1\n\n\n\n", ""),
        ("", ""),
        ("\n", ""),
        ("y = '🎻'\r\n", "\r\n\r\n"),
    ],
)
async def test_a_test_goes_to_the_end_of_the_file_that_is_there(workplace, engine, before, between):
    path = workplace.put("tests/test_shapes.py", before)
    running = workplace.run()
    request = await answer(engine, TEST)
    assert request.holes[0].start == request.holes[0].end == len(request.text)
    assert request.text.startswith(before)
    assert request.context == (Excerpt("src/shapes.py", SOURCE[:34]),)
    assert (await running)["applied"]
    new = TEST.replace("\n", "\r\n") if "\r" in before else TEST
    assert path.read_bytes().decode() == before + between + new
    [change] = workplace.sent[0].edit.document_changes
    assert change.text_document.version is None


async def test_an_open_file_of_tests_is_taken_as_the_editor_has_it(workplace, engine):
    path = workplace.put("tests/test_shapes.py", "x = 1\n")
    workplace.session.documents.open(types.TextDocumentItem(path.as_uri(), "python", 7, "x = 2\ny = 3\n"))
    path.write_text("x = 2\ny = 3\n")
    running = workplace.run()
    request = await answer(engine, TEST)
    assert request.text == "x = 2\ny = 3\n\n\n"
    assert (await running)["applied"]
    [change] = workplace.sent[0].edit.document_changes
    assert change.text_document.version == 7


@pytest.mark.parametrize("opened", [False, True])
async def test_a_file_of_tests_that_changes_meanwhile_is_left_alone(workplace, engine, opened):
    path = workplace.put("tests/test_shapes.py", "x = 1\n")
    if opened:
        workplace.session.documents.open(types.TextDocumentItem(path.as_uri(), "python", 1, "x = 1\n"))
    running = workplace.run()
    await until(lambda: engine.jobs)
    if opened:
        whole = types.TextDocumentContentChangeWholeDocument("x = 2\n")
        workplace.session.documents.change(path.as_uri(), 2, [whole])
    else:
        path.write_text("x = 2\n")
    await answer(engine, TEST)
    assert (await running)["reason"] == write_test.CHANGED
    assert workplace.sent == []


async def test_a_file_that_is_made_meanwhile_is_not_written_over(workplace, engine):
    running = workplace.run()
    await until(lambda: engine.jobs)
    path = workplace.put("tests/test_shapes.py", "mine\n")
    await answer(engine, TEST)
    assert (await running)["reason"] == write_test.CHANGED
    assert path.read_text() == "mine\n"


async def test_a_client_that_creates_no_files_appends_to_those_there_are(workplace, engine):
    workplace.editor.client_capabilities = workplace.able(())
    assert await workplace.refused() == write_test.CANNOT_CREATE
    workplace.put("tests/test_shapes.py", "")
    running = workplace.run()
    await answer(engine, TEST)
    assert (await running)["applied"]


async def test_the_edit_names_its_author_if_the_client_shows_that(workplace, engine):
    workplace.editor.client_capabilities = workplace.able(annotations=True)
    running = workplace.run()
    await answer(engine, TEST)
    assert (await running)["applied"]
    edit = workplace.sent[0].edit
    [note] = edit.change_annotations.values()
    assert note.description == "written by a language model on this machine"
    assert {edit.document_changes[0].annotation_id, edit.document_changes[1].edits[0].annotation_id} == {"palimpsest"}


async def test_files_that_the_rules_keep_from_the_model_are_not_touched(workplace, engine):
    workplace.put(".gitignore", "tests/\n")
    (workplace.folder / ".git").mkdir()
    assert "tests/test_shapes.py is not touched: it is ignored by" in await workplace.refused()
    workplace.session.initialize({"palimpsest": {"ignore": ["tests/**"]}})
    assert "palimpsest.ignore has tests/**" in await workplace.refused()
    assert engine.jobs == []


async def test_a_link_that_leads_out_of_the_workspace_is_not_followed(workplace, engine, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "test_shapes.py").write_text("theirs\n")
    (workplace.folder / "tests").symlink_to(outside)
    assert "it lies outside of the workspace" in await workplace.refused()
    (outside / "test_shapes.py").unlink()
    assert "it lies outside of the workspace" in await workplace.refused()
    assert engine.jobs == []


@pytest.mark.parametrize(
    ("name", "language", "reason"),
    [
        ("tests/test_a.py", "python", write_test.TESTS_ITSELF),
        ("a.zig", "zig", write_test.NO_HABIT),
        ("../elsewhere/a.py", "python", write_test.NO_FILE),
    ],
)
async def test_some_files_have_no_tests(workplace, name, language, reason):
    uri = (workplace.folder / name).resolve().as_uri()
    workplace.session.documents.open(types.TextDocumentItem(uri, language, 1, SOURCE))
    assert await workplace.refused(uri=uri) == reason


async def test_a_document_that_is_no_file_has_no_tests(workplace):
    for uri in ("untitled:Untitled-1", workplace.uri.replace("file:", "vscode-notebook-cell:") + "#W0"):
        workplace.session.documents.open(types.TextDocumentItem(uri, "python", 1, SOURCE))
        assert await workplace.refused(uri=uri) == write_test.NO_FILE


async def test_a_file_that_holds_a_key_is_left_alone(workplace):
    workplace.put("tests/test_shapes.py", "-----BEGIN RSA PRIVATE KEY-----\n" + "A" * 64 + "\n")
    assert await workplace.refused() == "tests/test_shapes.py is not touched: it holds secrets"


async def test_a_binary_or_very_large_file_is_left_alone(workplace):
    workplace.put("tests/test_shapes.py", "x\0y")
    assert await workplace.refused() == "tests/test_shapes.py is not touched: not a text"
    workplace.put("tests/test_shapes.py", "x = 1\n" * 100_000)
    assert await workplace.refused() == "tests/test_shapes.py is not touched: it is too large"


async def test_a_source_that_changes_ends_it(workplace, engine):
    running = workplace.run()
    await until(lambda: engine.jobs)
    workplace.session.jobs.end(workplace.uri, jobs.CHANGED)
    assert (await running)["reason"] == jobs.CHANGED
    assert engine.jobs[0].cancelled.is_set()


async def test_lines_without_code_get_no_test(workplace):
    assert await workplace.refused(lines=(3, 3)) == "there is no code on these lines"


async def test_the_reason_of_the_engine_is_the_reason(workplace, engine):
    running = workplace.run()
    await answer(engine, "", reason="The answer would have broken the syntax.")
    assert (await running)["reason"] == "The answer would have broken the syntax."
    assert workplace.sent == []
