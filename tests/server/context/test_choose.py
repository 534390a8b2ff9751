"""The choice of context: ranked, within its limits, and never late because of a disk or a text."""

from __future__ import annotations

import asyncio
import ntpath
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from palimpsest_bench import crossfile
from palimpsest_engine.errors import DataError
from palimpsest_server.context import worker
from palimpsest_server.context.choose import SOURCES, Around, Choice, Chosen, Document, Limits, Question, choose
from palimpsest_server.context.worker import Chooser, around
from palimpsest_server.context.workspace import FILE_BYTES, Look, Workspace
from palimpsest_server.documents.edit_history import RecentEdit
from palimpsest_server.documents.store import Documents

CASES = crossfile.cases(Path(__file__).parents[3] / "fixtures" / "crossfile")


@dataclass
class Pages:
    """A text that counts the characters taken out of it."""

    text: str
    taken: int = 0

    def __len__(self) -> int:
        return len(self.text)

    def slice(self, start: int, end: int) -> str:
        assert 0 <= start <= end <= len(self.text)
        self.taken += end - start
        return self.text[start:end]

    def line_at(self, offset: int) -> int:
        return self.text.count("\n", 0, offset)


def document(path: str, text: str, version: int = 1) -> Document:
    return Document(f"file://{path}", path, "python", Pages(text), version)


@dataclass
class Disk(crossfile.Project):
    """Files by path; notes every path asked for, can wait and can fail."""

    contents: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    gate: threading.Event | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        super().__init__(self.contents)

    def look(self, path: str) -> Look:
        self.asked.append(path)
        self.threads.add(threading.get_ident())
        if self.gate is not None:
            self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return Look("", self.refusals[path]) if path in self.refusals else super().look(path)


NOTHING = Around()


def chosen(here: str, around: Around = NOTHING, disk: Disk | None = None, **more) -> Chosen:
    at = here.index("|")
    expired = more.pop("expired", lambda: False)
    more = {"sources": SOURCES, "around": around, **more}
    here = here.replace("|", "", 1)
    return choose(Question(document("/project/here.py", here), at, disk or Disk(), **more), expired)


def texts(found: Chosen) -> str:
    return "\n".join(f"{each.title}\n{each.text}" for each in found.choices)


# The cases that are measured


def test_there_are_enough_cases_of_every_source() -> None:
    assert len(CASES) >= 40
    assert {case.source for case in CASES} == set(SOURCES)
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_source_shows_the_text_that_the_file_lacks(case: crossfile.Case) -> None:
    missing = crossfile.missing(case)
    assert missing not in case.text
    assert any(missing in f"{each.title}\n{each.text}" for each in case.chosen((case.source,), 200).choices)
    assert all(each.source == case.source for each in case.chosen((case.source,), 200).choices)
    assert case.chosen((), 200) == Chosen()


# Ranking, repetition, caps

MODELS = (
    "class Order:\n    def __init__(self):\n        self.customer = 1\n\n\ndef unrelated(value):\n    return value\n"
)


def test_the_most_useful_comes_last() -> None:
    found = chosen(
        "import models\n\ndef f(order: models.Order):\n    return order.|\n",
        Around(
            cells=(document("/project/c1", "first = 1"), document("/project/c2", "second = 2")),
            edits=(RecentEdit("file:///project/x.py", 0, 0, "aaa = 1", "bbb = 1"),),
        ),
        Disk({"models.py": MODELS}),
    )
    assert [each.source for each in found.choices][-3:] == ["imports", "notebook", "notebook"]
    assert [each.text for each in found.choices][-2:] == ["first = 1", "second = 2"]
    assert [each.score for each in found.choices] == sorted(each.score for each in found.choices)
    assert found.excerpts[-1].text == "second = 2"


def test_an_imported_definition_comes_whole_if_it_is_named_near_the_cursor_and_as_a_name_if_not() -> None:
    found = chosen("import models\n\nmodels.Order().|\n", disk=Disk({"models.py": MODELS})).choices
    assert [each.text.split("\n")[0] for each in found] == ["def unrelated(value)", "class Order:"]
    assert "self.customer = 1" in found[-1].text
    assert "return value" not in found[0].text


def test_lines_of_the_document_itself_are_not_repeated() -> None:
    window = "def area(shape):\n    return shape.width * shape.height\n"
    found = chosen(f"{window}\n|shape.width\n", Around(others=(document("/project/other.py", window),)))
    assert found.choices == ()
    assert [each.why for each in found.left_out] == ["the model sees these lines already"]


