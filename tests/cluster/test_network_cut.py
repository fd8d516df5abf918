"""The network between a server and the cluster is cut: both are whole, and no packet passes."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.cluster import put, until
from helpers.serve_process import ServeProcess
from helpers.wire import STOP, Client, bursts, encode, of_type, pieces, start
from tools.ray_nodes import NODE_IP, LocalCluster

TO_CLUSTER, TO_CLIENTS = "10.77.0", "10.78.0"
"""The networks of the two cables to the server's machine: .1 is this side, .2 the server's."""
PORT = 8080
UTTERANCE = encode(bursts((0.5, 1.5), length_s=2.5))


def ip(*arguments: str, within: tuple[str, ...] = ()) -> None:
    subprocess.run([*within, "ip", *arguments], check=True, capture_output=True)


class Machine:
    """A network namespace of its own, with two cables to this one."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "echo up && exec sleep 100000"], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.inside = ("nsenter", "-t", str(self._holder.pid), "-n")
        ip("link", "set", "lo", "up", within=self.inside)
        for name, network in (("ray", TO_CLUSTER), ("web", TO_CLIENTS)):
            ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-in", "netns", str(self._holder.pid))
            ip("addr", "add", f"{network}.1/24", "dev", name)
            ip("link", "set", name, "up")
            ip("addr", "add", f"{network}.2/24", "dev", f"{name}-in", within=self.inside)
            ip("link", "set", f"{name}-in", "up", within=self.inside)
        # Ray takes the address from which it would reach the internet.
        ip("route", "add", "default", "via", f"{TO_CLUSTER}.2")
        ip("route", "add", "default", "via", f"{TO_CLUSTER}.1", within=self.inside)

    def cut(self) -> None:
        ip("link", "set", "ray", "down")

    def mend(self) -> None:
        ip("link", "set", "ray", "up")
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("route", "add", "default", "via", f"{TO_CLUSTER}.2")

    def close(self) -> None:
        for name in ("ray", "web"):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("link", "del", name)
        self._holder.kill()
        self._holder.communicate()


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()


@pytest.fixture
def server(machine: Machine, models_are_importable: None, tmp_path: Path) -> Iterator[ServeProcess]:
    """On that machine, with a Ray node beside it that is started again when it ends, as Kubernetes does."""
    address = f"{TO_CLUSTER}.1:6379"
    with LocalCluster((1, 1), {NODE_IP: f"{TO_CLUSTER}.1"}) as nodes:
        put("Plain", tmp_path, address=address)
        ray = f"{Path(sys.executable).parent}/ray start --address {address} --num-cpus 0 --block"
        ray += f" --node-ip-address {TO_CLUSTER}.2 --object-store-memory 80000000"
        node = subprocess.Popen(
            [*machine.inside, "sh", "-c", f"while true; do {ray}; sleep 1; done"],
            env={**nodes.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        settings = {
            "inference.engine": "ray",
            "ray.address": address,
            "ray.lost_after_s": 5,
            "inference.deadline_s": 300,
            "server.host": f"{TO_CLIENTS}.2",
            "vad.detector": "energy",
            "limits.idle_timeout_s": 600,
        }
        made = ServeProcess(PORT, "", settings, machine.inside)
        try:
            yield made.wait_ready()
        finally:
            made.kill()
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()


def is_ready() -> bool:
    connection = http.client.HTTPConnection(f"{TO_CLIENTS}.2", PORT, timeout=30)
    connection.request("GET", "/api/v1/ready")
    status = connection.getresponse().status
    connection.close()
    assert status in (200, 503)
    return status == 200


def test_a_stream_outlives_a_cut_and_every_utterance_is_answered(server: ServeProcess, machine: Machine) -> None:
    with Client(f"ws://{TO_CLIENTS}.2:{PORT}/api/v1/segmented") as client:
        client.send(start(), *pieces(UTTERANCE, 3200))
        assert client.until("segment")[-1]["n"] > 0
        machine.cut()
        client.send(*pieces(UTTERANCE, 3200))
        until(lambda: not is_ready())
        machine.mend()
        until(is_ready)
        client.send(*pieces(UTTERANCE, 3200), STOP)
        events = client.rest()
        assert client.close_code == 1000
    answers = [round(each["start_time"], 1) for each in of_type(events, "segment")]
    assert len(answers) + len(of_type(events, "error")) == 2  # The second one late, or one error; then the third.
    assert answers[-1] == pytest.approx(5.0, abs=0.6)
