"""Where a call comes from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from voxgate.config import AuthSettings, ServerSettings
from voxgate.endpoints.grpc.peer import address_of, client_of
from voxgate.service.access import Gate


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "::1"),
        ("ipv6:[2001:db8::1]:5000", "2001:db8::1"),
        ("unix:/tmp/socket", None),
        ("unknown", None),
    ],
)
def test_addresses(peer, address):
    assert address_of(peer) == address


def test_metadata_are_headers():
    metadata = (("authorization", "Bearer t"), ("traceparent", "00-1"), ("x-bin", b"\xff"), ("user-agent", "grpc"))
    context = SimpleNamespace(invocation_metadata=lambda: metadata, peer=lambda: "ipv4:10.0.0.1:1")
    client = client_of(context, Gate(AuthSettings(), ServerSettings()), True, "grpc")
    assert (client.address, client.token, client.traceparent) == ("10.0.0.1", "t", "00-1")
    assert (client.is_secure, client.wire, client.origin) == (True, "grpc", None)
