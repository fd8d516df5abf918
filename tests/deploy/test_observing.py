"""The files that watch a server: each is valid by its own tool, and asks only for what a real server exports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from helpers.ports import held_port
from helpers.promql import Selector, selectors
from helpers.wire import bursts, encode, start, stream
from voxgate.errors import InferenceError

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "voxgate.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")
COMPOSE = shutil.which("docker-compose")
HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
SPEECH = encode(bursts((0.3, 2.3), length_s=3.0))
# What Prometheus or Grafana put in themselves.
OF_PROMETHEUS = {"job", "instance", "le"}


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads(DASHBOARD.read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def alert_expressions() -> list[str]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def page_expressions() -> list[str]:
    """The queries that the documents tell people to ask."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return [
        query for page in pages for query in re.findall(r"^```promql[^\n]*\n(.*?)^```", page.read_text(), re.M | re.S)
    ]


def load(server: Any) -> None:
    """Streams on every route but stateful, with interims and a failure."""
    stream(server.url(), start(interim_results=True), SPEECH)
    stream(server.url("simple"), start(), SPEECH)


def answer(audio: Any) -> dict[str, Any]:
    if len(audio) < 4000:
        raise InferenceError("too short to say anything")
    return {"count": len(audio)}


# PromQL


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up", [Selector("up", ())]),
        (
            'histogram_quantile(0.95, sum by (le, stage) (rate(a_bucket{x="1",y=~"a|b"}[5m]))) > 2e3',
            [Selector("a_bucket", (("x", "=", "1"), ("y", "=~", "a|b")))],
        ),
        ("sum(a) by (b) / on (c) group_left (d) e", [Selector("a", ()), Selector("e", ())]),
        ('a{b="}{c"} and d or e unless f', [Selector("a", (("b", "=", "}{c"),)), *(Selector(x, ()) for x in "def")]),
        ("1 - a * 2", [Selector("a", ())]),
    ],
)
def test_selectors(expression: str, expected: list[Selector]):
    assert selectors(expression) == expected


# What is asked for is there


@pytest.fixture
def exported(serve) -> dict[str, list[dict[str, str]]]:
    """The labels of every series of a server that has worked, by the series' name."""
    server = serve(answer)
    load(server)
    with urllib.request.urlopen(server.http("/metrics"), timeout=30) as page:
        text = page.read().decode()
    names: dict[str, list[dict[str, str]]] = {"up": [{}]}  # Prometheus makes this one itself
    for family in parse(text):
        for sample in family.samples:
            names.setdefault(sample.name, []).append(dict(sample.labels))
    return names


def test_every_expression_asks_for_series_that_are_exported(exported: dict[str, list[dict[str, str]]]):
    assert len(page_expressions()) >= 5
    expressions = dashboard_expressions() + alert_expressions() + page_expressions()
    assert len(expressions) > 50
    for expression in expressions:
        asked = selectors(expression)
        assert asked, expression
        for name, matchers in asked:
            assert name in exported, f"no {name} on /metrics: {expression}"
            for label, op, value in matchers:
                if label in OF_PROMETHEUS:
                    continue
                values = {labels.get(label) for labels in exported[name]}
                alternatives = value.split("|") if op in ("=~", "!~") else [value]
                assert values >= set(alternatives), f"{name} has no {label} {value}, but {values}: {expression}"


def test_every_grouping_is_by_labels_that_are_there(exported: dict[str, list[dict[str, str]]]):
    for expression in dashboard_expressions() + alert_expressions() + page_expressions():
        for labels in re.findall(r"\bby \(([^)]*)\)", expression):
            there = {label for name, _ in selectors(expression) for series in exported[name] for label in series}
            assert {label.strip() for label in labels.split(",")} <= there | OF_PROMETHEUS, expression


def test_every_legend_names_labels_that_its_query_keeps():
    for panel in panels():
        for target in panel["targets"]:
            kept = {
                label.strip()
                for labels in re.findall(r"\bby \(([^)]*)\)", target["expr"])
                for label in labels.split(",")
            }
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named <= kept or "sum" not in target["expr"], (panel["title"], target)


def test_the_panels_of_the_dashboard():
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/datasources.yml").read_text())["datasources"]
    known = {(source["type"], source["uid"]) for source in sources}
    assert {source["type"] for source in sources} == {"prometheus", "jaeger"}
    assert {(panel["datasource"]["type"], panel["datasource"]["uid"]) for panel in panels()} <= known


