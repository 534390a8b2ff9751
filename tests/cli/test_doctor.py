from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import CheckpointMissing, Endpoint, EngineSettings, EngineStatus
from palimpsest_engine.checkpoint import store
from palimpsest_engine.checkpoint.header import QuantisedShapes
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.machine import Machine
from palimpsest_engine.checkpoint.source import shapes_in
from palimpsest_engine.engine import Quantization
from palimpsest_engine.messages import Report
from palimpsest_engine.runtime import doctor
from palimpsest_engine.runtime.scripted import ScriptedEngine
from palimpsest_engine.shared import starting
from palimpsest_engine.shared.address import CannotShare, Place
from palimpsest_server.cli import doctor as cli_doctor
from palimpsest_server.status import status_file

from .conftest import Palimpsest

NAMES = ["python", "packages", "memory", "engine", "device", "grammars", "model", "checkpoint", "fill"]


def test_all_is_well(palimpsest: Palimpsest) -> None:
    result = palimpsest("doctor", "--json", "--device", "cpu")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"], report["format"]) == (0, True, 1)
    assert [check["name"] for check in report["checks"]] == NAMES
    assert all(set(check) == {"name", "status", "found", "advice"} for check in report["checks"])


@pytest.mark.parametrize(
    ("url", "status", "says"),
    [
        ("http://127.0.0.1:8012", "ok", "code stays on this machine"),
        ("http://there.example/v1", "warning", "Code is sent to there.example, unencrypted."),
    ],
)
def test_an_endpoint_is_checked_instead_of_a_checkpoint(
    palimpsest: Palimpsest, url: str, status: str, says: str
) -> None:
    result = palimpsest("doctor", "--json", "--endpoint", url)
    checks = json.loads(result.stdout)["checks"]
    assert [check["name"] for check in checks] == [
        "python",
        "packages",
        "memory",
        "engine",
        "grammars",
        "endpoint",
        "fill",
    ]
    assert (checks[5]["status"], result.exit_code) == (status, 0)
    assert says in checks[5]["found"]
    assert "without a key" in checks[5]["found"]
    assert palimpsest.opened[0].endpoint == Endpoint(url)


def test_an_endpoint_that_is_loading_is_reached_and_not_waited_for() -> None:
    class Loading:
        def warm(self) -> None:
            """Begin nothing."""

        def status(self) -> EngineStatus:
            return EngineStatus("loading", "The model is being loaded.", "", "127.0.0.1:8012 (palimpsest)")

    check = doctor.check_endpoint(Loading(), Endpoint("http://127.0.0.1:8012"))  # type: ignore[arg-type]
    assert (check.status, check.found.split(",")[0]) == (
        "ok",
        "a model that it is loading on 127.0.0.1:8012 (palimpsest)",
    )


@pytest.mark.parametrize(
    ("url", "status", "says"),
    [
        ("http://127.0.0.1:8012", "ok", "127.0.0.1:8012, on this machine (loopback), not encrypted;"),
        ("https://localhost/v1", "ok", "localhost, on this machine (loopback), encrypted (TLS);"),
        ("https://box.example:8013/v1", "ok", "box.example:8013, on another machine, encrypted (TLS);"),
        ("http://192.168.7.9:8013", "warning", "192.168.7.9:8013, on another machine, not encrypted;"),
        ("http://[2001:db8::1]:80", "warning", "on another machine, not encrypted;"),
        ("http://name:word@box.example", "error", "use keyEnv or keyFile"),
    ],
)
def test_the_place_of_an_endpoint_and_what_is_sent_there_are_told(url: str, status: str, says: str) -> None:
    check = doctor.check_engine(EngineSettings(endpoint=Endpoint(url)))
    assert (check.name, check.status) == ("engine", status)
    assert says in check.found
    if status != "error":
        assert "up to 6,000 characters before the hole, 2,000 after it, and 3,000 of other files" in check.found
    assert bool(check.advice) == (status != "ok")


