"""The files of docs/start/deploy.md that no snippet runs: judged by the tools they are for, and beside each other."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMTOOL = shutil.which("promtool")
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
TEXT = (ROOT / "docs" / "start" / "deploy.md").read_text()


def written(name: str) -> str:
    (text,) = re.findall(rf"^```\w+ file={re.escape(name)}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return str(text)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_agrees():
    done = subprocess.run([str(HADOLINT), "-"], input=written("Dockerfile"), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_is_the_one_that_is_built_before():
    assert f"-t {written('Dockerfile').split()[1]} " in TEXT
    assert "ENTRYPOINT" in (ROOT / "deploy" / "Dockerfile").read_text()


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_promtool_agrees(tmp_path):
    (tmp_path / "token").write_text("a")
    text = written("prometheus.yml").replace("/etc/prometheus/voxgate-token", str(tmp_path / "token"))
    (tmp_path / "prometheus.yml").write_text(text)
    done = subprocess.run(
        [str(PROMTOOL), "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert yaml.safe_load(text)["scrape_configs"][0]["scheme"] == "https"


def test_whoever_ends_the_server_waits_longer_than_its_drain():
    drain_s = tomllib.loads(written("voxgate.toml"))["server"]["drain_s"]
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(written("voice.service"))
    assert int(unit["Service"]["TimeoutStopSec"]) > drain_s
    assert unit["Service"]["ExecStart"].endswith("/voxgate serve")
    (stop_timeout,) = re.findall(r"--stop-timeout (\d+)", TEXT)
    (container_drain,) = re.findall(r"VOXGATE_SERVER_DRAIN_S=(\d+)", TEXT)
    assert int(stop_timeout) > int(container_drain) == drain_s


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_agrees(tmp_path):
    text = written("voice.service").replace("/opt/voice/venv/bin/voxgate", "/bin/true")
    (tmp_path / "voice.service").write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "voice.service"], capture_output=True, text=True)
    assert "voice.service:" not in done.stderr, done.stderr
