"""deploy/kubernetes.yaml: valid for Kubernetes, and true of the server it starts."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from voxgate.config import load_config

MANIFEST = Path(__file__).parents[2] / "deploy" / "kubernetes.yaml"
OBJECTS: dict[str, Any] = {object["kind"]: object for object in yaml.safe_load_all(MANIFEST.read_text())}
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


@pytest.mark.parametrize("kind", OBJECTS)
def test_is_valid(kind):
    kubernetes_validate.validate(OBJECTS[kind], kubernetes_validate.latest_version(), strict=True)


def config():
    return load_config(environ={variable["name"]: variable.get("value", "token") for variable in CONTAINER["env"]})


def test_every_variable_is_a_setting_and_the_ports_are_those():
    settings = config()
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {"http": settings.server.port, "metrics": settings.metrics.port}
    assert settings.auth.tokens == "token"


def test_the_links_of_its_service_stay_out_of_the_settings():
    """They would begin with the prefix of the settings, for the Service has that name."""
    assert OBJECTS["Service"]["metadata"]["name"].upper() == "VOXGATE"
    assert POD["enableServiceLinks"] is False


def test_a_pod_has_the_time_to_drain():
    pause_s = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] >= pause_s + config().server.drain_s + 5


def test_the_probes_ask_for_what_the_server_answers(serve):
    server = serve()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        request = CONTAINER[probe]["httpGet"]
        assert request["port"] == "http"
        with urllib.request.urlopen(server.http(request["path"]), timeout=30) as response:
            assert response.status == 200


def test_the_metric_that_scales_it_is_exported(serve):
    server = serve()
    metric = OBJECTS["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    with urllib.request.urlopen(server.http("/metrics"), timeout=30) as response:
        assert f"\n{metric}{{" in response.read().decode()
