"""Whose connection it is, behind proxies or not."""

from __future__ import annotations

import pytest

from voxgate.errors import ConfigError
from voxgate.service.access import Peer, Proxies


def forwarded(*values: str, proto: str | None = None, host: str | None = None) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-forwarded-for", value.encode()) for value in values]
    if proto is not None:
        headers.append((b"x-forwarded-proto", proto.encode()))
    if host is not None:
        headers.append((b"x-forwarded-host", host.encode()))
    return headers


def address(proxies: str, peer: str | None, *values: str) -> str | None:
    return Proxies(proxies).peer(peer, False, forwarded(*values)).address


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1", "::1"])
def test_by_default_nobody_is_believed(peer):
    assert address("", peer, "1.2.3.4") == address("", peer) != "1.2.3.4"


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        (["1.2.3.4"], "1.2.3.4"),
        (["1.2.3.4:5678"], "1.2.3.4"),
        (["6.6.6.6, 1.2.3.4"], "1.2.3.4"),  # the left one was written by the client
        (["6.6.6.6, 1.2.3.4, 10.1.1.1"], "1.2.3.4"),  # by way of another proxy of ours
        (["6.6.6.6", "1.2.3.4", "10.1.1.1"], "1.2.3.4"),  # a header for each proxy
        (["10.9.9.9, 10.1.1.1"], "10.9.9.9"),  # from inside
        (["unknown"], "10.0.0.1"),
        (["6.6.6.6, unknown"], "10.0.0.1"),
        (["6.6.6.6, _hidden, 10.1.1.1"], "10.1.1.1"),
        ([""], "10.0.0.1"),
        ([], "10.0.0.1"),
        (["6.6.6.6,"], "10.0.0.1"),
        (["[2001:db8:1:2:3:4:5:6]:443"], "2001:db8:1:2::/64"),
        (["2001:db8:1:2::1"], "2001:db8:1:2::/64"),
        (["::ffff:1.2.3.4"], "1.2.3.4"),
        (["\xff\xfe"], "10.0.0.1"),
    ],
)
def test_the_right_most_address_that_is_not_a_proxy(hops, client):
    assert address("10.0.0.0/8, 192.168.1.1", "10.0.0.1", *hops) == client


def test_who_is_no_proxy_is_not_believed():
    assert address("10.0.0.0/8", "11.0.0.1", "1.2.3.4") == "11.0.0.1"
    assert address("10.0.0.0/8", None, "1.2.3.4") is None
    peer = Proxies("10.0.0.0/8").peer("11.0.0.1", False, forwarded(proto="https", host="evil.example"))
    assert peer == Peer("11.0.0.1", False, None)


def test_a_proxy_reached_over_a_dual_stack_socket():
    assert address("10.0.0.0/8", "::ffff:10.0.0.1", "1.2.3.4") == "1.2.3.4"


def test_everybody_may_be_believed():
    assert address("*", "9.9.9.9", "1.2.3.4, 5.6.7.8") == "1.2.3.4"
    assert address("*", None, "1.2.3.4") == "1.2.3.4"


def test_an_ipv6_network_is_one_client():
    assert address("", "2001:db8:1:2::1") == address("", "2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert address("", "fe80::1%eth0") == "fe80::/64"
    assert address("", "2001:db8:1:3::1") != address("", "2001:db8:1:2::1")


def test_scheme_and_host_as_the_proxy_saw_them():
    proxies = Proxies("10.0.0.1")
    headers = [(b"host", b"inside:8080")]
    assert proxies.peer("10.0.0.1", False, headers) == Peer("10.0.0.1", False, "inside:8080")
    headers += forwarded("1.2.3.4", proto="https", host="evil.example, app.example")
    assert proxies.peer("10.0.0.1", False, headers) == Peer("1.2.3.4", True, "app.example")
    assert proxies.peer("10.0.0.1", True, forwarded(proto="http")).is_secure is False


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1 10.0.0.2"])
def test_what_is_no_address_is_a_mistake_in_the_settings(text):
    with pytest.raises(ConfigError, match=r"server.trusted_proxies: expected addresses or networks"):
        Proxies(text)
