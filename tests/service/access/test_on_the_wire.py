"""Every way in, and every way to be turned away, on a real socket."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import urllib.error
import urllib.request

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.exceptions import ConnectionClosed

from helpers.wire import KEEP_ALIVE, PAUSE, STOP, Client, refused, start, stream
from voxgate.endpoints.health import Guard
from voxgate.service.entry import Entry

AUDIO = bytes(3200)
SUBPROTOCOL = "voxgate.token." + base64.urlsafe_b64encode(b"good").rstrip(b"=").decode()
UNAUTHORIZED = {"error": "expected a good token: Authorization: Bearer TOKEN", "code": "unauthorized"}


def bearer(token: str) -> dict[str, dict[str, str]]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def heard(client: Client) -> bool:
    client.send(start(), AUDIO, STOP)
    return [event["count"] for event in client.rest()] == [1600] and client.close_code == 1000


def sent_away(client: Client) -> tuple[str, str, int | None, str | None]:
    [event] = client.rest()
    return event["type"], event["code"], client.close_code, client.close_reason


# Tokens


def test_a_token_in_the_header(serve):
    server = serve(**{"auth.tokens": "good,other"})
    for token in ("good", "other"):
        with Client(server.url("simple"), **bearer(token)) as client:
            assert heard(client)


def test_a_token_in_the_subprotocol(serve):
    server = serve(**{"auth.tokens": "good"})
    with Client(server.url("simple"), subprotocols=["voxgate.v1", SUBPROTOCOL]) as client:
        assert client.socket.subprotocol == "voxgate.v1"
        assert heard(client)
    with Client(server.url("simple"), subprotocols=[SUBPROTOCOL]) as client:
        assert client.socket.subprotocol is None
        assert heard(client)


def test_the_subprotocol_is_answered_without_tokens_too(serve):
    server = serve()
    for offered in (["voxgate.v1"], ["chat", "voxgate.v1"], ["voxgate.v1", SUBPROTOCOL]):
        with Client(server.url("simple"), subprotocols=offered) as client:
            assert client.socket.subprotocol == "voxgate.v1"
            assert heard(client)


@pytest.mark.parametrize(
    "options",
    [bearer("bad"), bearer(""), bearer("good good"), {"subprotocols": ["voxgate.v1", "voxgate.token.YmFk"]}],
    ids=["header", "empty", "two", "subprotocol"],
)
def test_a_bad_token_is_turned_away_at_once(serve, options):
    server = serve(**{"auth.tokens": "good"})
    status, headers, body = refused(server.url(), **options)
    assert (status, body) == (401, UNAUTHORIZED)
    assert headers["www-authenticate"] == "Bearer"
    assert headers["content-type"] == "application/json"
    assert server.service.admission.refused == {("unauthorized", "native"): 1}


def test_a_token_in_start(serve):
    server = serve(**{"auth.tokens": "good"})
    with Client(server.url("simple")) as client:
        assert server.service.admission.pending == 1
        client.send(KEEP_ALIVE, start(token="good"), AUDIO, PAUSE)
        assert client.receive()["count"] == 1600
        assert server.service.admission.pending == 0
        assert heard(client)  # the next start needs none


def test_a_bad_token_in_start(serve):
    server = serve(**{"auth.tokens": "good"})
    with Client(server.url("simple")) as client:
        with contextlib.suppress(ConnectionClosed):  # the server may be faster than what comes after the first
            client.send(start(token="bad"), AUDIO, start(token="good"), AUDIO)
        assert sent_away(client) == ("error", "unauthorized", 1008, "unauthorized")
    assert server.service.admission.refused == {("unauthorized", "native"): 1}


@pytest.mark.parametrize("first", [AUDIO, start(), STOP, PAUSE, {"request": "flush"}], ids=str)
def test_nothing_comes_before_the_token(serve, first):
    server = serve(**{"auth.tokens": "good"})
    with Client(server.url("simple")) as client:
        with contextlib.suppress(ConnectionClosed):
            client.send(first, start(token="good"), AUDIO)
        assert sent_away(client) == ("error", "unauthorized", 1008, "unauthorized")


def test_a_start_with_a_good_token_and_a_bad_format_may_be_tried_again(serve):
    server = serve(**{"auth.tokens": "good"})
    with Client(server.url("simple")) as client:
        client.send(start(channels=99, token="good"))
        assert client.receive()["code"] == "invalid_start"
        assert heard(client)


def test_who_brings_no_token_in_time_is_sent_away_whatever_it_says(serve):
    server = serve(**{"auth.tokens": "good", "limits.start_timeout_s": 0.5})
    with Client(server.url("simple")) as client:
        talking = threading.Event()

        def talk() -> None:
            while not talking.is_set():
                try:
                    client.send(KEEP_ALIVE)
                except Exception:
                    return

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            assert sent_away(client) == ("error", "timeout", 1008, "timeout")
        finally:
            talking.set()
            thread.join()


def test_without_tokens_in_start_there_is_no_waiting(serve):
    server = serve(**{"auth.tokens": "good", "auth.in_start": False})
    assert refused(server.url())[::2] == (401, UNAUTHORIZED)
    with Client(server.url("simple"), **bearer("good")) as client:
        assert heard(client)


def test_a_server_that_asks_for_no_token_ignores_all_of_them(serve):
    server = serve()
    with Client(server.url("simple"), **bearer("bad")) as client:
        client.send(start(token="bad"), AUDIO, STOP)
        assert [event["count"] for event in client.rest()] == [1600]


def test_who_has_not_brought_its_token_takes_the_place_of_few(serve):
    server = serve(**{"auth.tokens": "good", "auth.pending_streams": 8, "limits.streams": 100})
    with Client(server.url("simple")) as first, Client(server.url("simple")):
        status, headers, body = refused(server.url())
        assert (status, body["code"]) == (429, "pending_streams")  # a quarter is one address's
        assert int(headers["retry-after"]) > 0
        with Client(server.url("simple"), **bearer("good")) as client:
            assert heard(client)
        first.send(start(token="good"), AUDIO)
        assert first.receive()["count"] == 1600
        with Client(server.url("simple")) as third:
            third.send(start(token="good"), AUDIO)
            assert third.receive()["count"] == 1600


# The hook


def test_a_hook_on_every_way_in(serve, monkeypatch, tmp_path):
    (tmp_path / "my_check.py").write_text(
        "async def check(token):\n"
        "    if token == 'broken':\n"
        "        raise RuntimeError(token)\n"
        "    return token == 'good'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    server = serve(**{"auth.hook": "my_check:check", "auth.tokens": "static"})
    for token in ("good", "static"):
        with Client(server.url("simple"), **bearer(token)) as client:
            assert heard(client)
        with Client(server.url("simple")) as client:
            client.send(start(token=token), AUDIO)
            assert client.receive()["count"] == 1600
    assert refused(server.url(), **bearer("bad"))[::2] == (401, UNAUTHORIZED)
    status, headers, body = refused(server.url(), **bearer("broken"))
    assert (status, body) == (
        503,
        {"error": "tokens cannot be checked at the moment", "code": "auth_unavailable"},
    )
    assert int(headers["retry-after"]) > 0
    for token, code, close_code in (("bad", "unauthorized", 1008), ("broken", "internal", 1011)):
        with Client(server.url("simple")) as client:
            client.send(start(token=token), AUDIO)
            assert sent_away(client) == ("error", code, close_code, code)
    while server.service.streams:
        pass
    assert server.service.admission.pending == 0


def test_a_client_that_leaves_while_its_token_is_looked_at(serve, monkeypatch, tmp_path):
    (tmp_path / "slow_check.py").write_text(
        "import threading\nasked, answer = threading.Event(), threading.Event()\n"
        "def check(token):\n    asked.set()\n    return answer.wait(30)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    server = serve(**{"auth.hook": "slow_check:check"})
    import slow_check  # type: ignore[import-not-found]

    try:
        with Client(server.url("simple")) as client:
            client.send(start(token="good"), AUDIO)
            assert slow_check.asked.wait(30)
        while server.service.streams:
            pass
        assert server.service.admission.pending == 0
    finally:
        slow_check.answer.set()


# Plain HTTP


def test_what_is_guarded_asks_for_the_token_and_health_does_not(serve):
    server = serve(**{"auth.tokens": "good"})

    async def secret(request):
        return PlainTextResponse("inside")

    app, service = server.server.config.loaded_app, server.service
    entry = Entry(service.gate, service.admission, service.model, False)
    app.router.routes.insert(0, Route("/secret", Guard(entry, service.gate, secret).respond))

    def get(path: str, token: str | None = None) -> tuple[int, str | None, str]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            answer = urllib.request.urlopen(urllib.request.Request(server.http(path), headers=headers), timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers["WWW-Authenticate"], answer.read().decode()

    assert get("/secret", "good") == (200, None, "inside")
    for token in (None, "bad"):
        status, challenge, body = get("/secret", token)
        assert (status, challenge, json.loads(body)) == (401, "Bearer", UNAUTHORIZED)
    assert get("/api/v1/health")[0] == get("/api/v1/ready")[0] == 200


# Origins


def test_other_pages_are_turned_away(serve):
    server = serve()
    own = f"http://127.0.0.1:{server.port}"
    with Client(server.url("simple"), origin=own) as client:
        assert heard(client)
    for origin in ("https://evil.example", "null", own + "/", own.replace("http:", "https:"), f"{own}0"):
        status, _, body = refused(server.url(), origin=origin)
        assert (status, body) == (403, {"error": "web pages of this origin may not connect", "code": "origin"})


def test_pages_that_are_allowed(serve):
    server = serve(**{"auth.origins": "https://app.example,same-origin"})
    for origin in ("https://app.example", f"http://127.0.0.1:{server.port}"):
        with Client(server.url("simple"), origin=origin) as client:
            assert heard(client)
    assert refused(server.url(), origin="https://evil.example")[0] == 403


def test_behind_a_proxy_the_page_is_compared_with_what_it_was_asked_for(serve):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.example"}
    options = {"origin": "https://app.example", "additional_headers": headers}
    assert refused(serve().url(), **options)[0] == 403  # nobody is believed
    with Client(serve(**{"server.trusted_proxies": "127.0.0.0/8"}).url("simple"), **options) as client:
        assert heard(client)


# Addresses


def test_one_address_has_so_many_streams(serve):
    server = serve(**{"limits.streams_per_address": 2})
    with Client(server.url()), Client(server.url()):
        status, headers, body = refused(server.url(), additional_headers={"X-Forwarded-For": "1.2.3.4"})
        assert (status, body) == (
            429,
            {"error": "2 streams are open from this address", "code": "streams_per_address"},
        )
        assert int(headers["retry-after"]) > 0
    while server.service.streams:
        pass
    assert stream(server.url("simple"), start(), AUDIO)[0]["count"] == 1600


def test_one_token_has_so_many_streams(serve):
    server = serve(**{"auth.tokens": "good streams=1, wide", "limits.streams_per_token": 2})

    def with_(token: str) -> dict[str, dict[str, str]]:
        return {"additional_headers": {"Authorization": f"Bearer {token}"}}

    with Client(server.url(), **with_("good")), Client(server.url(), **with_("wide")):
        status, headers, body = refused(server.url(), **with_("good"))
        assert (status, body) == (429, {"error": "1 stream is open with this token", "code": "streams_per_token"})
        assert int(headers["retry-after"]) > 0
        with Client(server.url(), **with_("wide")), Client(server.url()) as late:
            late.send(start(token="wide"))
            assert [(event["code"], event["message"]) for event in late.rest()] == [
                ("overloaded", "2 streams are open with this token")
            ]
            assert late.close_code == 1013
    while server.service.streams:
        pass
    assert server.service.admission._of_token == {}


def test_behind_a_proxy_each_client_has_its_own(serve):
    server = serve(**{"limits.streams_per_address": 1, "server.trusted_proxies": "127.0.0.1"})

    def from_(address: str) -> dict[str, dict[str, str]]:
        return {"additional_headers": {"X-Forwarded-For": address}}

    with Client(server.url(), **from_("1.2.3.4")), Client(server.url(), **from_("2001:db8::1")):
        assert refused(server.url(), **from_("6.6.6.6, 1.2.3.4"))[0] == 429
        assert refused(server.url(), **from_("2001:db8::2"))[0] == 429
        with Client(server.url(), **from_("1.2.3.5")), Client(server.url(), **from_("2001:db8:0:1::1")):
            pass