# The tools' own judgement


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_agrees(arguments: tuple[str, ...]):
    done = subprocess.run([str(PROMTOOL), *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test():
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    silent = {case["alertname"] for case in tests[0]["alert_rule_test"]}
    alerts = {rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
    assert fired == silent == alerts


@pytest.mark.skipif(COMPOSE is None, reason="docker-compose is not installed")
def test_compose_agrees():
    command = [str(COMPOSE), "-f", str(DEPLOY / "docker-compose.yml"), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_agrees():
    done = subprocess.run([str(HADOLINT), str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# The files among each other


def test_what_the_dockerfile_copies_is_there_and_not_ignored():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    paths = [path for line in copied for path in line.split()[:-1]]
    assert {"src", "ext", "setup.py", "pyproject.toml"} <= set(paths)
    for path in paths:
        assert (ROOT / path).exists(), path
        assert f"!{path}" in ignored, path


def test_what_compose_mounts_is_there():
    services = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]
    for service in services.values():
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            if source.startswith("."):
                assert (DEPLOY / source).is_dir(), source
                assert target.startswith("/etc/")
    server = services["voxgate"]
    assert (DEPLOY / server["build"]["context"] / server["build"]["dockerfile"]).exists()
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DEPLOY / "grafana" / Path(home).relative_to("/etc/grafana")).exists()


def test_who_asks_whom():
    services = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]
    settings = services["voxgate"]["environment"]
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"voxgate:{settings['VOXGATE_METRICS_PORT']}"]}]
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/datasources.yml").read_text())["datasources"]
    asked = [source["url"] for source in sources] + [settings["OTEL_EXPORTER_OTLP_ENDPOINT"]]
    assert {urllib.parse.urlsplit(url).hostname for url in asked} <= set(services)
    assert int(services["voxgate"]["stop_grace_period"].removesuffix("s")) > int(settings["VOXGATE_SERVER_DRAIN_S"])


def test_compose_sets_what_the_server_knows():
    from voxgate.config import load_config

    services = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]
    config = load_config(environ=services["voxgate"]["environment"])
    assert config.metrics.port == 9100
    image = dict(re.findall(r"(VOXGATE_\w+)=(\S+)", (DEPLOY / "Dockerfile").read_text()))
    assert load_config(environ=image).server.host == "0.0.0.0"


# A real Prometheus


class Prometheus:
    """With the committed files; only the target and the intervals are other ones."""

    def __init__(self, folder: Path, port: int, target: str) -> None:
        shutil.copytree(DEPLOY / "prometheus", folder / "config")
        config = folder / "config" / "prometheus.yml"
        text = config.read_text()
        assert "voxgate:9100" in text
        assert text.count("15s") == 2
        config.write_text(text.replace("voxgate:9100", target).replace("15s", "1s"))
        self.url = f"http://127.0.0.1:{port}"
        self._log = open(folder / "log", "w+")  # noqa: SIM115  # for as long as the process
        self._process = subprocess.Popen(
            [
                str(PROMETHEUS),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "GOMAXPROCS": "1"},
        )

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of the answer; None while there is none yet."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as page:
                return json.load(page)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is starting
                return None
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        except OSError:
            assert self._process.poll() is None, self.log()
            return None

    def n_scrapes(self) -> int:
        data = self.ask("query", query='count_over_time(up{job="voxgate"}[10m])')
        return int(data["result"][0]["value"][1]) if data and data["result"] else 0

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Any]:
    started: list[Prometheus] = []

    with held_port() as port:

        def begin(target: str) -> Prometheus:
            started.append(Prometheus(tmp_path, port, target))
            return started[0]

        yield begin
        for one in started:
            one.stop()


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_a_real_prometheus_scrapes_under_load_and_answers_the_dashboard(serve, prometheus):
    server = serve(answer)
    watch = prometheus(f"127.0.0.1:{server.port}")
    enough = threading.Event()

    def speak() -> None:
        while not enough.is_set():
            load(server)

    speakers = [threading.Thread(target=speak) for _ in range(4)]
    for speaker in speakers:
        speaker.start()
    try:
        give_up_s = time.monotonic() + 60
        while watch.n_scrapes() < 5:
            assert time.monotonic() < give_up_s, watch.log()
            enough.wait(0.05)
        (target,) = watch.ask("targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        for expression in dashboard_expressions() + page_expressions():
            query = expression.replace("$__rate_interval", "1m").replace("$instance", ".*").removesuffix(" > 0")
            data = watch.ask("query", query=query)
            assert data["result"], f"nothing for {query}"
            values = [sample["value"][1] for sample in data["result"]]
            assert any(value != "NaN" for value in values), f"no number for {query}"
        rules = [rule for group in watch.ask("rules")["groups"] for rule in group["rules"]]
        assert len(rules) == len(alert_expressions())
        assert {rule["health"] for rule in rules} == {"ok"}
        assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
    finally:
        enough.set()
        for speaker in speakers:
            speaker.join()
    log = watch.log()
    assert not re.search(r"level=(warn|error)", log, re.IGNORECASE), log
