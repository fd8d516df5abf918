"""`Info` says what `GET /api/v1/info` says."""

from __future__ import annotations

import json
import urllib.request

from helpers.grpc_client import GrpcClient


def test_it_is_that_of_http(server, port):
    with urllib.request.urlopen(server.http("/api/v1/info"), timeout=30) as response:
        expected = json.load(response)
    with GrpcClient(port) as client:
        assert client.info() == expected
    assert expected["wires"]["grpc"] == {"served": True, "reason": None, "paths": ["/voxgate.v1.Voxgate/Stream"]}
