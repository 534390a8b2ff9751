"""A stand-in with an answer of its own is shown to be the published model, and is not once it is damaged."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from palimpsest_engine import EngineSettings, Quantization
from palimpsest_engine.checkpoint.description import read_spec
from palimpsest_engine.checkpoint.gguf.tokenizer import read_tokenizer
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.memory import first_layers_of, needed
from palimpsest_engine.checkpoint.source import fill_in, shapes_in
from palimpsest_engine.runtime.known_answers import FOLDER, KnownAnswers, Tolerance, all_known, read
from palimpsest_engine.runtime.verify import EIGHT_BITS, Finding, check_tokens, coarser, compare, verify, within
from palimpsest_train.known_answer import distances, in_every_format, record
from palimpsest_train.tokenizer import BOS

from .damage import DAMAGE, OF_MIXTURES, TEXT, write_stand_in

FORMATS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    **{each: {"dtype": "bfloat16", "quantization": each} for each in get_args(Quantization) if each != "none"},
}
# The recording and the tests run on one machine, so less is to be allowed for than between machines.
MARGIN = 1.8


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stand_in(tmp_path_factory.mktemp("stand-in") / "checkpoint")


@pytest.fixture(scope="module")
def known(stand_in: Path) -> KnownAnswers:
    ids = [BOS, *read_tokenizer(stand_in / "tokenizer.json").encode(TEXT, add_special_tokens=False).ids]
    prompt = [{"control": True, "text": "<bos>"}, {"control": False, "text": TEXT}]
    return read(
        record(
            stand_in,
            "this test",
            prompt,
            ids,
            label=None,
            steps=((3, 1), (None, 1), (None, 2)),
            positions=10,
            ids=range(12),
            margin=MARGIN,
        )
    )


def found(folder: Path, known: KnownAnswers, number_format: str) -> list[Finding]:
    return list(verify(EngineSettings(str(folder), "cpu", **FORMATS[number_format]), [known]))


@pytest.mark.parametrize("number_format", FORMATS)
def test_a_model_that_is_loaded_rightly_is_the_published_one(
    stand_in: Path, known: KnownAnswers, number_format: str
) -> None:
    findings = found(stand_in, known, number_format)
    assert [(each.name, each.status) for each in findings] == [
        (name, "ok") for name in ("model", "memory", "tokens", "3 layers", "all layers", "next step")
    ]
    assert {each.figures["format"] for each in findings[3:]} == {number_format}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found(stand_in: Path, known: KnownAnswers, tmp_path: Path, kind: str) -> None:
    damaged = shutil.copytree(stand_in, tmp_path / "damaged")
    DAMAGE[kind](damaged)
    findings = found(damaged, known, "bfloat16")
    assert len(findings) == 6, findings[-1].found
    wrong = [each for each in findings if each.status == "error"]
    assert {each.exit_code for each in wrong} == {1}, kind
    assert all(each.advice for each in wrong)
    assert ("tokens" in {each.name for each in wrong}) == ("tokenizer" in kind)


def test_every_kind_is_farther_off_than_the_number_format_alone(
    stand_in: Path, known: KnownAnswers, tmp_path: Path
) -> None:
    def off(folder: Path) -> dict[str, float]:
        return {
            each: max(found.deviation for found in distances(model, known, each))
            for each, model in in_every_format(folder)
        }

    undamaged = off(stand_in)
    assert undamaged.keys() == FORMATS.keys()
    for kind in DAMAGE.keys() - {"two ids exchanged in the tokenizer"}:
        damaged = shutil.copytree(stand_in, tmp_path / kind)
        DAMAGE[kind](damaged)
        for number_format, deviation in off(damaged).items():
            assert deviation > max(2 * undamaged[number_format], 0.02), (kind, number_format)
            allowed = max(answer.tolerances[number_format].deviation for answer in known.answers)
            assert deviation > allowed, (kind, number_format)


# Memory


@pytest.mark.parametrize(("layers", "names"), [(3, ["3 layers"]), (None, ["3 layers", "all layers", "next step"])])
def test_as_many_layers_are_loaded_as_fit(
    stand_in: Path,
    known: KnownAnswers,
    monkeypatch: pytest.MonkeyPatch,
    layers: int | None,
    names: list[str],
) -> None:
    shapes = first_layers_of(shapes_in(stand_in), layers)
    room(
        monkeypatch,
        needed(shapes, "bfloat16", "none", fill_in(stand_in, shapes, "bfloat16", read_spec(stand_in))) + 1,
    )
    findings = found(stand_in, known, "bfloat16")
    assert findings[1].figures["layers"] == layers
    assert [each.name for each in findings[3:]] == names
    assert {each.status for each in findings} == {"ok"}


def test_without_memory_for_the_least_the_sentence_is_that_of_loading(
    stand_in: Path, known: KnownAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    room(monkeypatch, 1000.0)
    last = found(stand_in, known, "bfloat16")[-1]
    assert (last.name, last.status, last.exit_code) == ("checkpoint", "error", 30)
    assert "is free" in last.found


def room(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr("palimpsest_engine.checkpoint.memory.room_on", lambda device: ("of main memory", free))


# Checkpoints that nothing is known of, and broken ones


def test_without_a_published_answer_the_files_are_named_by_their_hashes(checkpoint_folder: Path) -> None:
    *files, last = verify(EngineSettings(str(checkpoint_folder), "cpu"))
    assert (last.status, last.exit_code) == ("error", 26)
    assert "there is no published answer" in last.found
    weights = checkpoint_folder / "model.safetensors"
    assert [each.figures for each in files] == [
        {
            "file": weights.name,
            "bytes": weights.stat().st_size,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        }
    ]


def test_a_gguf_file_is_named_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "some.gguf"
    path.write_bytes(b"GGUF")
    first, last = verify(EngineSettings(str(path), "cpu"))
    assert first.figures["sha256"] == hashlib.sha256(b"GGUF").hexdigest()
    assert last.exit_code == 26


@pytest.mark.parametrize(
    ("kept", "stored", "wanted"),
    [
        ("float32", "none", "float32"),
        (EIGHT_BITS, "none", EIGHT_BITS),
        ("bfloat16", "int4", "int4"),
        ("int8", "int4", "int4"),
        ("int4", "int8", "int4"),
        ("fp8", "int8", "fp8"),
        ("int8", "none", "int8"),
    ],
)
def test_as_much_is_allowed_as_the_coarsest_format_needs(kept: str, stored: str, wanted: str) -> None:
    assert coarser(kept, stored) == wanted


def test_a_checkpoint_that_does_not_load_says_why(stand_in: Path, known: KnownAnswers, tmp_path: Path) -> None:
    broken = shutil.copytree(stand_in, tmp_path / "broken")
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    last = found(broken, known, "bfloat16")[-1]
    assert (last.name, last.exit_code) == ("checkpoint", 21)
    assert "truncated" in last.found


def test_a_checkpoint_that_is_not_there() -> None:
    (only,) = verify(EngineSettings("./no-such-folder", "cpu"))
    assert (only.status, only.exit_code) == ("error", 20)


# The answers of the package

EMBEDDED_ANSWER, THE_26B = sorted(all_known(), key=lambda known: known.canvas)
RAW = json.loads((FOLDER / "diffusiongemma-26b.json").read_text("utf-8"))


@pytest.mark.parametrize("number_format", FORMATS)
def test_the_embedded_checkpoint_is_the_published_one(number_format: str) -> None:
    assert {each.status for each in verify(EngineSettings("embedded", "cpu", **FORMATS[number_format]))} == {"ok"}


def test_the_embedded_checkpoint_multiplied_in_eight_bits_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palimpsest_engine.checkpoint.load.multiplies_in_int8", lambda settings, dtype: True)
    findings = list(verify(EngineSettings("embedded", "cpu", "float32")))
    assert {each.status for each in findings} == {"ok"}
    assert {each.figures["format"] for each in findings[3:]} == {EIGHT_BITS}


@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if kind not in OF_MIXTURES])
def test_damage_to_the_embedded_checkpoint_is_found(tmp_path: Path, kind: str) -> None:
    damaged = shutil.copytree(EMBEDDED, tmp_path / "damaged")
    path = damaged / "palimpsest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "sha256": {}}), "utf-8")
    DAMAGE[kind](damaged)
    findings = list(verify(EngineSettings(str(damaged), "cpu", "bfloat16")))
    assert len(findings) == 6, findings[-1].found
    assert {each.exit_code for each in findings if each.status == "error"} == {1}


def test_answers_are_known_by_the_width_and_the_vocabulary_alone() -> None:
    text = {"hidden_size": 2816, "vocab_size": 262144, "num_hidden_layers": 29}
    assert THE_26B.is_of({"model_type": "diffusion_gemma", "text_config": text}, None)
    for changed in ({**text, "hidden_size": 2048}, {**text, "vocab_size": 4096}, None):
        assert not THE_26B.is_of({"model_type": "diffusion_gemma", "text_config": changed}, None)
    assert not THE_26B.is_of({"model_type": "gemma4", "text_config": text}, None)
    config = json.loads((EMBEDDED / "config.json").read_text("utf-8"))
    assert EMBEDDED_ANSWER.is_of(config, "palimpsest-py-6m")
    assert not EMBEDDED_ANSWER.is_of(config, "my-own")


def other_computations() -> Iterator[Any]:
    for number, answer in enumerate(RAW["answers"]):
        for where, rows in answer["elsewhere"].items():
            yield pytest.param(number, tuple(map(tuple, rows)), id=f"{answer['layers']} layers, {where}")


@pytest.mark.parametrize(("number", "rows"), list(other_computations()))
@pytest.mark.parametrize("number_format", FORMATS)
def test_other_computations_of_the_published_weights_are_allowed(
    number: int, rows: tuple[tuple[float, ...], ...], number_format: str
) -> None:
    answer = THE_26B.answers[number]
    assert within(compare(rows, answer.logits[: len(rows)]), answer.tolerances[number_format])


def capped(value: float, before: float, after: float) -> float:
    return math.tanh(math.atanh(value / before) * before / after) * after


CHANGES = {
    "other positions": lambda rows: (*rows[1:], rows[0]),
    "other tokens": lambda rows: tuple((*row[1:], row[0]) for row in rows),
    "another softcap": lambda rows: tuple(tuple(capped(each, 30.0, 50.0) for each in row) for row in rows),
    "no number": lambda rows: ((math.nan, *rows[0][1:]), *rows[1:]),
    "zeros": lambda rows: tuple(tuple(0.0 for _ in row) for row in rows),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("number_format", FORMATS)
def test_other_logits_than_the_first_layers_of_the_published_weights_are_not_allowed(
    change: str, number_format: str
) -> None:
    answer = THE_26B.answers[0]
    assert not within(compare(CHANGES[change](answer.logits), answer.logits), answer.tolerances[number_format])


def test_logits_are_compared_in_four_ways() -> None:
    known = ((1.0, 2.0), (4.0, 3.0))
    assert compare(known, known) == Tolerance(pytest.approx(1.0), 1.0, 0.0, 0.0)
    moved = compare(((2.0, 3.0), (4.0, 5.0)), known)
    assert (moved.agreement, moved.largest) == (0.5, 2.0)
    assert moved.correlation < 1.0
    assert moved.deviation > 1.0


class Known:
    """A tokenizer that knows the pieces of the published prompt."""

    controls = {"<bos>": 2, "<|turn>": 105, "<turn|>": 106, "<|channel>": 100, "<channel|>": 101}  # noqa: RUF012
    texts = {  # noqa: RUF012
        "user\nWrite a long essay about Portugal.": [2364, 107, 6974, 496, 1440, 20494, 1003, 23613, 236761],
        "\n": [107],
        "model\n": [4368, 107],
        "thought\n": [45518, 107],
    }

    def token_to_id(self, text: str) -> int | None:
        return self.controls.get(text)

    def encode(self, text: str, add_special_tokens: bool) -> Any:
        return type("Encoding", (), {"ids": self.texts[text]})


def test_the_published_ids_are_those_of_the_pieces() -> None:
    assert check_tokens(Known(), THE_26B).status == "ok"


def test_a_token_that_is_missing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Known, "controls", {**Known.controls, "<channel|>": None})
    finding = check_tokens(Known(), THE_26B)
    assert (finding.status, finding.exit_code, finding.found) == ("error", 1, "19 of 20 ids of the known prompt")
    monkeypatch.setattr(Known, "texts", {**Known.texts, "\n": [107, 107]})
    assert check_tokens(Known(), THE_26B).found.endswith("which has 21 tokens here")
