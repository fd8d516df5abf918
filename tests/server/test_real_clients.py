"""A session with the websocket clients that people use. `make clients` installs those of others; CI does it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLIENTS = HERE.parents[1] / "build/clients"
PYTHON = CLIENTS / "venv/bin/python"
NODE_WS = CLIENTS / "node_modules/ws/wrapper.mjs"


def command_of(client: str) -> list[str]:
    if client == "node":
        node = shutil.which("node")
        if node is None or not NODE_WS.exists():
            pytest.skip("needs node, and `make clients`")
        return [node, str(HERE / "real_client.mjs"), str(NODE_WS)]
    if client.startswith("websockets"):  # a dependency of ours
        return [sys.executable, str(HERE / "real_client.py"), client]
    if not PYTHON.exists():
        pytest.skip("needs `make clients`")
    return [str(PYTHON), str(HERE / "real_client.py"), client]


@pytest.mark.parametrize("route", ["segmented", "simple"])
@pytest.mark.parametrize(
    "client", ["websockets_sync", "websockets_asyncio", "aiohttp", "websocket_client", "picows", "node"]
)
def test_a_session(serve, client, route):
    command = command_of(client)
    done = subprocess.run([*command, serve().url(route)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["code"] == 1000
    n_samples = sum(event["data"]["count"] if "data" in event else event["count"] for event in told["events"])
    assert n_samples == (0 if route == "segmented" else 16_000)  # silence
