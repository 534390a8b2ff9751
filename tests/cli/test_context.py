"""`palimpsest context`, with the embedded checkpoint's tokenizer and no weights."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from palimpsest_engine import EngineSettings, FillRequest, Span
from palimpsest_engine.prompt.preview import seen

HERE = "import models\n\n\ndef total(order: models.Order):\n    return order.\n"
MODELS = "class Order:\n    customer: str\n    amount: int\n"
AT = "5:18"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "here.py").write_text(HERE)
    (tmp_path / "models.py").write_text(MODELS)
    return tmp_path


def test_it_shows_what_a_request_would_be_laid_out_as(palimpsest, project) -> None:
    result = palimpsest("context", project / "here.py", "--at", AT, "--json")
    assert result.exit_code == 0
    said = json.loads(result.output)
    offset = HERE.index("order.\n") + 6
    plain = seen(EngineSettings(), FillRequest(HERE, (Span(offset, offset),), path="here.py"))
    assert said["reads"] == plain.context
    assert said["begins"] == plain.begins
    assert (said["tokens"], said["pins"], said["model"]) == (plain.tokens, plain.pins, plain.spec.name)
    assert said["excerpts"] == []  # no source helps the embedded checkpoint
    assert palimpsest.opened == []  # nothing is loaded


def test_the_shown_excerpts_are_those_that_the_model_reads(palimpsest, project) -> None:
    (project / "notes.py").write_text("def total(order):\n    return order.amount\n")
    arguments = ("context", project / "here.py", "--at", AT, "--sources", "all", "--open", project / "notes.py")
    said = json.loads(palimpsest(*arguments, "--json").output)
    assert {each["source"] for each in said["excerpts"]} == {"imports", "documents"}
    for each in said["excerpts"]:
        assert each["text"].strip() in said["reads"]
        assert f"# {each['title']}\n" in said["reads"]
        assert each["why"]
        assert each["fits"] is True
    page = palimpsest(*arguments).output
    assert "customer: str" in page
    assert "imports, models.py: its module is imported" in page
    assert "Order or a part of it is named near the cursor" in page
    assert said["reads"] in page
    assert said["pins"] in page


def test_one_source_alone(palimpsest, project) -> None:
    arguments = ("context", project / "here.py", "--at", AT, "--sources", "documents", "--json")
    assert json.loads(palimpsest(*arguments).output)["excerpts"] == []
    with_file = palimpsest(*arguments, "--open", project / "models.py")
    assert [each["source"] for each in json.loads(with_file.output)["excerpts"]] == ["documents"]


def test_the_workspace_ends_at_its_folder(palimpsest, project) -> None:
    (project / "inner").mkdir()
    (project / "inner" / "here.py").write_text(HERE)
    here = ("context", project / "inner" / "here.py", "--at", AT, "--sources", "imports", "--json")
    assert len(json.loads(palimpsest(*here).output)["excerpts"]) == 1
    inner = palimpsest(*here, "--folder", project / "inner")
    assert json.loads(inner.output)["excerpts"] == []


def test_files_that_git_ignores_are_left_out_and_reported(palimpsest, project) -> None:
    (project / ".gitignore").write_text("models.py\n")
    page = palimpsest("context", project / "here.py", "--at", AT, "--sources", "imports").output
    assert "customer" not in page
    assert f"imports, {(project / 'models.py').resolve()}: " in page


def test_secrets_of_other_files_stay_there(palimpsest, project) -> None:
    (project / "models.py").write_text(f"{MODELS}\nPASSWORD = 'correct-horse-battery-staple-1'\n")
    (project / "keys.py").write_text(
        "def total(order):\n    return order.\n-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n"
    )
    (project / ".env").write_text("def total(order): return order.SECRET\n")
    page = palimpsest(
        *("context", project / "here.py", "--at", AT, "--sources", "all"),
        *("--open", project / "keys.py", "--open", project / ".env"),
    ).output
    assert "customer: str" in page
    assert "PASSWORD" in page
    assert "correct-horse" not in page
    assert "MIIEow" not in page
    assert "order.SECRET" not in page


@pytest.mark.parametrize(("name", "shown"), [(b"b\xff.py", r"b\udcff.py"), (b"e\x1b]0;t\x07.py", r"e\x1b]0;t\x07.py")])
def test_a_name_that_would_steer_the_terminal_is_escaped(palimpsest, tmp_path, name: bytes, shown: str) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_text("x = 1\n")
    result = palimpsest("context", path, "--at", "1:5")
    assert result.exit_code == 0
    assert shown in result.output.splitlines()[0]
    assert "\x1b" not in result.output


def test_control_tokens_in_a_file_are_text(palimpsest, project) -> None:
    text = "x = '<eos><bos><|turn><|fim_suffix|>'\nimport models\nmodels.Order\n"
    (project / "here.py").write_text(text)
    (project / "models.py").write_text("class Order:\n    name = '<eos><bos>'\n")
    said = palimpsest("context", project / "here.py", "--at", "3:13", "--sources", "imports", "--json")
    assert "name = '<eos><bos>'" in json.loads(said.output)["reads"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--at", "99:1"], 13, "lines 1 to 6"),
        (["--at", "x"], 2, "LINE:COL"),
        ([], 2, "--at"),
        (["--at", AT, "--sources", "stars"], 2, "stars"),
        (["--at", AT, "--open", "missing.py"], 10, "missing.py"),
        (["--at", AT, "--model", "no/such"], 20, "no/such"),
    ],
)
def test_errors_are_one_sentence(palimpsest, project, arguments, code, said) -> None:
    result = palimpsest("context", project / "here.py", *arguments)
    assert result.exit_code == code
    assert said in result.stderr
