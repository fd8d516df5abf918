from __future__ import annotations

import pytest

from voxgate.errors import ConfigError
from voxgate.inference.engine.ray.app import Deployment, deploy, parse_replicas, serve_config


def test_the_number_of_replicas() -> None:
    assert parse_replicas("3") == (3, 3)
    assert parse_replicas("1..8") == (1, 8)
    for bad in ("", "x", "1..", "..2"):
        with pytest.raises(ConfigError, match=r"such as 1\.\.8"):
            parse_replicas(bad)
    with pytest.raises(ConfigError, match="at least 1 replica"):
        Deployment("dummy", min_replicas=0, max_replicas=0)
    with pytest.raises(ConfigError, match=r"2\.\.1"):
        Deployment("dummy", min_replicas=2, max_replicas=1)


def test_a_serve_configuration_file() -> None:
    made = Deployment("pkg.asr:Asr", {"size": "small"}, app="asr", max_replicas=8, gpus=0.5, working_dir="s3://b/c.zip")
    config = serve_config(made)
    (application,) = config["applications"]
    assert (application["name"], application["route_prefix"]) == ("asr", None)
    assert application["args"]["spec"] == "pkg.asr:Asr"
    assert application["args"]["options"] == {"size": "small"}
    assert application["runtime_env"] == {"working_dir": "s3://b/c.zip"}
    (deployment,) = application["deployments"]
    assert deployment["ray_actor_options"] == {"num_cpus": 1.0, "num_gpus": 0.5}
    assert deployment["autoscaling_config"]["max_replicas"] == 8
    assert "num_replicas" not in deployment
    fixed = serve_config(Deployment("dummy", min_replicas=2, max_replicas=2))["applications"][0]
    assert fixed["deployments"][0]["num_replicas"] == 2
    assert "runtime_env" not in fixed


def test_ray_takes_the_configuration() -> None:
    schema = pytest.importorskip("ray.serve.schema")
    for most in (1, 8):
        schema.ServeDeploySchema.model_validate(serve_config(Deployment("dummy", max_replicas=most)))


def test_an_address_never_starts_a_cluster() -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="--address"):
        deploy(Deployment("dummy"), "local")