def test_an_imported_document_that_is_open_is_shown_once_and_as_the_editor_has_it() -> None:
    disk = Disk({"models.py": MODELS})
    edited = document("/project/models.py", MODELS.replace("customer", "buyer"))
    found = chosen("import models\n\nmodels.Order().|\nvalue\n", Around(others=(edited,)), disk)
    assert "self.buyer" in texts(found)
    assert "customer" not in texts(found)
    assert texts(found).count("self.buyer = 1") == 1
    assert disk.asked == []


def test_a_large_module_fills_its_share_of_the_budget() -> None:
    names = "".join(f"NUMBER_{i} = {i}\n" for i in range(1000))
    fields = "class Order:\n" + "".join(f"    field_{i}: int\n" for i in range(1000))
    found = chosen("import config\nconfig.Order|\n", disk=Disk({"config.py": names + fields}))
    assert [each.text.split("\n")[0] for each in found.choices] == ["NUMBER_0 = 0", "class Order:"]
    assert all(len(each.text) > 200 and each.text.endswith(tuple("0123456789t")) for each in found.choices)


def test_the_imports_of_an_earlier_cell_count() -> None:
    found = chosen(
        "models.Order().|\n", Around(cells=(document("/project/c1", "import models"),)), Disk({"models.py": MODELS})
    )
    assert [each.source for each in found.choices] == ["imports", "imports", "notebook"]


def test_no_more_files_than_allowed_are_looked_at() -> None:
    files = {f"m{i}.py": f"def shared_name_{i}(): pass\n" for i in range(9)}
    disk = Disk(files)
    here = "".join(f"import m{i}\n" for i in range(9)) + "|\n"
    opened = tuple(document(f"/project/o{i}.py", "import m1\n") for i in range(9))
    found = chosen(here, Around(others=opened), disk, limits=Limits(files=4))
    looked = sum(other.content.taken > 0 for other in opened) + len(disk.asked)
    assert looked == 4
    assert {each.why for each in found.left_out if each.source == "imports"} == {"over 2 files"}
    assert chosen(here, Around(others=opened), disk, limits=Limits(files=0)).choices == ()


def test_cells_of_another_notebook_are_documents_of_their_own() -> None:
    uri = "vscode-notebook-cell:/project/n.ipynb#"
    cells = tuple(
        Document(f"{uri}{i}", "/project/n.ipynb", "python", Pages(f"area(shape).width\nonly_in_{i}()\n")) for i in "12"
    )
    found = chosen("|area(shape).width\n", Around(others=cells))
    assert {each.place for each in found.choices} == {f"{uri}1", f"{uri}2"}
    assert "only_in_1" in texts(found)
    assert "only_in_2" in texts(found)


def test_no_more_bytes_than_allowed_are_used() -> None:
    disk = Disk({"m1.py": "def one(): pass\n" * 20, "m2.py": "def two(): pass\n" * 20})
    found = chosen("import m1, m2\n|\n", disk=disk, limits=Limits(bytes=800))
    assert {each.place for each in found.choices} == {"/project/m1.py"}
    assert [(each.place, each.why) for each in found.left_out] == [("/project/m2.py", "over 400 characters were read")]


def test_the_choice_found_within_the_time_counts() -> None:
    late = iter([False, True, True])
    opened = tuple(document(f"/project/o{i}.py", "def area(shape): return shape.width\n") for i in range(2))
    found = chosen("|area(shape).width\n", Around(others=opened), sources=("documents",), expired=lambda: next(late))
    assert [each.place for each in found.choices] == ["/project/o0.py"]
    assert [(each.place, each.why) for each in found.left_out] == [("/project/o1.py", "the time was over")]


def test_only_windows_of_a_huge_document_are_taken() -> None:
    huge = "".join(f"def function_{i:07}(shape): return shape.width\n" for i in range(230_000))
    here, other = document("/project/here.py", huge), document("/project/huge.py", huge.replace("_0", "_1"))
    assert len(huge) > 10_000_000
    found = choose(Question(here, len(huge), Disk(), SOURCES, Around(others=(other,)), Limits(tokens=500)))
    assert found.choices
    assert here.content.taken < 200_000
    assert other.content.taken <= FILE_BYTES


