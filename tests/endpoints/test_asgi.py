"""HTTP beside the streams: health, readiness, refusals before the upgrade, and a clear 404."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request

import pytest

from helpers.wire import Client, refused, start, stream
from voxgate import Model
from voxgate.errors import ModelLoadError


def get(url: str) -> tuple[int, dict[str, str], dict[str, str]]:
    try:
        response = urllib.request.urlopen(url, timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, dict(response.headers), json.load(response)


def test_health_and_ready(serve):
    server = serve()
    status, headers, body = get(server.http("/api/v1/health"))
    assert (status, body) == (200, {"status": "healthy"})
    assert headers["content-type"] == "application/json"
    assert get(server.http("/api/v1/ready"))[::2] == (200, {"status": "ready"})


class Slow(Model):
    """Warm when told so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.warming, self.warm = threading.Event(), threading.Event()
        self.error = error

    def warm_up(self):
        self.warming.set()
        assert self.warm.wait(30)
        if self.error is not None:
            raise self.error

    def infer(self, audio):
        return {"count": len(audio)}


def test_until_the_model_is_warm_it_is_healthy_but_not_ready(serve):
    model = Slow()
    server = serve(model, wait=False)
    assert model.warming.wait(30)
    assert get(server.http("/api/v1/health"))[0] == 200
    status, headers, body = get(server.http("/api/v1/ready"))
    assert (status, body) == (503, {"status": "not ready", "reason": "warming up the model"})
    assert headers["retry-after"] == "5"
    status, headers, body = refused(server.url())
    assert (status, body) == (503, {"error": "not ready: warming up the model", "code": "not_ready"})
    assert int(headers["retry-after"]) > 0
    model.warm.set()
    server.wait_started()
    assert get(server.http("/api/v1/ready"))[0] == 200
    assert stream(server.url("simple"), start(), bytes(3200))[0]["count"] == 1600


def test_a_model_that_cannot_warm_up_is_reported(serve):
    model = Slow(OSError("no weights"))
    server = serve(model, wait=False)
    model.warm.set()
    with pytest.raises(ModelLoadError, match="no weights"):
        server.wait_started()
    assert get(server.http("/api/v1/ready"))[0] == 503


@pytest.mark.parametrize(
    "path", ["/nope", "/web/", "/web/nope.js", "/web/../app.py", "/api/v1/", "/api/v1/simple/x", "/api/v1/health/"]
)
def test_anything_else_is_404_with_a_json_body(serve, path):
    server = serve()
    assert get(server.http(path))[::2] == (404, {"error": f"nothing at {path}", "code": "not_found"})
    assert refused(f"ws://127.0.0.1:{server.port}{path}")[::2] == (
        404,
        {"error": f"nothing at {path}", "code": "not_found"},
    )


def test_a_path_with_a_line_feed_is_one_like_others(serve):
    body = {"error": "nothing at /a\nb", "code": "not_found"}
    assert get(serve().http("/a%0ab"))[::2] == (404, body)
    assert refused(f"ws://127.0.0.1:{serve().port}/a%0ab")[::2] == (404, body)


def test_a_stream_asked_for_by_http_says_what_it_is(serve):
    status, headers, body = get(serve().http("/api/v1/simple"))
    error = "expected POST or PUT at /api/v1/simple, or a websocket, got GET"
    assert (status, body) == (405, {"error": error, "code": "method_not_allowed"})
    assert headers["allow"] == "POST, PUT, OPTIONS"


def test_a_wrong_method_of_a_known_path(serve):
    request = urllib.request.Request(serve().http("/api/v1/health"), b"", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    with caught.value as error:
        assert (error.code, error.headers["allow"]) == (405, "GET, HEAD")
        body = json.load(error)
    assert body == {"error": "expected GET, HEAD at /api/v1/health, got POST", "code": "method_not_allowed"}


@pytest.mark.parametrize("path", ["/v1/realtime", "/v2/listen", "/v3/ws"])
def test_a_request_on_a_path_for_websockets_alone(serve, path):
    server = serve()

    def ask(method: str) -> tuple[int, dict[str, str | None], Any]:
        request = urllib.request.Request(server.http(path), method=method)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=30)
        with caught.value as error:
            body = error.read()
            headers = {name: error.headers[name] for name in ("allow", "upgrade")}
            return error.code, headers, json.loads(body) if body else None

    error = f"expected a websocket at {path}, got a request without an upgrade"
    body = {"error": error, "code": "upgrade_required"}
    assert ask("GET") == (426, {"allow": None, "upgrade": "websocket"}, body)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        body = {"error": f"expected a websocket at {path}, got {method}", "code": "method_not_allowed"}
        assert ask(method) == (405, {"allow": "GET", "upgrade": None}, body)


def test_the_paths_of_an_api_that_is_off_do_not_exist(serve):
    server = serve(**{"endpoints.deepgram": False})
    assert get(server.http("/v2/listen"))[0] == 404


@pytest.mark.parametrize("path", ["/", "/api/v1/info", "/metrics", "/v1/models", "/v1/audio/transcriptions"])
def test_a_websocket_on_a_path_for_requests_alone(serve, path):
    server = serve()
    body = {"error": f"expected a request at {path}, got a websocket", "code": "invalid_request"}
    assert refused(f"ws://127.0.0.1:{server.port}{path}")[::2] == (400, body)


class OnlyStateful(Model):
    name = "walker"

    def step(self, audio, state):
        return {"count": len(audio)}


def test_a_route_the_model_is_not_made_for_is_refused_before_the_upgrade(serve, caplog):
    status, headers, body = refused(serve().url("stateful"))
    assert (status, body) == (
        501,
        {
            "error": "/api/v1/stateful is not served: model 'count' keeps nothing between its calls: it has no step()",
            "code": "not_served",
        },
    )
    assert headers["content-type"] == "application/json"
    assert "retry-after" not in headers
    server = serve(OnlyStateful())
    for route in ("simple", "segmented"):
        status, headers, body = refused(server.url(route))
        assert (status, body) == (
            501,
            {
                "error": f"/api/v1/{route} is not served: "
                "model 'walker' answers no audio on its own: it has no infer()",
                "code": "not_served",
            },
        )
    assert stream(server.url("stateful"), start(), bytes(3200))[0]["count"] == 1600
    loggers = {record.name for record in caplog.records if record.levelname in ("WARNING", "ERROR")}
    assert not any(name.startswith("voxgate") for name in loggers)  # at warm-up neither


def test_a_route_that_will_never_be_served_is_not_said_to_be_busy(serve):
    model = Slow()
    server = serve(model, wait=False)
    assert refused(server.url("stateful"))[0] == 501
    assert refused(server.url("simple"))[0] == 503
    model.warm.set()
    server.wait_started()


def test_a_full_server_refuses_before_the_upgrade(serve):
    server = serve(**{"limits.streams": 2})
    with Client(server.url()), Client(server.url("simple")):
        status, headers, body = refused(server.url())
        assert (status, body) == (503, {"error": "server full: 2 streams are open", "code": "streams"})
        assert int(headers["retry-after"]) > 0
        assert get(server.http("/api/v1/health"))[0] == 200
        body = {"status": "not ready", "reason": "server full: 2 streams are open"}
        assert get(server.http("/api/v1/ready"))[::2] == (503, body)
        assert server.service.admission.refused == {("streams", "native"): 1}  # who asks is not refused
    while server.service.streams:  # their places are free as soon as they are gone
        pass
    with Client(server.url()):
        pass
