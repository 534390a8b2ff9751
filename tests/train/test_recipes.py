"""Recipes are what they say of themselves; what cannot be a recipe is refused in a sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from palimpsest_train.errors import TrainingError
from palimpsest_train.flops import equal_steps, step_flops
from palimpsest_train.model import build
from palimpsest_train.optimise import learning_rate
from palimpsest_train.recipe import RECIPES, from_json, read_recipe

NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))


def parameters(recipe):
    with torch.device("meta"):
        return sum(p.numel() for p in build(recipe.shape, 0).parameters())


def test_the_recipes_are_listed():
    assert NAMES == ["24m", "6m", "6m-left-to-right", "smoke"]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_read_and_kept_as_it_is(name):
    recipe = read_recipe(name)
    assert from_json(recipe.said(), "recipe.json") == recipe
    assert 2 * parameters(recipe) <= 50_000_000
    if name != "smoke":
        assert int(name.partition("m")[0]) == round(parameters(recipe) / 1e6)


def test_the_comments_of_recipes_are_true():
    text = (RECIPES / "24m.toml").read_text()
    recipe = read_recipe("24m")
    claimed = {unit: float(value) for value, unit in re.findall(r"([\d.e]+) (M p|MB|billion|FLOPs)", text)}
    assert claimed["M p"] == round(parameters(recipe) / 1e6, 1)
    assert claimed["MB"] == round(2 * parameters(recipe) / 1e6, 1)
    assert claimed["billion"] == round(recipe.steps * recipe.tokens / 1e9, 2)
    assert claimed["FLOPs"] == float(f"{recipe.steps * step_flops(recipe):.1e}")


def test_the_control_has_the_model_and_the_compute_of_what_it_controls():
    control, ours = read_recipe("6m-left-to-right"), read_recipe("6m")
    assert control.shape == ours.shape
    assert (control.learning_rate, control.warmup, control.weight_decay) == (
        ours.learning_rate, ours.warmup, ours.weight_decay)  # fmt: skip
    first = read_recipe("6m", ["row.canvases=8"])
    assert control.steps == equal_steps(control, 1100 * step_flops(first) + 1300 * step_flops(ours))


def test_changes_reach_every_depth():
    recipe = read_recipe("6m", ["steps=7", "row.canvases=4", "checkpoint.name=other", "checkpoint.sampling.t_max=1",
                                "objective=left-to-right", "row.sizes=[2, 3]", "compile=false"])  # fmt: skip
    assert (recipe.steps, recipe.row.canvases, recipe.checkpoint.name) == (7, 4, "other")
    assert (recipe.checkpoint.sampling.t_max, recipe.row.sizes) == (1.0, (2, 3))
    assert recipe.objective == "left-to-right"
    assert recipe.compile is False


REFUSED = [
    ("7m", [], "no recipe 7m"),
    ("/nowhere/7m.toml", [], "no recipe"),
    ("6m", ["steps"], "KEY=VALUE"),
    ("6m", ["stepz=3"], "no key stepz"),
    ("6m", ["row.stepz=3"], "no key stepz"),
    ("6m", ["steps.x=3"], "no table"),
    ("6m", ["steps=many"], "not int"),
    ("6m", ["steps=2.5"], "not int"),
    ("6m", ["steps=true"], "not int"),
    ("6m", ["steps=0"], "at least 1"),
    ("6m", ["workers=-1"], "at least 0"),
    ("6m", ["cooldown=1.5"], "from 0 to 1"),
    ("6m", ["ema=1"], "below 1"),
    ("6m", ["learning_rate=nan"], "above 0"),
    ("6m", ["objective=sideways"], "diffusion or left-to-right"),
    ("6m", ["row.context=4000"], "do not fit"),
    ("6m", ["row.canvas=64"], "canvas"),
    ("6m", ["row.sizes=[8, 4]"], "rise"),
    ("6m", ["row.context=10"], "at least"),
]


@pytest.mark.parametrize(("name", "changes", "said"), REFUSED)
def test_a_bad_recipe_is_refused_in_a_sentence(name, changes, said):
    with pytest.raises(TrainingError, match=re.escape(said)) as error:
        read_recipe(name, changes)
    assert "\n" not in str(error.value)


def test_a_broken_file_is_refused(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("steps = = 3")
    with pytest.raises(TrainingError, match="cannot be read"):
        read_recipe(str(path))
    path.write_text("rows = 3")
    with pytest.raises(TrainingError, match="steps"):
        read_recipe(str(path))


def test_the_rate_warms_up_stays_and_falls_to_zero(smoke):
    recipe = replace(smoke, steps=100, warmup=10, cooldown=0.2, learning_rate=1.0)
    rates = [learning_rate(step, recipe) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert all(rate == 1.0 for rate in rates[9:81])
    assert all(a > b for a, b in pairwise(rates[80:]))
    assert rates[100] == 0.0
