"""Good values are taken up, others are named, and nothing raises."""

import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import Endpoint, EngineSettings
from palimpsest_server.settings import KEYS, Models, Settings, parse, section_of

GOOD = {
    "enable": (False, "enable", False),
    "model": ("some/folder", "model", Models("some/folder")),
    "adapter": ("some/adapter", "adapter", "some/adapter"),
    "device": ("cuda:1", "device", "cuda:1"),
    "dtype": ("bfloat16", "dtype", "bfloat16"),
    "threads": (4.0, "threads", 4),
    "quantization": ("int4", "quantization", "int4"),
    "profile": ("fast", "profile", "fast"),
    "fallback": (True, "fallback", True),
    "engine": ("own", "sharing", "own"),
    "endpoint": ("http://localhost:8012", "endpoint", Endpoint("http://localhost:8012")),
    "answerWithinMs": (0, "answer_within_ms", 0),
    "debounceMs": (0, "debounce_ms", 0),
    "deadlineMs": (1000, "deadline_ms", 1000),
    "speculate": (False, "speculate", False),
    "completion": ("off", "completion", "off"),
    "eagerness": ("low", "eagerness", "low"),
    "nextEdit": ("low", "next_edit", "low"),
    "candidates": (8, "candidates", 8),
    "inComments": (True, "in_comments", True),
    "contextSources": (["edits", "imports"], "context_sources", ("edits", "imports")),
    "contextFiles": (0, "context_files", 0),
    "ignore": (["*.csv"], "ignore", ("*.csv",)),
    "disabledFolders": (["~/secret"], "disabled_folders", ("~/secret",)),
    "logLevel": ("debug", "log_level", "debug"),
    "logText": (True, "log_text", True),
    "statistics": (False, "statistics", False),
    "trustWorkspace": (True, "trust_workspace", True),
    "maxLines": (12, "max_lines", 12),
    "seed": (7, "seed", 7),
    "drafts": (True, "drafts", True),
    "disabledLanguages": (["csv"], "disabled_languages", ("csv",)),
}
BAD = [
    ("enable", "yes"),
    ("model", ""),
    ("model", 3),
    ("model", ["a"]),
    ("model", {"complete": ""}),
    ("model", {"edit": 3}),
    ("model", {"complete": "a", "repair": "b"}),
    ("adapter", 3),
    ("device", "gpu"),
    ("dtype", "int4"),
    ("dtype", []),
    ("threads", 0),
    ("quantization", "int2"),
    ("quantization", 4),
    ("profile", "quick"),
    ("profile", 3),
    ("fallback", "cpu"),
    ("engine", "team"),
    ("endpoint", "localhost:8012"),
    ("endpoint", "file:///etc/passwd"),
    ("endpoint", {"model": "x"}),
    ("endpoint", {"url": "http://localhost", "key": "secret"}),
    ("endpoint", {"url": "http://localhost", "protocol": "grpc"}),
    ("endpoint", {"url": "http://localhost", "model": 3}),
    ("endpoint", ["http://localhost"]),
    ("threads", True),
    ("answerWithinMs", -1),
    ("answerWithinMs", 1.5),
    ("answerWithinMs", "300"),
    ("maxLines", 0),
    ("seed", -1),
    ("drafts", 1),
    ("disabledLanguages", "python"),
    ("disabledLanguages", [1]),
    ("debounceMs", 2001),
    ("deadlineMs", 999),
    ("speculate", "yes"),
    ("completion", True),
    ("completion", "never"),
    ("eagerness", "max"),
    ("eagerness", 2),
    ("candidates", 0),
    ("candidates", 9),
    ("inComments", 1),
    ("contextSources", ["documents", "web"]),
    ("contextSources", "documents"),
    ("contextSources", [["documents"]]),
    ("contextFiles", 65),
    ("ignore", "*.csv"),
    ("ignore", [""]),
    ("disabledFolders", [None]),
    ("logLevel", "trace"),
    ("logText", "true"),
    ("trustWorkspace", 1),
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
    settings, problems = parse({"seed": 1, "maxLines": 3}, {"seed": None, "model": None})
    assert problems == ()
    assert (settings.seed, settings.max_lines) == (0, 3)


def test_a_bad_value_does_not_undo_a_good_one_of_a_lower_source():
    settings, problems = parse({"seed": 1}, {"seed": "two"})
    assert settings.seed == 1
    assert len(problems) == 1


OWN = [name for name, key in KEYS.items() if key.own]
COMMON = [name for name, key in KEYS.items() if not key.folder]


def test_the_keys_that_are_the_users_own():
    assert OWN == [
        "model",
        "adapter",
        "device",
        "dtype",
        "threads",
        "quantization",
        "profile",
        "fallback",
        "engine",
        "endpoint",
        "logText",
        "statistics",
        "trustWorkspace",
    ]


@pytest.mark.parametrize("name", OWN)
def test_a_workspace_does_not_set_the_keys_that_are_the_users_own_and_is_told_how_it_could(name):
    settings, (problem,) = parse({"seed": 1}, {name: GOOD[name][0], "seed": 2})
    assert settings == Settings(seed=2)
    assert problem.startswith(f"palimpsest.{name} is ignored")
    assert "initializationOptions" in problem
    assert "trustWorkspace: true" in problem


@pytest.mark.parametrize("name", OWN)
def test_a_trusted_workspace_sets_the_keys_that_are_the_users_own(name):
    value, field, taken = GOOD[name]
    settings, problems = parse({"trustWorkspace": True}, {name: value})
    assert problems == ()
    assert getattr(settings, field) == taken


def test_a_workspace_cannot_trust_itself():
    settings, problems = parse(None, {"trustWorkspace": True, "model": "/tmp/theirs"})
    assert settings == Settings()
    assert len(problems) == 1


def test_one_warning_names_all_that_was_ignored():
    _, (problem,) = parse(None, {"model": "x", "device": "cpu", "threads": 3})
    assert problem.startswith("palimpsest.model, palimpsest.device and palimpsest.threads are ignored")


def test_a_value_that_changes_nothing_causes_no_warning_and_null_takes_nothing_back():
    own = {"model": "mine", "threads": 2}
    settings, problems = parse(own, {"model": "mine", "threads": None, "device": "auto", "logText": False})
    assert problems == ()
    assert (settings.model, settings.threads) == (Models("mine"), 2)


@pytest.mark.parametrize("name", [name for name, key in KEYS.items() if key.adds])
def test_a_source_can_add_and_never_take_away(name):
    for later in ({name: ["b", "a"]}, {name: []}, {name: None}):
        settings, problems = parse({name: ["a"]}, later, {name: ["c"]})
        assert problems == ()
        assert getattr(settings, KEYS[name].field) == tuple(dict.fromkeys(["a", *(later[name] or []), "c"]))


@pytest.mark.parametrize("name", KEYS)
def test_a_folder_has_settings_of_its_own_where_that_makes_sense(name):
    value, field, taken = GOOD[name]
    settings, problems = parse(None, None, {name: value})
    if KEYS[name].folder:
        assert (getattr(settings, field), problems) == (taken, ())
    else:
        assert settings == Settings()
        assert [problem.startswith(f"palimpsest.{name} is ignored") for problem in problems] == [True]


def test_a_folder_that_repeats_common_settings_causes_no_warning():
    configured = {"answerWithinMs": 100, "seed": 1, "logLevel": "info"}
    _, problems = parse({"model": "x"}, configured, {**configured, "seed": 2, "model": "x"})
    assert problems == ()


@given(sections=st.lists(JSON | st.dictionaries(st.sampled_from(sorted(KEYS)), JSON), min_size=3, max_size=3))
def test_no_workspace_changes_the_keys_that_are_the_users_own(sections):
    settings, problems = parse(None, *sections[:2])
    assert all(getattr(settings, KEYS[name].field) == getattr(Settings(), KEYS[name].field) for name in OWN)
    assert len(problems) == len(set(problems))


@given(section=JSON | st.dictionaries(st.sampled_from(sorted(KEYS)), JSON))
def test_any_section_gives_settings_and_nothing_is_dropped_in_silence(section):
    settings, problems = parse(section)
    assert isinstance(settings, Settings)
    if isinstance(section, dict):
        for name, value in section.items():
            named = any(problem.startswith(f"palimpsest.{name}:") for problem in problems)
            value = {"complete": value} if name == "model" and isinstance(value, str) else value  # one for all roles
            taken = name in KEYS and _plain(value) == _plain(getattr(settings, KEYS[name].field))
            assert named or value is None or taken
    else:
        assert bool(problems) == (section is not None)


def _plain(value):
    """Return a value of a section, and the field that it sets, in the same plain form."""
    if isinstance(value, Models):
        value = asdict(value)
    if isinstance(value, dict) and value.keys() <= {"complete", "edit"}:
        return {role: name for role, name in value.items() if name is not None}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("options", "section", "strange"),
    [
        (None, None, 0),
        ({}, None, 0),
        ({"palimpsest": {"seed": 1}}, {"seed": 1}, 0),
        ({"seed": 1}, {"seed": 1}, 0),
        ({"enable": False, "disabledFolders": []}, {"enable": False, "disabledFolders": []}, 0),
        ({"model.edit": "a"}, {"model.edit": "a"}, 0),
        ({"palimpsest.enable": False, "palimpsest.model.edit": "a"}, {"enable": False, "model": {"edit": "a"}}, 0),
        ({"palimpsest": {"seed": 1}, "palimpsest.enable": False}, {"seed": 1, "enable": False}, 0),
        ({"palimpsest": None}, None, 0),
        ({"palimpsest": 3}, 3, 0),
        ({"palimpsest": {"seed": 1}, "enable": False}, {"seed": 1}, 1),
        ({"seeds": 1}, None, 1),
        ({"enable": False, "python.linting": True}, None, 2),
        ({"editorInfo": {"name": "Emacs"}, "editorPluginInfo": {"name": "copilot.el"}, "networkProxy": {}}, None, 0),
        ({"editorInfo": {"name": "Emacs"}, "palimpsest": {"seed": 1}}, {"seed": 1}, 0),
        ([], None, 1),
    ],
)
def test_the_section_is_found_in_any_spelling_and_all_else_is_named(options, section, strange):
    found, problems = section_of(options)
    assert found == section
    assert len(problems) == strange