@pytest.mark.parametrize(
    ("running", "says"),
    [(None, "none runs now"), (Report("0.3.0", 4711, 60.0, ()), "it is process 4711, version 0.3.0")],
)
def test_the_process_that_windows_share_is_named(
    running: Report | None, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def report(at: Place) -> Report | None:
        return running

    monkeypatch.delenv("PALIMPSEST_ENGINE", raising=False)
    monkeypatch.setattr(starting, "report", report)
    check = doctor.check_engine(EngineSettings())
    assert (check.name, check.status) == ("engine", "ok")
    assert says in check.found


def test_an_engine_that_cannot_be_shared_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Place:
        raise CannotShare("There is no folder for a socket.")

    monkeypatch.delenv("PALIMPSEST_ENGINE", raising=False)
    monkeypatch.setattr("palimpsest_engine.shared.address.place", nowhere)
    check = doctor.check_engine(EngineSettings())
    assert (check.status, check.found) == ("warning", "There is no folder for a socket.")
    assert "model of its own" in check.advice


def test_an_own_engine_by_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_ENGINE", "own")
    assert "PALIMPSEST_ENGINE=own" in doctor.check_engine(EngineSettings()).found


def test_an_endpoint_that_cannot_be_reached(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    down = EngineStatus("error", "Nothing answers there.", exit_code=24)
    monkeypatch.setattr(ScriptedEngine, "status", lambda self: down)
    given = json.dumps({"url": "http://127.0.0.1:9", "keyEnv": "K"})
    result = palimpsest("doctor", "--json", "--endpoint", given)
    last = json.loads(result.stdout)["checks"][-1]
    assert (result.exit_code, last["name"], last["found"]) == (1, "endpoint", "Nothing answers there.")
    assert palimpsest.opened[0].endpoint == Endpoint("http://127.0.0.1:9", key_env="K")


@pytest.mark.parametrize("given", ["127.0.0.1:8012", '{"url": 3}', "{", "file:///x"])
def test_an_endpoint_that_is_no_url_is_refused(palimpsest: Palimpsest, given: str) -> None:
    result = palimpsest("doctor", "--endpoint", given)
    assert result.exit_code == 2
    assert "expected a URL" in result.stderr


ROOMY, TIGHT = Machine(8 * 10**9, cores=2), Machine(10**9, cores=2)
GPU = Machine(8 * 10**9, 80 * 10**9, "a GPU")


@pytest.mark.parametrize(
    ("machine", "status", "advice"),
    [
        (
            ROOMY,
            "warning",
            "pull --recommended --use` fetches qwen2.5-coder-0.5b (491 MB), which fills 76 % of 1,033 lines",
        ),
        (GPU, "warning", "pull --recommended --use` fetches qwen2.5-coder-7b (4.7 GB)"),
        (TIGHT, "ok", ""),
    ],
)
def test_the_embedded_model_is_named_where_none_was_chosen(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, status: str, advice: str
) -> None:
    monkeypatch.setattr("palimpsest_engine.checkpoint.machine.this_machine", lambda: machine)
    (check,) = doctor.check_model(EngineSettings())
    assert (check.name, check.status) == ("model", status)
    assert "the embedded model (5.9 M parameters)" in check.found
    assert advice in check.advice
    assert bool(advice) == bool(check.advice)


def test_its_parameters_are_counted() -> None:
    shapes = shapes_in(EMBEDDED)
    assert f"({sum(math.prod(shape) for shape in shapes.values()) / 1e6:.1f} M parameters)" in doctor._EMBEDDED


def test_a_better_model_that_is_here_already_has_only_to_be_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("palimpsest_engine.checkpoint.machine.this_machine", lambda: ROOMY)
    name = "qwen2.5-coder-0.5b"
    store.write_record(store.folder_of(name), store.Record(name, "added", str(tmp_path), None, ()))
    (check,) = doctor.check_model(EngineSettings())
    assert check.advice.startswith("`palimpsest models use qwen2.5-coder-0.5b`")
    store.choose(name)
    assert list(doctor.check_model(EngineSettings())) == []
    store.choose(None)
    (check,) = doctor.check_model(EngineSettings())
    assert (check.status, check.advice) == ("ok", "")


@pytest.mark.parametrize(
    "settings", [EngineSettings("embedded"), EngineSettings("some/folder"), EngineSettings(adapter="mine")]
)
def test_nothing_is_recommended_to_a_user_who_has_chosen(settings: EngineSettings) -> None:
    assert list(doctor.check_model(settings)) == []


def test_a_damaged_choice_is_left_to_the_check_of_the_checkpoint() -> None:
    store.root().mkdir(parents=True, exist_ok=True)
    (store.root() / store.CHOSEN).write_text("{")
    assert list(doctor.check_model(EngineSettings())) == []


def test_people_get_lines(palimpsest: Palimpsest) -> None:
    result = palimpsest("doctor", "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "all is well"
    assert [line[8:].split()[0] for line in result.stdout.splitlines() if line.startswith("ok ")][-1] == "fill"


def test_a_fill_that_fails(palimpsest: Palimpsest) -> None:
    palimpsest.script_settings = {"error": CheckpointMissing("there is none")}
    result = palimpsest("doctor", "--json", "--device", "cpu")
    last = json.loads(result.stdout)["checks"][-1]
    assert (result.exit_code, last["status"], last["found"]) == (1, "error", "there is none")
    assert last["advice"]


def test_a_checkpoint_that_cannot_be_loaded(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EngineStatus("error", "it is truncated", exit_code=21)
    monkeypatch.setattr(ScriptedEngine, "status", lambda self: broken)
    result = palimpsest("doctor", "--device", "cpu")
    assert result.exit_code == 1
    assert "it is truncated" in result.stdout
    assert "what to do: " in result.stdout
    assert "fill  " not in result.stdout


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check = doctor.check_device("cuda")
    assert (check.status, check.advice) == ("error", "use --device cpu")


@pytest.mark.parametrize(
    ("built_for", "gpu", "device", "status"),
    [
        (None, False, "auto", "ok"),
        ("13.0", False, "auto", "warning"),
        ("13.0", False, "cpu", "warning"),
        ("13.0", True, "cpu", "ok"),
    ],
)
def test_cuda_libraries_that_nothing_uses_are_noticed(
    monkeypatch: pytest.MonkeyPatch, built_for: str | None, gpu: bool, device: str, status: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    check = doctor.check_device(device)
    assert check.status == status
    assert ("PyTorch for CPUs" in check.advice) == (status == "warning")


def test_a_grammar_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "languages", lambda: ("python", "klingon"))
    check = doctor.check_grammars()
    assert (check.status, check.found) == ("error", "cannot load klingon")


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    class Memory:
        available, total = 100 * 2**20, 4 * 2**30

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    check = doctor.check_memory()
    assert (check.status, check.found) == ("warning", "0.1 of 4.0 GiB free")


MIXTURE = {"model.decoder.layers.0.experts.gate_up_proj": (128, 1408, 2816), "the.rest": (10_000, 1000)}


@pytest.mark.parametrize(
    ("gib", "quantization", "status", "advice"),
    [
        (2, "none", "ok", ""),
        (0.6, "none", "error", "use --quantization int8"),
        (0.6, "fp8", "ok", ""),
        (0.4, "fp8", "error", "use --quantization int4-fine"),
        (0.1, "int4", "error", "close something, choose another device, or use the embedded checkpoint"),
    ],
)
def test_the_formats_of_a_mixture_that_would_fit_are_named(
    monkeypatch: pytest.MonkeyPatch, gib: float, quantization: Quantization, status: str, advice: str
) -> None:
    import psutil

    class Memory:
        available = gib * 2**30

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr("palimpsest_engine.checkpoint.source.mixture", lambda settings, device, dtype: (MIXTURE, None))
    settings = EngineSettings("embedded", "cpu", "bfloat16", quantization=quantization)
    (check,) = doctor.check_room(settings)
    assert (check.name, check.status, check.advice) == ("room", status, advice)
    assert "none 1.0 GiB, int8 5" in check.found


def test_the_memory_of_experts_in_a_files_own_format_is_that_of_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "palimpsest_engine.checkpoint.source.mixture",
        lambda settings, device, dtype: (QuantisedShapes(MIXTURE, "int8"), None),
    )
    (check,) = doctor.check_room(EngineSettings("embedded", device="cpu", dtype="bfloat16"))
    sizes = dict(each.split(" ", 1) for each in check.found.split(": ")[1].split(";")[0].split(", "))
    assert sizes["none"] == sizes["int8"] != sizes["int4"]


def test_without_a_mixture_or_a_checkpoint_there_is_nothing_to_say_of_room() -> None:
    assert list(doctor.check_room(EngineSettings(None, "cpu"))) == []
    assert list(doctor.check_room(EngineSettings("/no/such", "cpu"))) == []


def test_the_device_line_claims_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0}, raising=False)
    assert doctor.check_device("cpu").found == "cpu, 1 core to use"


# Running servers

RUNNING = {
    "version": "0.1.0",
    "pid": 4242,
    "started": "2026-01-01T10:00:00+00:00",
    "updated": "2026-01-01T10:05:00+00:00",
    "client": "Neovim\x1b[2J 0.12",
    "folders": ["file:///code/a%20b", "untitled:x"],
    "status": {
        "state": "ready",
        "reason": "",
        "model": "palimpsest-py-6m",
        "device": "cpu, float32",
        "lastEmpty": {"request": "textDocument/inlineCompletion", "reason": "paused for lua"},
        "paused": ["paused for lua"],
        "counters": {"requests": 2, "cache": 1, "empty": 1},
    },
    "requests": [
        {"id": "r1", "method": "textDocument/inlineCompletion", "reason": None, "ms": 12.3, "source": "cache"},
        {"id": "r2", "method": "palimpsest.fill", "reason": "paused for lua", "ms": 0.1, "source": ""},
    ],
}


def running(monkeypatch: pytest.MonkeyPatch, *servers: dict[str, Any]) -> None:
    monkeypatch.setattr(status_file, "servers", lambda: list(servers))


def test_no_server(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch)
    result = palimpsest("doctor", "--live")
    assert (result.exit_code, result.stdout) == (1, "no server is running for this user\n")
    assert palimpsest.opened == []


def test_a_running_server(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, RUNNING)
    result = palimpsest("doctor", "--live")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[0].startswith("server 4242 (0.1.0) for Neovim?[2J 0.12, since ")
    assert lines[1:] == [
        "state ready",
        "model palimpsest-py-6m on cpu, float32",
        "paused paused for lua",
        "folders /code/a b, untitled:x",
        "last textDocument/inlineCompletion got nothing: paused for lua",
        "counted requests 2, cache 1, empty 1",
        "r1 inlineCompletion 12 ms cache offered",
        "r2 palimpsest.fill 0 ms nothing: paused for lua",
        "",
    ]


@pytest.mark.parametrize(("states", "code"), [(["error"], 1), (["error", "paused"], 0), (["loading"], 0)])
def test_one_healthy_server_is_enough(
    palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch, states: list[str], code: int
) -> None:
    running(monkeypatch, *({"pid": 1, "status": {"state": state, "reason": "why"}} for state in states))
    result = palimpsest("doctor", "--live")
    assert result.exit_code == code
    assert ("no running server is well" in result.stdout) == bool(code)
    report = palimpsest("doctor", "--live", "--json")
    assert (report.exit_code, json.loads(report.stdout)["ok"]) == (code, not code)


def test_servers_as_json(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    running(monkeypatch, RUNNING)
    report = json.loads(palimpsest("doctor", "--live", "--json").stdout)
    assert (report["format"], report["ok"], report["servers"]) == (1, True, [RUNNING])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    server=st.fixed_dictionaries(
        {"pid": st.just(1), "status": st.dictionaries(st.sampled_from(list(RUNNING["status"])), JSON)},
        optional={name: JSON for name in RUNNING if name not in ("pid", "status")},
    )
)
def test_any_status_of_another_version_fits_one_screen(server: dict[str, Any]) -> None:
    lines = list(cli_doctor._server_lines(server))
    assert all(line.isprintable() for line in lines)


def test_live_refuses_the_options_of_the_checks(palimpsest: Palimpsest) -> None:
    for options in (["--device", "cpu"], ["--model", "x"], ["--checkpoint", "x"]):
        assert palimpsest("doctor", "--live", *options).exit_code == 2


# The published model


def test_the_embedded_model_is_shown_to_be_the_published_one(palimpsest: Palimpsest) -> None:
    result = palimpsest("doctor", "--verify", "--model", "embedded", "--device", "cpu")
    lines = result.stdout.splitlines()
    assert (result.exit_code, lines[-1]) == (0, "this is the published model")
    assert [line[8:20].strip() for line in lines[:-1]] == [
        "model",
        "memory",
        "tokens",
        "3 layers",
        "all layers",
        "next step",
    ]
    assert palimpsest.opened == []


def test_findings_of_a_model_as_json(palimpsest: Palimpsest) -> None:
    result = palimpsest("doctor", "--verify", "--json", "--model", "embedded", "--device", "cpu")
    report = json.loads(result.stdout)
    assert (report["format"], report["ok"], result.exit_code) == (1, True, 0)
    assert all(set(check) == {"name", "status", "found", "advice", "figures"} for check in report["checks"])
    assert {"format", "correlation", "agreement", "largest", "deviation", "allowed"} == set(
        report["checks"][-1]["figures"]
    )


def embedded_copy(folder: Path, **changed: Any) -> Path:
    """A copy of the embedded checkpoint with another description, in which no file has a hash."""
    shutil.copytree(EMBEDDED, folder)
    path = folder / "palimpsest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "sha256": {}, **changed}), "utf-8")
    return folder


def test_a_changed_config_is_found(palimpsest: Palimpsest, tmp_path: Path) -> None:
    folder = embedded_copy(tmp_path / "changed")
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["text_config"]["rope_parameters"]["sliding_attention"]["rope_theta"] = 1e6
    path.write_text(json.dumps(config), "utf-8")
    result = palimpsest("doctor", "--verify", "--checkpoint", folder, "--device", "cpu")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "this is not shown to be the published model: see the errors above"
    assert "what to do: this is not the published model" in result.stdout


def test_nobody_can_say_of_a_model_of_ones_own(palimpsest: Palimpsest, tmp_path: Path) -> None:
    folder = embedded_copy(tmp_path / "own", name="my-own")
    result = palimpsest("doctor", "--verify", "--json", "--model", folder, "--device", "cpu")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (26, False)
    assert [check["name"] for check in report["checks"]] == ["weights", "model"]
    assert report["checks"][0]["figures"]["sha256"] in report["checks"][0]["found"]
    assert palimpsest("doctor", "--verify", "--model", folder).exit_code == 26


def test_a_model_that_is_not_there_keeps_its_exit_code(palimpsest: Palimpsest) -> None:
    assert palimpsest("doctor", "--verify", "--model", "./nowhere").exit_code == 20


def test_verify_refuses_what_is_not_published(palimpsest: Palimpsest) -> None:
    for options in (["--live"], ["--adapter", "x"], ["--endpoint", "http://127.0.0.1:9"]):
        assert palimpsest("doctor", "--verify", *options).exit_code == 2


# Cards


def test_cards_are_shown_for_the_published_model_without_its_files(palimpsest: Palimpsest) -> None:
    result = palimpsest("doctor", "--cards")
    lines = result.output.splitlines()
    assert (result.exit_code, lines[0]) == (0, "google/diffusiongemma-26B-A4B-it")
    assert [line.split()[:3] for line in lines[2:8]] == [
        ["12", "GB", "nothing"],
        ["16", "GB", "int4-small"],
        ["24", "GB", "int4-fine"],
        ["32", "GB", "int8"],
        ["48", "GB", "int8"],
        ["80", "GB", "none"],
    ]


def test_cards_in_json(palimpsest: Palimpsest) -> None:
    report = json.loads(palimpsest("doctor", "--cards", "--json").output)
    assert report["ok"]
    assert [card["gigabytes"] for card in report["cards"]] == [12, 16, 24, 32, 48, 80]
    assert report["cards"][0] == {"gigabytes": 12, "quantization": None, "needed": 0.0, "context": 0, "smaller": []}


@pytest.mark.parametrize("also", [["--live"], ["--verify"], ["--device", "cpu"], ["--quantization", "int4"]])
def test_cards_look_at_no_machine(palimpsest: Palimpsest, also: list[str]) -> None:
    result = palimpsest("doctor", "--cards", *also)
    assert (result.exit_code, "--cards asks no machine" in result.output) == (2, True)


def test_cards_of_a_model_that_is_not_there(palimpsest: Palimpsest) -> None:
    result = palimpsest("doctor", "--cards", "--json", "--model", "/no/such")
    report = json.loads(result.stdout)
    assert not report["ok"]
    assert "/no/such" in report["reason"]
    assert result.exit_code == CheckpointMissing.exit_code
