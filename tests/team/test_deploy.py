"""The files in `deploy/`: by their schemas, and in step with the program that they start. Nothing is started here."""

from __future__ import annotations

import importlib.resources
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from click import Command, Context

from palimpsest_api.metrics import Metrics
from palimpsest_team import cli
from palimpsest_team.metrics import TeamMetrics
from palimpsest_team.options import APPLICATION, deployed_of

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = "1.33"
MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text()))
(SERVICE,) = (each for each in MANIFESTS if each["kind"] == "RayService")
CLUSTER = SERVICE["spec"]["rayClusterConfig"]
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"]]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "palimpsest-team.json").read_text())


def known_options() -> set[str]:
    assert isinstance(cli.serve, Command)
    return {option for each in cli.serve.get_params(Context(cli.serve)) for option in each.opts}


def test_the_compose_file_follows_the_compose_specification():
    schemas = importlib.resources.files("check_jsonschema").joinpath("builtin_schemas", "vendor")
    schema = json.loads(schemas.joinpath("compose-spec.json").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(COMPOSE)


@pytest.mark.parametrize(
    "manifest", [each for each in MANIFESTS if "ray.io" not in each["apiVersion"]], ids=lambda m: m["kind"]
)
def test_manifests_follow_the_schemas_of_kubernetes(manifest):
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("group", GROUPS, ids=["head", "worker"])
def test_the_pods_of_the_ray_service_follow_the_schemas_of_kubernetes(group):
    pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
    kubernetes_validate.validate({**pod, "metadata": {"name": "ray", **pod["metadata"]}}, KUBERNETES, strict=True)
    assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_the_ray_service_deploys_what_the_program_reads_and_opens_no_route():
    (application,) = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])["applications"]
    assert application["name"] == APPLICATION
    assert application["route_prefix"] is None
    module, _, name = application["import_path"].partition(":")
    assert f"def {name}(" in (Path(cli.__file__).parent / f"{module.rpartition('.')[2]}.py").read_text()
    deployed = deployed_of(application["args"])
    workers = CLUSTER["workerGroupSpecs"][0]
    assert deployed.replicas.most == workers["maxReplicas"]
    resources = workers["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert deployed.gpus <= resources["nvidia.com/gpu"]
    assert deployed.cpus <= float(resources["cpu"])


def test_ray_asks_for_a_token_keeps_to_itself_and_spills_no_requests():
    assert CLUSTER["authOptions"]["mode"] == "token"
    for group in GROUPS:
        (container,) = group["template"]["spec"]["containers"]
        environment = {each["name"]: each["value"] for each in container["env"]}
        assert environment["RAY_USAGE_STATS_ENABLED"] == "0"
        assert environment["RAY_automatic_object_spilling_enabled"] == "0"


def commands() -> list[list[str]]:
    (door,) = (each for each in MANIFESTS if each["kind"] == "Deployment")
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    default = json.loads(re.findall(r"^CMD (.*\"serve\".*)", dockerfile, re.M)[0])
    return [COMPOSE["services"]["team"]["command"], door["spec"]["template"]["spec"]["containers"][0]["args"], default]


@pytest.mark.parametrize("command", commands(), ids=["compose", "kubernetes", "image"])
def test_options_are_those_of_the_command(command):
    assert command[0] == "serve"
    assert {word.partition("=")[0] for word in command[1:] if word.startswith("--")} <= known_options()


@pytest.mark.parametrize(
    "text",
    [(DEPLOY / "compose.yaml").read_text(), (DEPLOY / "Dockerfile").read_text(), (DEPLOY / "kuberay.yaml").read_text()],
)
def test_the_port_is_the_commands_default(text):
    assert str(cli.PORT) in text


@pytest.mark.parametrize("file", sorted(DEPLOY.rglob("*.yaml")), ids=lambda file: file.name)
def test_every_yaml_file_can_be_read(file):
    assert list(yaml.safe_load_all(file.read_text()))


def test_files_that_the_compose_file_mounts_are_there():
    mounted = [
        volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", [])
    ]
    ours = [name for name in mounted if not name.startswith("./team")]
    assert ours
    assert [name for name in ours if not (DEPLOY / name).exists()] == []


def test_every_figure_of_the_dashboard_exists_with_its_labels():
    metrics = Metrics()
    TeamMetrics().register(metrics.registry)
    known = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    known |= {
        f"{family.name}_{end}" for family in metrics.registry.collect() for end in ("total", "bucket", "sum", "count")
    }
    known |= {family.name for family in metrics.registry.collect()}
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    named = {name for each in expressions for name in re.findall(r"palimpsest_\w+", each)}
    assert named
    assert named - known == set()


def test_the_panels_of_the_dashboard_have_ids_titles_and_places_of_their_own():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    places = [tuple(panel["gridPos"][key] for key in "xy") for panel in panels]
    assert len(set(places)) == len(panels)