@given(
    st.lists(st.text("abc_ \n\t()=:.\r", max_size=200), max_size=4),
    st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=3),
    st.text(max_size=40),
    st.integers(0, 300),
)
def test_the_choice_fits_the_budget_and_every_title_is_one_line(others, edits, message, tokens) -> None:
    around = Around(
        others=tuple(document(f"/project/{i}\n.py", text) for i, text in enumerate(others)),
        cells=tuple(document(f"/project/cell{i}", text) for i, text in enumerate(others)),
        edits=tuple(RecentEdit("file:///e%0D.py", 0, 0, before, after) for before, after in edits),
        diagnostics=(types.Diagnostic(types.Range(types.Position(0, 0), types.Position(0, 0)), message),),
    )
    found = chosen("abc = b(|)\n", around, limits=Limits(tokens=tokens))
    assert sum(each.tokens for each in found.choices) <= tokens
    assert all(len(each.title.splitlines()) <= 1 for each in found.choices)
    assert all(isinstance(each, Choice) and each.why for each in found.choices)


# Forbidden files


def test_ignored_and_secret_files_are_left_out_with_a_reason() -> None:
    disk = Disk({"models.py": MODELS}, refusals={"/project/models.py": "ignored by .gitignore"})
    found = chosen(
        "import models\n\nmodels.Order().customer|\n",
        Around(
            others=(document("/project/.env", "customer = Order models"),),
            edits=(RecentEdit("file:///project/.env", 0, 0, "customer = 1", "customer = 2"),),
        ),
        disk,
        forbidden=lambda path: "it may hold secrets" if path.endswith(".env") else "",
    )
    assert found.choices == ()
    assert {(each.source, each.place, each.why) for each in found.left_out} == {
        ("imports", "/project/models.py", "ignored by .gitignore"),
        ("documents", "/project/.env", "it may hold secrets"),
        ("edits", "/project/.env", "it may hold secrets"),
    }


def test_secrets_are_taken_out_of_everything_that_is_shown() -> None:
    around = Around(
        others=(document("/project/o.py", "token = 'hunter2'\nlogin(token)\n"),),
        cells=(document("/project/c", "password = 'hunter2'"),),
        edits=(RecentEdit("file:///e.py", 0, 0, "token = 'x'", "token = 'hunter2'"),),
        diagnostics=(types.Diagnostic(types.Range(types.Position(0, 0), types.Position(0, 0)), "hunter2 is bad"),),
    )
    found = chosen("login(|token)\n", around, redacted=lambda text: text.replace("hunter2", "***"))
    assert {each.source for each in found.choices} == {"documents", "notebook", "edits", "diagnostics"}
    assert "hunter2" not in texts(found)
    assert texts(found).count("***") == 4


def test_nothing_is_shown_of_a_text_with_a_key_in_it() -> None:
    other = document("/project/o.py", "KEY\n" + "login(token)\n" * 50)
    disk = Disk({"models.py": MODELS + "KEY\n"})
    here = "import models\nlogin(models.Order, |token)\n"
    found = chosen(here, Around(others=(other,)), disk, secret=lambda text: "KEY" in text)
    assert found.choices == ()
    assert {(each.place, each.why) for each in found.left_out} == {
        ("/project/models.py", "there is a secret in it"),
        ("/project/o.py", "there is a secret in it"),
    }


# Files


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.py").write_text("A = 1\n", newline="\n")
    (tmp_path / "secret.py").write_text("S = 1\n")
    return tmp_path / "w"


