"""By which names the server may be called: a page of a name that was made to point at it may read nothing."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest

from helpers.raw import Raw, upgrade
from helpers.wire import refused
from voxgate.config import AuthSettings, ServerSettings
from voxgate.errors import ConfigError
from voxgate.service.access import Gate, Hosts
from voxgate.service.access.hosts import is_loopback

LOCAL = ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.0.0.1:80", "127.9.8.7", "[::1]", "[::1]:8080"]
FOREIGN = [
    *("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost"),
    *("192.168.1.2", "[fe80::1]", "0.0.0.0", "", ":80", "localhost@evil.example", "localhost/x", "localhost:80:80"),
    *("evil.example, localhost", "[::1", "[localhost", "loc\xe4lhost", "a" * 300),
]


def allows(setting: str, *hosts: str, is_local: bool = True) -> bool:
    return Hosts(setting, is_local).allow([(b"host", host.encode("latin-1")) for host in hosts])


@pytest.mark.parametrize("setting", ["auto", "local", "local,voice.example", "auto,voice.example"])
def test_local_names(setting):
    assert [host for host in LOCAL if not allows(setting, host)] == []
    assert [host for host in FOREIGN if allows(setting, host)] == []
    assert allows(setting, "voice.example:8080") == ("voice" in setting)


def test_where_others_can_connect_any_name_is_good_by_default():
    assert all(allows("auto", host, is_local=False) for host in LOCAL + FOREIGN)
    assert not allows("local", "evil.example", is_local=False)
    assert all(allows("*", host) for host in LOCAL + FOREIGN)


def test_names_suffixes_addresses_and_networks():
    setting = "bücher.example, Voice.Example., *.example.com, 192.168.0.0/16, [2001:db8::1], 10.1.2.3"
    for host in (
        "xn--bcher-kva.example",
        "voice.example",
        "VOICE.example.:1",
        "a.example.com",
        "a.b.example.com:1",
        "192.168.3.4:80",
    ):
        assert allows(setting, host), host
    for host in ("[2001:db8::1]:80", "[2001:DB8:0::1]", "10.1.2.3", "[::ffff:10.1.2.3]"):
        assert allows(setting, host), host
    for host in ("a.voice.example", "example.com", "badexample.com", "10.1.2.4", "localhost", "[::1]"):
        assert not allows(setting, host), host


def test_each_of_several_counts_and_none_is_no_browser():
    assert allows("local")
    assert allows("local", "localhost", "127.0.0.1")
    assert not allows("local", "localhost", "evil.example")
    assert not allows("local", "evil.example", "localhost")


@pytest.mark.parametrize(
    "item", ["voice.example:8080", "https://voice.example", "*.", "a..b", "-a", "a b", "*x", "[::1", "ü" * 80]
)
def test_what_is_no_name(item):
    with pytest.raises(ConfigError, match=r"server.allowed_hosts: expected auto, local, \*, names such as"):
        Hosts(f"local,{item}", True)
    with pytest.raises(ConfigError, match=r"server.allowed_hosts: .* got none"):
        Hosts(" , ", True)


def test_which_servers_are_local():
    for host in ("localhost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "192.168.1.2", "voice.example"):
        assert not is_loopback(host)


@pytest.mark.parametrize(
    ("auth", "server", "is_allowed"),
    [
        ({}, {}, False),
        ({}, {"host": "[::1]"}, False),
        ({}, {"host": "0.0.0.0"}, True),
        ({"tokens": "good"}, {}, True),
        ({"tokens": "good"}, {"allowed_hosts": "local"}, False),
        ({}, {"allowed_hosts": "evil.example"}, True),
        ({}, {"trusted_proxies": "10.0.0.0/8"}, False),
        ({}, {"trusted_proxies": "127.0.0.1"}, True),
        ({}, {"trusted_proxies": "*"}, True),
    ],
)
def test_the_default_depends_on_who_can_connect(auth, server, is_allowed):
    gate = Gate(AuthSettings(**auth), ServerSettings(**server))
    assert gate.allows_host("127.0.0.1", [(b"host", b"evil.example")]) is is_allowed
    assert gate.allows_host("127.0.0.1", [(b"host", b"localhost:1")]) is (server.get("allowed_hosts") != "evil.example")


# On the wire


def status_of(port: int, path: str, host: str) -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


TOLD = (
    "host 'evil.example' is not allowed: server.allowed_hosts has to name it "
    "(--set server.allowed_hosts=local,evil.example)"
)


@pytest.mark.parametrize("path", ["/", "/web/page.js", "/metrics", "/api/v1/info", "/nowhere", "/api/v1/simple"])
def test_a_rebound_name_reads_nothing(serve, path):
    server = serve()
    status, body = status_of(server.port, path, f"evil.example:{server.port}")
    assert (status, json.loads(body)) == (421, {"error": TOLD, "code": "host"})
    expected = {"/nowhere": 404, "/api/v1/simple": 405}.get(path, 200)
    assert status_of(server.port, path, f"localhost:{server.port}")[0] == expected


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/ready"])
def test_whether_it_is_there_may_be_asked_by_any_name(serve, path):
    server = serve(**{"server.allowed_hosts": "voice.example"})
    assert status_of(server.port, path, "10.1.2.3:8080")[0] == 200


def test_metrics_on_a_port_of_their_own_are_no_exception(serve):
    server = serve(**{"metrics.port": 0})
    port = server.sockets[1].getsockname()[1]
    assert status_of(port, "/metrics", "evil.example")[0] == 421
    assert status_of(port, "/metrics", f"127.0.0.1:{port}")[0] == 200


def test_a_rebound_name_opens_no_websocket(serve):
    """Its origin is the name that it calls the server by, which is all that the check of origins asks for."""
    server = serve()
    with Raw(server.port) as raw:
        raw.send(upgrade("/api/v1/simple", host="evil.example", origin="http://evil.example"))
        status, headers, body = raw.response()
    assert (status, headers["content-type"]) == (421, "application/json")
    assert json.loads(body) == {"error": TOLD, "code": "host"}
    assert server.service.admission.refused == {("host", "native"): 1}


def test_what_is_no_name_is_not_repeated(serve):
    status, body = status_of(serve().port, "/", "<script>evil</script>")
    assert status == 421
    assert json.loads(body)["error"].startswith("this host is not allowed: server.allowed_hosts has to name it")


def test_a_proxy_that_is_trusted_may_use_any_name(serve):
    server = serve(**{"server.trusted_proxies": "127.0.0.1"})
    assert status_of(server.port, "/api/v1/info", "voice.example")[0] == 200
    with Raw(server.port) as raw:
        raw.send(upgrade("/api/v1/simple", host="voice.example", origin="http://voice.example"))
        assert raw.response()[0] == 101


def test_a_token_is_proof_enough(serve):
    server = serve(**{"auth.tokens": "good"})
    assert refused(server.url(), additional_headers={"Authorization": "Bearer bad"})[0] == 401
    with Raw(server.port).open("/api/v1/simple", authorization="Bearer good"):
        pass
