from __future__ import annotations

import json
from pathlib import Path

import pytest

from voxgate.cli import deploy as verb
from voxgate.cli import main
from voxgate.inference.engine.ray.app import Deployment


def test_it_prints_a_serve_configuration(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["deploy", "--model", "dummy", "--set", "model.delay=0.5", "--replicas", "1..8", "--gpus", "0.5"]
    assert main([*arguments, "--app", "asr", "--print-config"]) == 0
    printed = json.loads(capsys.readouterr().out)
    (application,) = printed["applications"]
    assert (application["name"], application["args"]["options"]) == ("asr", {"delay": 0.5})
    assert main([*arguments, "--app", "asr", "--out", str(tmp_path / "serve.json")]) == 0
    assert json.loads((tmp_path / "serve.json").read_text()) == printed


def test_it_deploys(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[Deployment, str]] = []
    monkeypatch.setattr(verb, "deploy", lambda deployment, address: done.append((deployment, address)))
    assert main(["deploy", "--model", "dummy", "--replicas", "2", "--address", "head:6379", "--calls", "4"]) == 0
    ((deployment, address),) = done
    assert (deployment.model, deployment.min_replicas, deployment.max_replicas) == ("dummy", 2, 2)
    assert (deployment.calls, address) == (4, "head:6379")


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--model", "dummy", "--replicas", "many"]) == 2
    assert "such as 1..8" in capsys.readouterr().err
    assert main(["deploy", "--set", "model"]) == 2
