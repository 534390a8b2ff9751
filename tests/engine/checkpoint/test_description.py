"""A description that cannot be is refused in one sentence when it is read; nothing is loaded for it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from palimpsest_engine.checkpoint import description, rules
from palimpsest_engine.checkpoint.description import check_ids, read_spec
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.published import PUBLISHED
from palimpsest_engine.checkpoint.spec import Chat, Denoising, Sampling, Spec, spec_of_chat
from palimpsest_engine.errors import CheckpointBroken

HUGE = 10**9
GOOD = {"name": "a", "dialect": "chat"}
WHOLE = (HUGE, -1, 10**400, 1.5, 8.0, "8", True, None, [8], {})
NUMBER = (float("nan"), float("inf"), -float("inf"), 1e300, 10**400, "0.5", True, None, [0.5], {})
KIND = (HUGE, "no", None, [], {}, 1.0)
IDS = (-1, HUGE, 2.0, "3", True, [3])
CASES: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("context", "canvas", "tries"), (0, *WHOLE)),
    **dict.fromkeys(
        ("suffix", "excerpts", "pins", "written", "written_in_line", "written_passes", "causal_candidates"), WHOLE
    ),
    "blank_line_candidates": tuple(each for each in WHOLE if each is not None),
    **dict.fromkeys(("filler", "bos_id", "eos_id", "suffix_id", "prefix_id"), IDS),
    "hole_sizes": ([], [0], [-8], [8, HUGE], [8.0], ["8"], [True], [None], 8, "8", {}, None, [8] * 65, [[8]], [257]),
    "near": ([0], [-1], [101], ["1"], [None], [float("nan")], 1, None, [1] * 17),
    "whole_canvas": (1, "true", None, []),
    "line_sizes": ([0], [-8], [HUGE], ["8"], 8, None, [8] * 65, [257]),
    "steps_by_size": (
        [8],
        [[8]],
        [[8, 0]],
        [[0, 8]],
        [[8, HUGE]],
        [["8", 4]],
        [[8, 4, 2]],
        8,
        None,
        "84",
        [[8, 4], [4, 4]],
    ),
    "prune": ([[-1, 2]], [[1, 0]], [[1, HUGE]], [[1.0, 2]], 1, None, {"1": 2}),
    "length_power": (11, *NUMBER),
    "name": ("", 1, None, ["a"], "a" * 201, "\x1b[31mred", "a\nb", "\u202egnp"),
    "dialect": KIND,
    "order": KIND,
    "edits": KIND,
    "fresh": KIND,
    "denoises": (1, "true", None, []),
    "left_to_right": (0, "false", None, []),
    "languages": ("python", [1], [None], None, ["a"] * 501, ["a\x1b"], {"python": 1}),
    "sources": ("imports", [1], None, {}),
    "sha256": (
        [],
        ["a"],
        "a",
        None,
        {"model.safetensors": 1},
        {"model.safetensors": "A" * 64},
        {"m": "0" * 63},
        {"../m": "0" * 64},
    ),
    "sampling": ([], 1, None, "a", {"wings": 2}),
    "denoising": ([], 1, None, "a", {"wings": 2}),
    "chat": ([], 1, None, "a", {"wings": 2}),
    "profiles": (
        *([], 1, None, "a", {"wings": {}}, {"balanced": {}}, {"fast": 1}, {"fast": {"pins": 1}}),
        *({"fast": {"max_steps": 0}}, {"thorough": {"unsure": "0.2"}}, {"fast": {"steps_by_size": [[8]]}}),
        {"fast": {"causal_candidates": 65}},
    ),
    "wings": (2,),
    "\x1b[31m": (2,),
}
SAMPLING: dict[str, tuple[object, ...]] = {
    "max_steps": (0, *WHOLE),
    "stability": WHOLE,
    **dict.fromkeys(("t_min", "t_max"), (-0.1, 101, *NUMBER)),
    "entropy_bound": (-0.1, *(each for each in NUMBER if each is not None)),
    "confidence": NUMBER,
    **dict.fromkeys(("threshold", "linear_to"), (-0.1, 1.1, *(each for each in NUMBER if each is not None))),
    "top_p": (0, -1, 1.1, *NUMBER),
    "still": (0, *(each for each in WHOLE if each is not None)),
    "unsure": (-0.1, *(each for each in NUMBER if each is not None)),
    "again": (17, *WHOLE),
    "by": KIND,
    "each": (0, *(each for each in WHOLE if each is not None)),
}
DENOISING: dict[str, tuple[object, ...]] = {
    "noise": KIND,
    "context": KIND,
    **dict.fromkeys(("mask_id", "grow_id", "shrink_id"), IDS),
    **dict.fromkeys(("shift", "conditioned", "revises", "keeps", "shrinks_rest"), (1, "true", None)),
    **dict.fromkeys(("longest", "block"), (0, *(each for each in WHOLE if each is not None))),
}
CHAT: dict[str, tuple[object, ...]] = {
    "template": KIND,
    "thinking": (1, "true", None),
    "instruction": (1, "a" * 1001, "\x1b[31m", ["a"]),
    "turns": ("ab", ["a"], ["a", "b", "c"], ["a", 1], ["a", "\x00"], ["a" * 20_000, "b"]),
}
PARTS = {"sampling": SAMPLING, "denoising": DENOISING, "chat": CHAT}
TOGETHER = [
    {"context": 512, "suffix": 512},
    {"canvas": 32, "hole_sizes": [8, 33]},
    {"canvas": 32, "pins": 32, "hole_sizes": [8]},
    {"canvas": 32, "hole_sizes": [8], "line_sizes": [33]},
    {"hole_sizes": [8] * 64, "tries": 5},
    {"dialect": "fim", "suffix_id": 1},
    {"dialect": "fim", "prefix_id": 1},
    {"sampling": {"t_min": 0.9, "t_max": 0.1}},
    {"denoising": {"noise": "mask"}},
]


def written(folder: Path, values: object) -> Path:
    (folder / "palimpsest.json").write_text(values if isinstance(values, str) else json.dumps(values), "utf-8")
    return folder


def refused(folder: Path, values: object) -> str:
    with pytest.raises(CheckpointBroken) as caught:
        read_spec(written(folder, values))
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 300 + len(str(folder))
    assert said.endswith(".")
    return said


@pytest.mark.parametrize("key", CASES)
def test_a_value_that_cannot_be_is_refused(tmp_path, key):
    for value in CASES[key]:
        refused(tmp_path, GOOD | {key: value})


@pytest.mark.parametrize(("part", "key"), [(part, key) for part, cases in PARTS.items() for key in cases])
def test_a_value_within_that_cannot_be_is_refused_and_named(tmp_path, part, key):
    for value in PARTS[part][key]:
        assert f"understands: {part}: {key}: " in refused(tmp_path, GOOD | {part: {key: value}})


@pytest.mark.parametrize("values", TOGETHER)
def test_values_that_contradict_each_other_are_refused(tmp_path, values):
    refused(tmp_path, GOOD | values)


@pytest.mark.parametrize(
    "values", ["", "[]", "1", "null", '"a"', "{", "[" * 100_000, "\ud800".encode("utf-8", "replace").decode() * 9]
)
def test_a_file_that_is_no_object_is_refused(tmp_path, values):
    with pytest.raises(CheckpointBroken, match=r"^[^\n]*$"):
        read_spec(written(tmp_path, values))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "palimpsest.json")
    with pytest.raises(CheckpointBroken, match="is no file"):
        read_spec(tmp_path)
    os.unlink(tmp_path / "palimpsest.json")
    (tmp_path / "palimpsest.json").symlink_to(tmp_path / "gone")
    with pytest.raises(CheckpointBroken, match=r"lacks palimpsest\.json"):
        read_spec(tmp_path)


def test_a_sentence_names_the_value_and_what_it_has_to_be(tmp_path):
    said = refused(tmp_path, GOOD | {"hole_sizes": [8, -4]})
    assert said.endswith("understands: hole_sizes: -4 has to be a whole number from 1 to 8,192.")


def test_every_field_has_a_rule_and_cases():
    for kind, table in (
        (Spec, description._SPEC),
        (Sampling, description._SAMPLING),
        (Denoising, description._DENOISING),
        (Chat, description._CHAT),
    ):
        assert set(table) == {field.name for field in fields(kind)}
    assert set(CASES) >= set(description._SPEC)
    assert set(SAMPLING) == set(description._SAMPLING)
    assert set(DENOISING) == set(description._DENOISING)
    assert set(CHAT) == set(description._CHAT)


def test_a_good_description_is_read_as_it_is(tmp_path):
    for device in ("cpu", "cuda"):
        assert read_spec(tmp_path, device) == spec_of_chat(tmp_path.name, device)
    described = read_spec(EMBEDDED)
    assert read_spec(written(tmp_path, asdict(described))) == described
    assert read_spec(written(tmp_path, GOOD | {"sampling": {"entropy_bound": 1}})).sampling.entropy_bound == 1
    for model in PUBLISHED:  # their rules are not read from files, but fit
        rules.checked(asdict(replace(model.spec, name="a", denoising=Denoising())), description._SPEC)
        rules.checked(asdict(model.spec.denoising), description._DENOISING)


@pytest.mark.parametrize(
    "name", ["filler", "bos_id", "eos_id", "suffix_id", "prefix_id", "mask_id", "grow_id", "shrink_id"]
)
def test_an_id_that_the_model_does_not_have_is_refused(tmp_path, name):
    spec = Spec("a", bos_id=None)
    changed = (
        replace(spec, **{name: 100}) if name in asdict(spec) else replace(spec, denoising=Denoising(**{name: 100}))
    )
    check_ids(changed, 101, tmp_path)
    with pytest.raises(CheckpointBroken, match=f"has 100 for {name}, and the model has 100 ids"):
        check_ids(changed, 100, tmp_path)


def test_numbers_of_any_length_can_be_said():
    for value in (10**5000, "x" * 5000, float("nan"), [[]] * 5000, {"a": object()}):
        assert len(rules.shown(value)) <= 41
    nested: list = []
    for _ in range(sys.getrecursionlimit() * 2):
        nested = [nested]
    assert len(rules.shown(nested)) <= 41