def test_the_settings_that_only_a_new_engine_can_take_up():
    own = {"model": "x", "device": "cpu", "dtype": "float32", "threads": 2, "adapter": "y"}
    settings, _ = parse(
        {**own, "quantization": "fp8", "fallback": True, "endpoint": "http://[::1]:1", "profile": "fast"}
    )
    expected = EngineSettings("x", "cpu", "float32", 2, "y", "fp8", True, Endpoint("http://[::1]:1"), profile="fast")
    assert settings.engine == replace(expected, shared=True)
    assert parse({"engine": "own"})[0].engine == EngineSettings()


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("a", Models("a")),
        ({"complete": "a"}, Models("a")),
        ({"edit": "b"}, Models(None, "b")),
        ({"complete": "a", "edit": "b"}, Models("a", "b")),
        ({"complete": "a", "edit": None}, Models("a")),
        ({"complete": None, "edit": None}, Models()),
        ({}, Models()),
        (None, Models()),
    ],
)
def test_a_model_may_be_an_object_of_models_by_role(value, taken):
    settings, problems = parse({"model": value})
    assert problems == ()
    assert settings.model == taken
    assert (settings.engine.checkpoint, settings.engine.edit) == (taken.complete, taken.edit)
    assert parse({"model": value}, {"model": value}) == (settings, ())


