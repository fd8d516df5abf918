"""The APIs of other services: their names, paths and switches."""

from __future__ import annotations

from voxgate.config import EndpointsSettings
from voxgate.endpoints.apis import APIS
from voxgate.protocol.wires import WIRES


def test_every_api_is_a_wire_with_a_switch():
    names = [api.name for api in APIS]
    assert len(set(names)) == len(names)
    assert set(names) <= set(WIRES) - {"native"}
    for api in APIS:
        assert api.is_on(EndpointsSettings())
        assert not api.is_on(EndpointsSettings(**{api.name: False}))
        assert api.paths
        assert all(path.startswith("/") for path in api.paths)