def test_files_of_the_workspace_are_read(project: Path) -> None:
    workspace = Workspace([str(project)])
    assert workspace.look(str(project / "a.py")) == Look("A = 1\n")
    assert workspace.exists(str(project / "a.py"))
    assert workspace.names(str(project)) == ["a.py"]
    assert not workspace.exists(str(project / "none.py"))
    assert workspace.look(str(project / "none.py")).refusal == "No such file or directory"


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("C:/code/a.py", True),
        (r"C:\code\deep\a.py", True),
        (r"C:\code\..\a.py", False),
        ("C:/code2/a.py", False),
        ("D:/code/a.py", False),
        ("//host/share/code/a.py", True),
        (r"\\host\share\other\a.py", False),
    ],
)
def test_paths_of_windows_may_have_either_slash(path: str, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    system = SimpleNamespace(sep="\\", path=SimpleNamespace(realpath=ntpath.normpath, isfile=lambda path: True))
    monkeypatch.setattr("palimpsest_server.context.workspace.os", system)
    assert Workspace([r"C:\code", r"\\host\share\code"]).exists(path) == there


def test_nothing_outside_is_read_by_whatever_way(project: Path) -> None:
    (project / "link.py").symlink_to(project.parent / "secret.py")
    (project / "up").symlink_to(project.parent)
    (project / "in.py").symlink_to(project / "a.py")
    workspace = Workspace([str(project)])
    for path in ("link.py", "up/secret.py", "../secret.py", "up/w/../secret.py"):
        assert workspace.look(f"{project}/{path}") == Look("", "outside the workspace")
        assert not workspace.exists(f"{project}/{path}")
    assert workspace.names(f"{project}/up") == []
    assert workspace.look(f"{project}/in.py").text == "A = 1\n"
    assert Workspace([]).look(f"{project}/a.py").refusal == "outside the workspace"


def test_a_workspace_may_be_named_by_a_link(project: Path) -> None:
    named = project.parent / "named"
    named.symlink_to(project)
    (project / "out.py").symlink_to(project.parent / "secret.py")
    workspace = Workspace([str(named)])
    assert workspace.look(f"{named}/a.py").text == workspace.look(f"{project}/a.py").text == "A = 1\n"
    assert workspace.look(f"{named}/out.py").refusal == "outside the workspace"


def test_a_link_to_a_forbidden_file_is_forbidden(project: Path) -> None:
    (project / ".env").write_text("S=1\n")
    (project / "plain.py").symlink_to(project / ".env")
    workspace = Workspace([str(project)], lambda path: "secret" if path.endswith(".env") else "")
    assert workspace.look(str(project / "plain.py")) == Look("", "secret")
    assert workspace.look(str(project / ".env")) == Look("", "secret")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xef\xbb\xbfa = 1\r\n", Look("a = 1\r\n")),
        (b"a\0b", Look("", "not a text")),
        (b"\xff\xfe", Look("", "not UTF-8")),
        (b"x" * (FILE_BYTES + 1), Look("", "its first line is too long")),
        ("ä = 1\n".encode() * FILE_BYTES, Look("ä = 1\n" * (FILE_BYTES // 7))),
    ],
)
def test_a_binary_file_is_refused_and_a_long_text_is_cut(project: Path, data: bytes, expected: Look) -> None:
    (project / "b.py").write_bytes(data)
    assert Workspace([str(project)]).look(str(project / "b.py")) == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in this file system")
def test_a_pipe_is_not_waited_for(project: Path) -> None:
    os.mkfifo(project / "pipe.py")
    assert Workspace([str(project)]).look(str(project / "pipe.py")) == Look("", "not a file")
    assert Workspace([str(project)]).look(str(project)).refusal


def test_a_file_is_read_again_only_if_it_changed(project: Path) -> None:
    workspace = Workspace([str(project)])
    first = workspace.look(str(project / "a.py"))
    assert workspace.look(str(project / "a.py")) is first
    (project / "a.py").write_text("A = 22\n")
    assert workspace.look(str(project / "a.py")).text == "A = 22\n"


# On the event loop

HERE = "import models\n\nmodels.Order().\n"
AT = HERE.index(".\n") + 1


@pytest.fixture(autouse=True, scope="module")
def time_enough() -> Iterator[None]:
    """Let no choice end because the machine is busy; what happens then has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_SECONDS", 60.0)
        yield


async def ask(
    chooser: Chooser,
    disk: Disk,
    text: str = HERE,
    at: int = AT,
    around: Around = NOTHING,
    patience: float | None = None,
) -> Chosen:
    return await chooser.choose(Question(document("/project/here.py", text), at, disk, SOURCES, around), patience)


async def test_files_are_read_on_another_thread() -> None:
    disk = Disk({"models.py": MODELS})
    assert "customer" in texts(await ask(Chooser(), disk))
    assert disk.threads
    assert threading.get_ident() not in disk.threads


async def test_while_one_types_on_a_line_the_choice_stays() -> None:
    chooser, disk = Chooser(), Disk({"models.py": MODELS})
    first = await ask(chooser, disk)
    typed = HERE[:AT] + "cust" + HERE[AT:]
    assert await ask(chooser, disk, typed, AT + 4) is first
    assert len(disk.asked) == 1
    await ask(chooser, disk, HERE + "\n", len(HERE))
    assert len(disk.asked) == 2
    await ask(chooser, disk, HERE + "\n", len(HERE), around=Around(others=(document("/project/o.py", "x"),)))
    assert len(disk.asked) == 3
    chooser.forget("file:///project/here.py")
    await ask(chooser, disk)
    assert len(disk.asked) == 4


async def test_a_choice_that_was_cut_short_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    chooser, disk = Chooser(), Disk({"models.py": MODELS})
    with monkeypatch.context() as busy:
        busy.setattr(worker, "_SECONDS", -1.0)
        assert (await ask(chooser, disk)).choices == ()
    assert "customer" in texts(await ask(chooser, disk))


async def test_a_disk_that_does_not_answer_holds_nobody_up() -> None:
    chooser, disk = Chooser(), Disk({"models.py": MODELS}, gate=threading.Event())
    assert await ask(chooser, disk, patience=0.01) == Chosen()
    assert await ask(chooser, disk, HERE + "\n", len(HERE), patience=0.01) == Chosen()
    assert len(disk.asked) == 1  # not a second one behind the first
    disk.gate.set()
    while "customer" not in texts(await ask(chooser, disk, patience=0.01)):
        await asyncio.sleep(0.001)


async def test_a_failure_is_logged_and_nothing_is_chosen(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk({"models.py": MODELS}, error=RuntimeError("the disk is on fire"))
    assert await ask(Chooser(), disk) == Chosen()
    assert [record.message for record in caplog.records] == ["no context could be chosen"]


async def test_with_no_source_nothing_is_looked_at() -> None:
    disk = Disk({"models.py": MODELS})
    here = document("/project/here.py", HERE)
    assert await Chooser().choose(Question(here, AT, disk, ())) == Chosen()
    assert here.content.taken == 0
    assert disk.asked == []


def test_the_surroundings_of_a_document() -> None:
    documents = Documents()
    for name in ("a.py", "b.py", "c.py", "d.py"):
        documents.open(types.TextDocumentItem(f"file:///project/{name}", "python", 1, f"in_{name[0]} = 1\n"))
    whole = types.Range(types.Position(0, 0), types.Position(0, 4))
    documents.change("file:///project/a.py", 2, [types.TextDocumentContentChangePartial(whole, "new_")])
    cells = [
        types.NotebookCell(types.NotebookCellKind.Code, f"vscode-notebook-cell:/project/n.ipynb#{i}") for i in "123"
    ]
    documents.open_notebook(
        types.DidOpenNotebookDocumentParams(
            types.NotebookDocument("file:///project/n.ipynb", "jupyter-notebook", 1, cells),
            [types.TextDocumentItem(cell.document, "python", 1, "x = 1\n") for cell in cells],
        )
    )
    diagnostics = (types.Diagnostic(whole, "m"),)
    plain = documents.snapshot("file:///project/b.py")
    found = around(plain, documents, diagnostics, most=2)
    assert [each.path for each in found.others] == ["/project/a.py", "/project/n.ipynb"]
    assert (found.cells, found.diagnostics) == ((), diagnostics)
    assert [(edit.before, edit.after) for edit in found.edits] == [("in_a = 1", "new_ = 1")]
    second = documents.snapshot(cells[1].document)
    found = around(second, documents, (), most=9)
    assert [each.uri for each in found.cells] == [cells[0].document]
    assert [each.path for each in found.others] == [f"/project/{name}.py" for name in "adcb"]


# The measurement itself


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"), [(0, 10, 0.0, 0.278), (5, 10, 0.237, 0.763), (10, 10, 0.722, 1.0), (0, 0, 0.0, 1.0)]
)
def test_wilson(hits: int, of: int, low: float, high: float) -> None:
    assert crossfile.wilson(hits, of) == pytest.approx((low, high), abs=5e-4)


def test_a_case_is_won_by_the_expected_text_alone() -> None:
    tally = crossfile.Tally("imports")
    for bare, filled in (("x", "total"), ("total", "x"), ("total", "total"), ("x", "tot")):
        tally.count("total", bare, filled, shown=True)
    assert (tally.cases, tally.without, tally.with_it, tally.helped, tally.hurt) == (4, 2, 2, 1, 1)
    assert tally.begun_with == pytest.approx((1 + 0 + 1 + 0.6) / 4)


@pytest.mark.parametrize(
    "text",
    [
        "nothing = 1",
        "[[case",
        "[[case]]\nname = 'a'",
        "[[case]]\nname='a'\nsource='stars'\nfile='a.py'\nexpected='x'\nfiles={'a.py'='<|hole|>'}",
        "[[case]]\nname='a'\nsource='edits'\nfile='a.py'\nexpected='x'\nfiles={'a.py'='no hole'}",
        "[[case]]\nname='a'\nsource='edits'\nfile='b.py'\nexpected='x'\nfiles={'a.py'='<|hole|>'}",
    ],
)
def test_a_file_that_is_no_case_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(DataError, match=r"bad\.toml"):
        crossfile.cases(tmp_path)
