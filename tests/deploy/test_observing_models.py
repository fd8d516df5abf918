"""The files that watch the models on Ray: valid by their own tools, and true of what Ray exports.

`ray_metrics.json` has the series of a live scrape, with their labels (Ray 2.60); `make test-cluster` compares
them anew.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.promql import selectors
from voxgate.observe.metrics.catalogue import CATALOGUE

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "models.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "cluster" / "alerts.yml").read_text())["groups"][0]["rules"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]] + [rule["expr"] for rule in RULES]
LIVE: dict[str, list[str]] = json.loads((Path(__file__).parent / "ray_metrics.json").read_text())
# In Ray's source (dashboard/modules/reporter/reporter_agent.py), and in a scrape of a node with a GPU.
EXPORTED = {**LIVE, "ray_node_gpus_utilization": ["ip", "GpuIndex"]}
OF_VOXGATE = {spec.name: spec for spec in CATALOGUE}
OF_PROMETHEUS = {"job", "instance", "le"}
PROMTOOL = shutil.which("promtool")


def labels_of(series: str) -> set[str]:
    """Of a series of Ray or of Voxgate. KeyError for one that neither exports."""
    if series in EXPORTED:
        return set(EXPORTED[series])
    name = re.sub(r"_(bucket|sum|count)$", "", series)
    return set(OF_VOXGATE[series if series in OF_VOXGATE else name].labels)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_series_and_label_is_exported(expression: str) -> None:
    asked = selectors(expression)
    assert asked
    there = set(OF_PROMETHEUS)
    for name, matchers in asked:
        there |= labels_of(name)
        assert {label for label, _, _ in matchers} <= labels_of(name) | OF_PROMETHEUS
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in labels.split(",")} <= there


def test_a_series_that_nobody_exports_is_found() -> None:
    with pytest.raises(KeyError):
        labels_of("ray_serve_deployment_queries")


def test_the_panels_of_the_dashboard() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [(p["x"] + x, p["y"] + y) for p in places for x in range(p["w"]) for y in range(p["h"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    for panel in PANELS:
        for target in panel["targets"]:
            kept = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", target["expr"]))))
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept, panel["title"]


def test_both_dashboards_can_be_told_apart() -> None:
    made = [json.loads(path.read_text()) for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")]
    assert len({each["uid"] for each in made}) == len({each["title"] for each in made}) == 2


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    command = [str(PROMTOOL), *arguments]
    done = subprocess.run(command, cwd=DEPLOY / "cluster", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test() -> None:
    tests = yaml.safe_load((DEPLOY / "cluster" / "alerts_test.yml").read_text())["tests"]
    silent, fired = ({case["alertname"] for case in test["alert_rule_test"]} for test in tests)
    assert silent == fired == {rule["alert"] for rule in RULES}


def test_the_jobs_have_the_names_that_dashboards_and_alerts_ask_for() -> None:
    jobs = yaml.safe_load((DEPLOY / "cluster" / "prometheus.yml").read_text())["scrape_configs"]
    asked = {
        value
        for text in EXPRESSIONS
        for _, matchers in selectors(text)
        for label, _, value in matchers
        if label == "job"
    }
    monitors = list(yaml.safe_load_all((DEPLOY / "cluster" / "podmonitors.yaml").read_text()))
    named = {each["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["replacement"] for each in monitors}
    assert {job["job_name"] for job in jobs} == asked == named == {"voxgate", "ray"}


def test_the_monitors_find_the_pods_of_the_manifests() -> None:
    first, second = yaml.safe_load_all((DEPLOY / "cluster" / "podmonitors.yaml").read_text())
    objects = list(yaml.safe_load_all((DEPLOY / "cluster" / "kubernetes.yaml").read_text()))
    pod = next(each for each in objects if each["kind"] == "Deployment")["spec"]["template"]
    assert first["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert first["spec"]["podMetricsEndpoints"][0]["port"] in ports
    policy = next(
        each for each in objects if each["metadata"]["name"] == "voxgate-ray" and each["kind"] == "NetworkPolicy"
    )
    assert second["spec"]["selector"] == policy["spec"]["podSelector"]
