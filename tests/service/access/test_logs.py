"""No token is ever in what a server writes, whatever becomes of it and however much is logged."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from helpers.wire import STOP, Client, start

GOOD, BAD, BREAKING, ANSWERING = (f"s3cr3t-{kind}-t0ken" for kind in ("good", "bad", "breaking", "answering"))
HOOK = """
import logging

async def check(token):
    if "breaking" in token:
        raise RuntimeError("no such user: " + token)
    if "answering" in token:
        return token
    return False
"""


@pytest.fixture
def server(tmp_path: Path):
    """A real process that logs everything; its port, and after `stop` all that it has written."""
    (tmp_path / "my_check.py").write_text(HOOK)
    (tmp_path / "tokens").write_text(f"# ours\n{GOOD}-from-file\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VOXGATE_")}
    settings = {
        "auth.tokens_file": "tokens",
        "auth.hook": "my_check:check",
        "vad.detector": "energy",
        "server.drain_s": 0,
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    with (
        (tmp_path / "stderr").open("wb") as stderr,
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "voxgate",
                "serve",
                "--port",
                "0",
                "--model",
                "features",
                "--log-level",
                "debug",
                *sets,
            ],
            cwd=tmp_path,
            env={**environment, "VOXGATE_AUTH_TOKENS": GOOD, "PYTHONASYNCIODEBUG": "1"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as child,
    ):
        assert child.stdout is not None
        try:
            url = child.stdout.readline().split()[-1]

            def stop() -> str:
                child.terminate()
                rest = child.communicate(timeout=30)[0]
                return rest + tmp_path.joinpath("stderr").read_text()

            yield url, stop
        finally:
            child.kill()


def forms_of(token: str) -> list[str]:
    """How it might show."""
    encoded = base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()
    return [token, encoded, token.encode().hex()]


def connect(url: str, *messages, is_patient: bool = True, **options) -> list[str]:
    """The codes of the answers. `is_patient`: until the server closes, and not only to the first."""
    try:
        with Client(url, **options) as client:
            with contextlib.suppress(OSError, ConnectionClosed):  # it may be thrown out in the middle
                client.send(*messages)
            if not is_patient:
                first = client.receive()
                assert first is not None
                return [first["code"]]
            return [str(event.get("code", event["type"])) for event in client.rest()] + [str(client.close_code)]
    except InvalidStatus as error:
        return [json.loads(error.response.body)["code"]]


def test_no_token_is_ever_written(server):
    http, stop = server
    url = http.replace("http", "ws") + "/api/v1/simple"
    outcomes = {}
    for token in (GOOD, BAD, BREAKING, ANSWERING, f"{GOOD}-from-file"):
        subprotocol = "voxgate.token." + base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()
        outcomes[token] = [
            connect(url, start(), STOP, additional_headers={"Authorization": f"Bearer {token}"}),
            connect(url, start(), STOP, subprotocols=["voxgate.v1", subprotocol]),
            connect(url, start(token=token), STOP),
            connect(f"{url}?token={token}", start(), STOP),
            # With a good token it may try again, and would be waited for.
            connect(f"{url}?token={token}", start(channels=99, token=token), STOP, is_patient=GOOD not in token),
        ]
        for wrong in (
            json.dumps(start(token=token))[:-1],  # no JSON
            {**start(), "token": [token]},  # of a wrong type
            {**start(), "format": token},
            {"request": token},
            {"request": "start", "token": token, "format": {"channels": token}},
        ):
            assert connect(url, wrong, is_patient=False) == ["invalid_message"]
        connect(url, token, *[{"request": "none", "token": token}] * 10)
        connect(url + "/" + "none", additional_headers={"Authorization": f"Bearer {token}"})
        for path in ("/api/v1/health", "/api/v1/ready", "/none", "/api/v1/simple"):
            request = urllib.request.Request(
                f"{http}{path}?token={token}", headers={"Authorization": f"Bearer {token}"}
            )
            try:
                urllib.request.urlopen(request, timeout=30).close()
            except urllib.error.HTTPError as error:
                error.close()
        for lines in ("", "Upgrade: websocket\r\nConnection: Upgrade\r\n", "no header\r\n", "\x00: \xff\r\n"):
            with socket.create_connection(("127.0.0.1", int(http.rpartition(":")[2])), 30) as raw:
                request_line = f"GET /api/v1/simple?token={token} HTTP/1.1\r\nHost: localhost\r\n"
                raw.sendall(f"{request_line}Authorization: Bearer {token}\r\n{lines}\r\n".encode("latin-1"))
                raw.settimeout(30)
                raw.recv(65536)
    written = stop()

    accepted = [["1000"]] * 3 + [["unauthorized", "1008"], ["invalid_start"]]
    assert outcomes[GOOD] == outcomes[f"{GOOD}-from-file"] == accepted
    assert outcomes[BAD] == [["unauthorized"]] * 2 + [["unauthorized", "1008"]] * 3
    for token in (BREAKING, ANSWERING):
        assert outcomes[token][:3] == [["auth_unavailable"]] * 2 + [["internal", "1011"]]
    # It was logged, only not what the tokens are.
    assert "failed with RuntimeError (my_check.py, line 6, in check)" in written
    assert "(unauthorized)" in written
    for token in outcomes:
        for form in forms_of(token):
            assert form not in written
    assert "s3cr3t" not in written
