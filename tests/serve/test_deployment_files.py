"""The YAML files of deploy/ against the schemas of Kubernetes and Ray Serve, and against the program."""

from __future__ import annotations

from typing import Any

import pytest
import typer.main
import yaml

from mobilesam.cli import build_app
from mobilesam.serve.guard import Hosts
from mobilesam.serve.replicas import Settings
from tests.documents import ROOT

KUBERNETES = [*yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8"))]
RAY: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "rayservice.yaml").read_text(encoding="utf-8"))


def validate(document: dict[str, Any]) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("document", KUBERNETES, ids=lambda document: document["kind"])
def test_the_files_follow_the_schemas_of_kubernetes(document: dict[str, Any]) -> None:
    validate(document)


def test_the_pods_of_ray_follow_the_schemas_of_kubernetes() -> None:
    cluster = RAY["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        validate({"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]})


def test_the_arguments_are_those_of_the_command() -> None:
    app: Any = typer.main.get_command(build_app())
    (container,) = KUBERNETES[0]["spec"]["template"]["spec"]["containers"]
    name, *arguments = container["args"]
    context = app.get_command(None, name).make_context(name, arguments)
    assert context.params["port"] == container["ports"][0]["containerPort"]
    assert context.params["host"] == "0.0.0.0"
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    hosts = Hosts.of("0.0.0.0", variables["MOBILESAM_ALLOW_HOST"].split())
    service = next(document for document in KUBERNETES if document["kind"] == "Service")
    assert hosts.refusal(service["metadata"]["name"]) == ""
    assert hosts.refusal("10.0.0.7:8080") == "", "the probes' name of a pod"


def test_the_configuration_of_ray_serve_follows_its_schema_and_the_settings() -> None:
    schema = pytest.importorskip("ray.serve.schema")
    config = schema.ServeDeploySchema.model_validate(yaml.safe_load(RAY["spec"]["serveConfigV2"]))
    (application,) = config.applications
    module, _, name = application.import_path.partition(":")
    assert callable(getattr(__import__(module, fromlist=[name]), name))
    settings = Settings.of(application.args)
    assert (settings.replicas, settings.encoders) == (2, 4)
    cluster = RAY["spec"]["rayClusterConfig"]
    cpus = sum(
        group["replicas"] * int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
        for group in cluster["workerGroupSpecs"]
    )
    assert settings.replicas + settings.encoders <= cpus, "each process requests a core"
