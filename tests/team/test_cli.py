"""The command line without a cluster: tokens, and everything that is wrong before anything is started."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from palimpsest_engine import PalimpsestError
from palimpsest_team import cli, tokens
from palimpsest_team.options import Deployed, Replicas, deployed_of

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.json"


@pytest.fixture
def ray_is_there(monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: True)


def team(*arguments: object) -> Result:
    return CliRunner().invoke(cli.command, [str(each) for each in arguments])


def sentence(result: Result) -> str:
    """Return what the user is told, by click or by an error of ours."""
    if isinstance(result.exception, PalimpsestError):
        return str(result.exception)
    assert isinstance(result.exception, SystemExit), result.exception
    return result.output


def test_a_token_is_printed_once_alone_on_its_line_and_listed_without_itself(path):
    added = team("token", "add", "ann", "--tokens", path)
    token = added.stdout.strip()
    assert tokens.Tokens(path).user_of(token) == "ann"
    listed = team("token", "list", "--tokens", path).stdout
    assert listed.split()[2] == "ann"
    assert token not in listed


def test_a_revoked_token_is_gone_and_a_second_time_it_is_an_error(path):
    team("token", "add", "ann", "--tokens", path)
    assert team("token", "revoke", "ann", "--tokens", path).exit_code == 0
    assert team("token", "revoke", "ann", "--tokens", path).exit_code == 1
    assert team("token", "list", "--tokens", path).stdout == ""


def test_the_file_may_be_named_by_the_environment(path, monkeypatch):
    monkeypatch.setenv("PALIMPSEST_TEAM_TOKENS", str(path))
    team("token", "add", "ann")
    assert [each.user for each in tokens.read(path)] == ["ann"]


def test_without_a_file_the_way_to_one_is_named(path):
    assert "team token add USER" in sentence(team("token", "list", "--tokens", path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--keyfile", "key.pem"], "--keyfile needs --certfile"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0 sends code and tokens across the network"),
        (["--replicas", "0"], "N or MIN:MAX"),
        (["--replicas", "4:2"], "N or MIN:MAX"),
        (["--replicas", "many"], "N or MIN:MAX"),
        (["--deployed"], "--deployed needs --address"),
        (["--address", "cluster"], "--address is HOST:PORT or auto"),
        (["--certfile", "no such.pem"], "cannot be read"),
        (["--model", "./here"], "depends on the folder"),
    ],
)
@pytest.mark.usefixtures("ray_is_there")
def test_a_wrong_option_is_one_sentence_and_starts_nothing(path, arguments, said):
    tokens.add(path, "ann")
    result = team("serve", "--tokens", path, "--port", "0", *arguments)
    assert said in sentence(result)


@pytest.mark.usefixtures("ray_is_there")
def test_a_service_without_users_is_not_started(path):
    assert "team token add USER" in sentence(team("serve", "--tokens", path))
    tokens.add(path, "ann")
    tokens.revoke(path, "ann")
    assert "has no tokens" in sentence(team("serve", "--tokens", path))


@pytest.mark.usefixtures("ray_is_there")
def test_a_port_that_is_taken_is_named_before_anything_is_started(path):
    tokens.add(path, "ann")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"The port {port} is taken" in sentence(team("serve", "--tokens", path, "--port", port))


@pytest.mark.usefixtures("ray_is_there")
def test_a_file_that_is_no_certificate_is_named(path, tmp_path):
    tokens.add(path, "ann")
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    assert "wrong.pem" in sentence(team("serve", "--tokens", path, "--certfile", wrong))


def test_without_ray_the_command_that_installs_it_is_named(path, monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    said = sentence(team("serve", "--tokens", path))
    assert "ray[serve]" in said
    assert "pip install" in said


@pytest.mark.parametrize(("text", "least", "most"), [("1", 1, 1), ("2:8", 2, 8), ("3:3", 3, 3)])
def test_replicas_are_a_number_or_two(text, least, most):
    assert Replicas.parse(text) == Replicas(least, most)


def test_every_option_is_explained():
    page = DOCS.joinpath("team.md").read_text()
    options = [option for each in cli.serve.params for option in each.opts if option.startswith("--")]
    assert [option for option in options if option not in page + DOCS.joinpath("cli.md").read_text()] == []
    assert [name for name in cli.token.commands if name not in page] == []


def test_a_manifests_arguments_are_checked():
    wanted = {"settings": {"checkpoint": "embedded"}, "replicas": {"least": 1, "most": 4}, "gpus": 1}
    assert deployed_of(wanted).replicas == Replicas(1, 4)
    for wrong in ({"replicas": "four"}, {"settings": {"threads": "all"}}, {"gpus": []}):
        with pytest.raises(PalimpsestError, match="arguments cannot be used"):
            deployed_of(wrong)


def test_a_replica_takes_a_gpu_where_there_is_one_and_else_a_share_of_the_cpus():
    from palimpsest_team.process import fitted

    two = Deployed(replicas=Replicas(2, 2))
    assert (fitted(two, {"CPU": 16, "GPU": 4}).gpus, fitted(two, {"CPU": 16, "GPU": 4}).cpus) == (1.0, 0.0)
    assert (fitted(two, {"CPU": 2}).gpus, fitted(two, {"CPU": 2}).cpus) == (0.0, 1.0)
    crowded = fitted(Deployed(replicas=Replicas(1, 4)), {"CPU": 2})
    assert (crowded.cpus, crowded.settings.threads) == (0.5, 1)
