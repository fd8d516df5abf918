"""deploy/cluster: valid for Kubernetes, and true of the server and of what `voxgate deploy` writes."""

from __future__ import annotations

import os
import shutil
import subprocess
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
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


def of_kind(kind: str) -> dict[str, Any]:
    return next(each for each in OBJECTS if each["kind"] == kind)


@pytest.mark.parametrize("made", OBJECTS, ids=NAMES)
def test_is_valid(made: dict[str, Any]) -> None:
    if made["kind"] != "RayService":  # Which has no public schema here; its parts are checked below.
        kubernetes_validate.validate(made, kubernetes_validate.latest_version(), strict=True)


def test_every_variable_is_a_setting() -> None:
    server, node = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each.get("value", "token") for each in server["env"]}
    settings = load_config(environ=variables)
    assert (settings.inference.engine, settings.ray.app) == ("ray", "voxgate")
    assert settings.ray.address in " ".join(node["command"])
    service = of_kind("RayService")["metadata"]["name"]
    assert settings.ray.address == f"{service}-head-svc:6379"


def test_the_application_is_what_deploy_writes() -> None:
    spec = of_kind("RayService")["spec"]
    assert yaml.safe_load(spec["serveConfigV2"]) == serve_config(Deployment("features", max_replicas=8))
    for group in [spec["rayClusterConfig"]["headGroupSpec"], *spec["rayClusterConfig"]["workerGroupSpecs"]]:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node"}, **group["template"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_nginx_takes_the_upstream(tmp_path: Path) -> None:
    upstream = (DEPLOY / "cluster" / "upstream.conf").read_text()
    whole = (DEPLOY / "nginx.conf").read_text()
    block = whole[whole.index("upstream voxgate {") : whole.index("}\n") + 2]
    site = whole.replace(block, upstream).replace("listen 443 ssl;", "listen 127.0.0.1:8443;")
    site = "\n".join(line for line in site.splitlines() if "ssl_certificate" not in line)
    site = site.replace("/var/log/nginx/voxgate.log", str(tmp_path / "access.log"))
    main = f"pid {tmp_path}/pid; error_log stderr; events {{}}\nhttp {{\n{site}\n}}\n"
    (tmp_path / "nginx.conf").write_text(main)
    assert NGINX is not None
    done = subprocess.run(
        [NGINX, "-t", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
