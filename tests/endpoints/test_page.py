"""What a browser gets: the files of the page with their headers, and the description of the server."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from helpers.wire import Client, start
from voxgate import Model, __version__
from voxgate.endpoints import page
from voxgate.protocol.requests import VadOptions
from voxgate.vad.config import VadConfig

WEB = Path(page.__file__).parents[1] / "web"


def get(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        response = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()


def test_every_file_is_served_as_it_is(serve):
    server = serve()
    names = sorted(str(path.relative_to(WEB)) for path in WEB.rglob("*.*"))
    assert {"index.html", "client/stream.js"} <= set(names)
    for name in names:
        status, headers, body = get(server.http(f"/web/{name}"))
        assert (status, body) == (200, (WEB / name).read_bytes()), name
        expected = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
        assert headers["content-type"].startswith(expected[name.rpartition(".")[2]]), name


def test_the_root_is_the_page_and_lets_nothing_in_from_elsewhere(serve):
    status, headers, body = get(serve().http("/"))
    assert (status, body) == (200, (WEB / "index.html").read_bytes())
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["permissions-policy"].startswith("microphone=(self)")
    assert headers["referrer-policy"] == "no-referrer"


def test_no_file_names_another_host_or_carries_inline_code():
    for path in WEB.rglob("*.*"):
        text = path.read_text()
        hosts = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) - {"http://www.w3.org"}
        assert hosts == set(), path.name
        if path.suffix == ".html":
            assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text) == []


def test_an_etag_saves_the_second_transfer(serve):
    url = serve().http("/web/page.js")
    _, headers, body = get(url)
    assert headers["cache-control"] == "no-cache"
    for tag in (headers["etag"], f'"other", W/{headers["etag"]}', "*"):
        status, again, nothing = get(url, If_None_Match=tag)
        assert (status, nothing) == (304, b"")
        assert again["etag"] == headers["etag"]
        assert again["content-security-policy"] == headers["content-security-policy"]
    status, _, same = get(url, If_None_Match='"other"')
    assert (status, same) == (200, body)
    status, head, nothing = get(url, "HEAD")
    assert (status, nothing) == (200, b"")
    assert head["content-length"] == str(len(body))


@pytest.mark.parametrize(
    "path",
    ["/web/nope.js", "/web/", "/web/..%2fapp.py", "/web/%2e%2e/app.py", "/web/__init__.py", "/web/client"],
)
def test_nothing_else_of_the_disk_is_reached(serve, path):
    status, _, body = get(serve().http(path))
    assert status == 404
    assert "error" in json.loads(body)


class OnlyStateful(Model):
    name = "walker"

    def step(self, audio, state):
        return {"count": len(audio)}


def test_info_says_what_the_server_is(serve):
    server = serve(**{"limits.streams": 7, "vad.silence_duration_ms": 450})
    status, headers, body = get(server.http("/api/v1/info"))
    info = json.loads(body)
    assert status == 200
    assert headers["cache-control"] == "no-store"
    assert (info["name"], info["version"], info["model"], info["ready"]) == ("voxgate", __version__, "count", True)
    assert info["streams"] == {"open": 0, "max": 7}
    assert info["limits"]["channels"] == 8
    assert info["routes"]["segmented"] == {"served": True, "reason": None}
    assert info["routes"]["stateful"]["served"] is False
    assert "step()" in info["routes"]["stateful"]["reason"]
    options = info["vad"]["options"]
    assert list(options) == list(VadOptions.__struct_fields__)
    assert options["silence_duration_ms"] == {
        "default": 450, "min": 50, "max": 10_000, "unit": "ms", "type": "int",
        "about": "Silence that ends a segment, in ms.",
    }  # fmt: skip
    assert options["negative_threshold"]["at_most"] == "threshold"
    with Client(server.url()) as client:
        client.send(start(notices=True))
        client.until("started")
        assert json.loads(get(server.http("/api/v1/info"))[2])["streams"]["open"] == 1


def test_info_offers_what_the_detector_accepts(serve):
    """Both ends of every range, and not a step more."""
    options = json.loads(get(serve().http("/api/v1/info"))[2])["vad"]["options"]
    for name, option in options.items():
        usual = VadConfig(threshold=0.99)  # so that the other threshold has its whole range
        for end in (option["min"], option["max"]):
            usual.changed(**{name: end})
        for beyond in (option["min"] - 1, option["max"] + 1):
            with pytest.raises(ValueError, match=name):
                usual.changed(**{name: beyond})


def test_info_of_a_stateful_model(serve):
    info = json.loads(get(serve(OnlyStateful()).http("/api/v1/info"))[2])
    assert {route: one["served"] for route, one in info["routes"].items()} == {
        "simple": False, "segmented": False, "stateful": True,
    }  # fmt: skip


def test_info_is_for_those_who_have_the_token_and_the_page_for_everybody(serve):
    server = serve(**{"auth.tokens": "good,better"})
    assert get(server.http("/"))[0] == get(server.http("/web/page.js"))[0] == 200
    for headers in ({}, {"Authorization": "Bearer bad"}):
        status, answer, body = get(server.http("/api/v1/info"), **headers)
        assert status == 401
        assert answer["www-authenticate"] == "Bearer"
        assert set(json.loads(body)) == {"error", "code"}
    assert get(server.http("/api/v1/info"), Authorization="Bearer better")[0] == 200
