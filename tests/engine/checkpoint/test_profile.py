"""Profiles change the steps of models that denoise by entropy, as their descriptions say, and nothing else of anything."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import pairwise
from typing import get_args

import pytest
from tests.engine.causal import write_model

from palimpsest_engine.checkpoint.description import read_spec
from palimpsest_engine.checkpoint.load import load, spec_for
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.profile import STILL, profiled
from palimpsest_engine.checkpoint.published import PUBLISHED
from palimpsest_engine.checkpoint.spec import (
    SURE,
    Denoising,
    Sampling,
    Spec,
    denoising_too,
    spec_of_causal,
    spec_of_chat,
)
from palimpsest_engine.engine import EngineSettings, Profile

PROFILES = get_args(Profile)
BOTH = (spec_of_chat("a", "cpu"), read_spec(EMBEDDED))


@pytest.mark.parametrize("spec", BOTH, ids=["chat", "embedded"])
def test_balanced_is_what_the_description_says(spec):
    assert profiled(spec, "balanced", quantised=False) == spec
    assert set(spec.profiles) == {"fast", "thorough"}


@pytest.mark.parametrize("spec", BOTH, ids=["chat", "embedded"])
def test_a_slower_profile_takes_more_steps_and_changes_nothing_that_it_may_not(spec):
    steps = []
    for profile in PROFILES:
        found = profiled(spec, profile, quantised=False)
        steps.append([found.steps(tokens) for tokens in (4, 8, 16, 32)])
        same = {"sampling": spec.sampling, "steps_by_size": spec.steps_by_size}
        assert replace(found, **same, causal_candidates=spec.causal_candidates) == spec
    for fewer, more in pairwise(steps):
        assert all(a <= b for a, b in zip(fewer, more, strict=True))
        assert fewer != more


def test_the_chat_dialect_takes_8_to_24_steps_and_the_published_entropy_only_if_thorough():
    found = {profile: profiled(BOTH[0], profile, quantised=False).sampling for profile in PROFILES}
    assert [found[profile].max_steps for profile in PROFILES] == [8, 16, 24]
    assert [found[profile].confidence for profile in PROFILES] == [SURE, SURE, Sampling().confidence]
    assert {found[profile].unsure for profile in PROFILES} == {0.2}
    assert [found[profile].again for profile in PROFILES] == [0, 1, 1]
    written = [profiled(BOTH[0], profile, quantised=False).causal_candidates for profile in PROFILES]
    assert written == [0, 1, 1], "a token a pass is the slowest part"


@pytest.mark.parametrize("profile", PROFILES)
def test_weights_in_few_bits_need_not_be_as_sure(profile):
    found = profiled(BOTH[0], profile, quantised=True).sampling
    assert (found.confidence, found.still) == (SURE, STILL)
    own = replace(BOTH[0], sampling=Sampling(confidence=SURE / 2, still=7), profiles={})
    assert profiled(own, profile, quantised=True).sampling == Sampling(confidence=SURE, still=7)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_checkpoint_that_stops_at_more_stops_as_it_did(profile):
    assert profiled(BOTH[1], profile, quantised=True) == profiled(BOTH[1], profile, quantised=False)


def test_models_without_steps_to_save_do_not_change():
    causal = spec_of_causal("a", None, "cpu", files=True)
    how = Denoising("mask", 3, shift=True, conditioned=False, revises=False)
    for spec in (causal, denoising_too(causal, how, 2, (2, 4, 16), (4, 8)), *(each.spec for each in PUBLISHED)):
        for profile in PROFILES:
            assert profiled(spec, profile, quantised=False) == spec


@pytest.mark.parametrize(("quantization", "published"), [("none", False), ("int8", False), ("none", True)])
def test_the_settings_and_the_files_decide(tmp_path, quantization, published):
    config = {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}} if published else {}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    settings = EngineSettings(str(tmp_path), device="cpu", quantization=quantization, profile="thorough")
    few = quantization != "none" or published
    assert spec_for(tmp_path, settings) == profiled(spec_of_chat(tmp_path.name, "cpu"), "thorough", quantised=few)


@pytest.mark.parametrize("profile", PROFILES)
def test_sampling_of_its_own_is_left_alone(tmp_path, profile):
    described = {"name": "a", "sampling": {"max_steps": 40, "confidence": 0.01}}
    (tmp_path / "palimpsest.json").write_text(json.dumps(described), "utf-8")
    spec = read_spec(tmp_path)
    assert profiled(spec, profile, quantised=False).sampling == Sampling(max_steps=40, confidence=0.01)
    described["profiles"] = {"fast": {"max_steps": 4, "steps_by_size": [[8, 2]]}}
    (tmp_path / "palimpsest.json").write_text(json.dumps(described), "utf-8")
    found = profiled(read_spec(tmp_path), profile, quantised=False)
    assert (found.sampling.max_steps, found.steps(8)) == ((4, 2) if profile == "fast" else (40, 40))


def test_every_value_of_a_profile_is_one_that_a_profile_may_change():
    names = {field.name for field in fields(Sampling)} | {"steps_by_size", "causal_candidates"}
    for spec in BOTH:
        for values in spec.profiles.values():
            assert set(values) <= names


@pytest.mark.parametrize("profile", PROFILES)
def test_a_left_to_right_model_loads_the_same_with_each(tmp_path, profile):
    folder = write_model(tmp_path / "model")
    usual = load(EngineSettings(str(folder), device="cpu", dtype="float32")).spec
    assert load(EngineSettings(str(folder), device="cpu", dtype="float32", profile=profile)).spec == usual
    assert isinstance(usual, Spec)
