"""Settings: what is good is taken up, what is not is named, and nothing raises."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import EngineSettings
from palimpsest_server.settings import KEYS, Settings, parse, section_of

GOOD = {
    "enable": (False, "enable", False),
    "checkpoint": ("some/folder", "checkpoint", "some/folder"),
    "device": ("cuda:1", "device", "cuda:1"),
    "dtype": ("bfloat16", "dtype", "bfloat16"),
    "threads": (4.0, "threads", 4),
    "answerWithinMs": (0, "answer_within_ms", 0),
    "maxLines": (12, "max_lines", 12),
    "seed": (7, "seed", 7),
    "drafts": (True, "drafts", True),
    "disabledLanguages": (["csv"], "disabled_languages", ("csv",)),
}
BAD = [
    ("enable", "yes"),
    ("checkpoint", ""),
    ("device", "gpu"),
    ("dtype", "int4"),
    ("dtype", []),
    ("threads", 0),
    ("threads", True),
    ("answerWithinMs", -1),
    ("answerWithinMs", 1.5),
    ("answerWithinMs", "300"),
    ("maxLines", 0),
    ("seed", -1),
    ("drafts", 1),
    ("disabledLanguages", "python"),
    ("disabledLanguages", [1]),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", KEYS)
def test_a_good_value_is_taken_up(name):
    given_value, field, taken = GOOD[name]
    settings, problems = parse({name: given_value})
    assert problems == ()
    assert getattr(settings, field) == taken
    assert getattr(Settings(), field) != taken


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_named_and_leaves_the_default(name, value):
    settings, (problem,) = parse({name: value, "seed": 5} if name != "seed" else {name: value})
    assert f"palimpsest.{name}: expected {KEYS[name].expected}" in problem
    assert getattr(settings, KEYS[name].field) == getattr(Settings(), KEYS[name].field)
    assert settings.seed == (0 if name == "seed" else 5)


def test_an_unknown_key_is_named():
    settings, (problem,) = parse({"enabled": True})
    assert "palimpsest.enabled" in problem
    assert settings == Settings()


def test_a_later_source_ranks_higher_key_by_key():
    settings, _ = parse({"seed": 1, "drafts": True}, {"seed": 2}, None)
    assert (settings.seed, settings.drafts) == (2, True)


def test_null_is_not_set():
    settings, problems = parse({"seed": 1, "maxLines": 3}, {"seed": None, "checkpoint": None})
    assert problems == ()
    assert (settings.seed, settings.max_lines) == (0, 3)


def test_a_bad_value_does_not_undo_a_good_one_of_a_lower_source():
    settings, problems = parse({"seed": 1}, {"seed": "two"})
    assert settings.seed == 1
    assert len(problems) == 1


@given(section=JSON | st.dictionaries(st.sampled_from(sorted(KEYS)), JSON))
def test_whatever_comes_in_settings_come_out_and_nothing_is_dropped_in_silence(section):
    settings, problems = parse(section)
    assert isinstance(settings, Settings)
    if isinstance(section, dict):
        for name, value in section.items():
            named = any(problem.startswith(f"palimpsest.{name}:") for problem in problems)
            taken = name in KEYS and value == _plain(getattr(settings, KEYS[name].field))
            assert named or value is None or taken
    else:
        assert bool(problems) == (section is not None)


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("options", "section", "strange"),
    [
        (None, None, 0),
        ({}, None, 0),
        ({"palimpsest": {"seed": 1}}, {"seed": 1}, 0),
        ({"seed": 1}, None, 1),
        ([], None, 1),
    ],
)
def test_initialization_options_have_one_key(options, section, strange):
    found, problems = section_of(options)
    assert found == section
    assert len(problems) == strange


def test_what_only_a_new_engine_can_take_up():
    settings, _ = parse({"checkpoint": "x", "device": "cpu", "dtype": "float32", "threads": 2})
    assert settings.engine == EngineSettings("x", "cpu", "float32", 2)


def test_every_setting_has_a_key_and_a_row_in_the_documentation():
    assert {key.field for key in KEYS.values()} == {field.name for field in fields(Settings)}
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(KEYS)
