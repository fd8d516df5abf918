"""What Ray exports of a deployment: the series that deploy/grafana/dashboards/models.json and its alerts ask for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from helpers.cluster import Edge, put, until
from tools.ray_nodes import LocalCluster

RECORDED: dict[str, list[str]] = json.loads((Path(__file__).parents[1] / "deploy" / "ray_metrics.json").read_text())
NODES = """
import json, ray
ray.init(address="127.0.0.1:6379", log_to_driver=False)
print(json.dumps([f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics" for node in ray.nodes()]))
"""


def scrape(pages: list[str]) -> dict[str, set[str]]:
    """The labels of each series of all nodes."""
    found: dict[str, set[str]] = {}
    for page in pages:
        with urllib.request.urlopen(page, timeout=60) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("ray_"):
                    name, _, labels = line.partition("{")
                    found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels.rpartition("}")[0]))
    return found


def test_the_recorded_series_are_exported(cluster: LocalCluster, tmp_path: Path, edge: Callable[..., Edge]) -> None:
    put("Actor", tmp_path)
    server = edge()
    assert [server.one()["count"] for _ in range(10)] == [8] * 10
    done = subprocess.run([sys.executable, "-c", NODES], capture_output=True, text=True, check=True)
    pages = json.loads(done.stdout.splitlines()[-1])
    assert len(pages) == 2
    asked = {
        name for name in RECORDED if name.startswith(("ray_serve_deployment_", "ray_serve_replica_p", "ray_node_"))
    }
    until(lambda: asked <= scrape(pages).keys())
    live = scrape(pages)
    assert {name: labels for name in sorted(asked) if not (labels := set(RECORDED[name])) <= live[name]} == {}