@pytest.mark.parametrize("theirs", [{"edit": "theirs"}, {"complete": "mine", "edit": "theirs"}, "theirs"])
def test_a_workspace_chooses_the_model_of_no_role(theirs):
    settings, (problem,) = parse({"model": {"complete": "mine"}}, {"model": theirs})
    assert settings.model == Models("mine")
    assert problem.startswith("palimpsest.model is ignored")


def test_an_endpoint_may_be_an_object():
    value = {
        "url": "https://there",
        "protocol": "openai",
        "model": "m",
        "keyEnv": "K",
        "keyFile": None,
        "dialect": "qwen",
    }
    settings, problems = parse({"endpoint": value})
    assert problems == ()
    assert settings.endpoint == Endpoint("https://there", "openai", "m", "K", None, "qwen")
    assert parse({"endpoint": value}, {"endpoint": value}) == (settings, ())


def test_a_workspace_sends_no_code_to_another_host():
    settings, (problem,) = parse({"endpoint": "http://127.0.0.1:8012"}, {"endpoint": "http://elsewhere.example"})
    assert settings.endpoint == Endpoint("http://127.0.0.1:8012")
    assert problem.startswith("palimpsest.endpoint is ignored")


def test_every_setting_has_a_key_and_a_row_in_the_documentation():
    assert {key.field for key in KEYS.values()} == {field.name for field in fields(Settings)}
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(KEYS)


@pytest.mark.parametrize(
    "section",
    [
        {"enable": False, "model": {"complete": "a", "edit": "b"}},
        {"palimpsest.enable": False, "palimpsest.model.complete": "a", "palimpsest.model.edit": "b"},
        {"palimpsest": {"enable": False, "model.complete": "a", "model.edit": "b"}},
        {"palimpsest": {"palimpsest.enable": False}, "model": {"complete": "a"}, "model.edit": "b"},
        {"enable": True, "palimpsest.enable": False, "model": "x", "palimpsest.model": {"complete": "a", "edit": "b"}},
    ],
)
def test_a_key_may_be_dotted_within_the_section(section):
    settings, problems = parse(section)
    assert problems == ()
    assert (settings.enable, settings.model) == (False, Models("a", "b"))


def test_a_dotted_key_that_is_none_is_named():
    _, (problem,) = parse({"palimpsest.enabled.never": True})
    assert problem.startswith("palimpsest.enabled: no such setting")


@pytest.mark.parametrize("key", ["ignore", "disabledFolders"])
@pytest.mark.parametrize(
    ("glob", "why"),
    [
        ("${cwd}/x", "there is no variable ${cwd}"),
        ("a/${", "there is no variable ${"),
        ("vscode-vfs://github/a/b", "only file: URIs have a path here"),
        ("../x", "no path has .. in it"),
        ("a/../b", "no path has .. in it"),
    ],
)
def test_a_glob_that_can_match_nothing_is_named_and_the_others_count(key, glob, why):
    settings, (problem,) = parse({key: ["vendor", glob]})
    assert problem == f"palimpsest.{key}: {glob} matches nothing: {why}"
    assert "vendor" in getattr(settings, KEYS[key].field)


@pytest.mark.parametrize(
    "glob",
    [
        *("/a/../b", "~/x", "~/../x", "file:///a%20b", "${workspaceFolder}/x", "${workspaceFolder:a}", "${userHome}/x"),
        *("${env:HOME}/x", "C:\\x", "a..b", "..a"),
    ],
)
def test_a_glob_that_can_match_something_is_no_problem(glob):
    assert parse({"disabledFolders": [glob], "ignore": [glob]})[1] == ()
