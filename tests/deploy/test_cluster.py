"""deploy/cluster: valid for Kubernetes, and true of the server and of what `voxgate deploy` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from voxgate.config import load_config
from voxgate.inference.engine.ray.app import Deployment, serve_config

DEPLOY = Path(__file__).parents[2] / "deploy"
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "cluster" / "kubernetes.yaml").read_text()))
NAMES = [f"{each['kind']}-{each['metadata']['name']}" for each in OBJECTS]


def of_kind(kind: str) -> dict[str, Any]:
    return next(each for each in OBJECTS if each["kind"] == kind)


def server_pod() -> dict[str, Any]:
    pod: dict[str, Any] = of_kind("Deployment")["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("made", OBJECTS, ids=NAMES)
def test_is_valid(made: dict[str, Any]) -> None:
    if made["kind"] != "RayService":  # Which has no public schema here; its parts are checked below.
        kubernetes_validate.validate(made, kubernetes_validate.latest_version(), strict=True)


def test_every_variable_is_a_setting() -> None:
    server, node = server_pod()["containers"] + server_pod()["initContainers"]
    variables = {each["name"]: each.get("value", "token") for each in server["env"]}
    settings = load_config(environ=variables)
    assert (settings.inference.engine, settings.ray.app) == ("ray", "voxgate")
    assert settings.ray.address in " ".join(node["command"])
    service = of_kind("RayService")["metadata"]["name"]
    assert settings.ray.address == f"{service}-head-svc:6379"


def test_the_grace_of_a_pod_covers_its_drain() -> None:
    (server,) = server_pod()["containers"]
    drain_s = load_config(environ={each["name"]: each.get("value", "token") for each in server["env"]}).server.drain_s
    (pause,) = [int(text) for text in server["lifecycle"]["preStop"]["exec"]["command"] if text.isdigit()]
    assert server_pod()["terminationGracePeriodSeconds"] >= pause + drain_s + 5


def test_the_node_of_a_pod_outlives_its_server() -> None:
    """Otherwise a server that drains would lose its model: Kubernetes stops sidecars last."""
    (node,) = server_pod()["initContainers"]
    assert node["restartPolicy"] == "Always"
    assert node["command"][:2] == ["ray", "start"]


def test_servers_scale_by_streams_and_by_the_queue_and_one_goes_at_a_time() -> None:
    metrics = {each["pods"]["metric"]["name"] for each in of_kind("HorizontalPodAutoscaler")["spec"]["metrics"]}
    assert metrics == {"voxgate_streams_active", "voxgate_queue_wait_seconds_p90"}
    labels = of_kind("Deployment")["spec"]["template"]["metadata"]["labels"]
    budget = of_kind("PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["selector"]["matchLabels"]) == (1, labels)


def test_ray_is_open_to_its_own_alone_and_asks_for_a_token() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == "NetworkPolicy"}
    for rule in policies["voxgate-ray"]["ingress"]:
        assert rule["from"]
        if any("namespaceSelector" in each and "monitoring" in str(each) for each in rule["from"]):
            assert rule["ports"] == [{"port": 8080}]
    (server,), (node,) = server_pod()["containers"], server_pod()["initContainers"]
    cluster = of_kind("RayService")["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for container in [server, node, *(group["template"]["spec"]["containers"][0] for group in groups)]:
        variables = {each["name"]: each for each in container["env"]}
        assert variables["RAY_AUTH_MODE"]["value"] == "token"
        assert variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "voxgate-ray"


def test_the_application_is_what_deploy_writes() -> None:
    spec = of_kind("RayService")["spec"]
    assert yaml.safe_load(spec["serveConfigV2"]) == serve_config(Deployment("features", max_replicas=8))
    for group in [spec["rayClusterConfig"]["headGroupSpec"], *spec["rayClusterConfig"]["workerGroupSpecs"]]:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node"}, **group["template"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
