"""The names of the wires."""

from __future__ import annotations

from voxgate.protocol.machine import ROUTES
from voxgate.protocol.wires import STREAMS, WIRES


def test_every_route_has_the_servers_own_wires_and_one_has_those_of_others():
    assert {wire for _, wire in STREAMS} == set(WIRES)
    for route in ROUTES:
        wires = {wire for name, wire in STREAMS if name == route}
        assert wires == (set(WIRES) if route == "segmented" else {"native", "http", "grpc"})
