"""A token is cleaned or refused before anything is sent, and no text for people or logs shows it."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.scripted_server import Received, answering, serving_in_thread
from voxgate import client
from voxgate.client.redaction import public_url, without_token
from voxgate.load import Target
from voxgate.protocol.formats import AudioFormat

MONO = AudioFormat(1, 16_000, 16, False)
SECRETS = ["日本", "s3cr\net", "s3cr\x00et", "s3cr\x7fet", "s3cr\udcffet", "gr\u00fcn", "s3cr et"]


def collect(addr: str, token: str, **options: Any) -> None:
    client.collect(bytes(3200), format=MONO, addr=addr, token=token, **options)


def test_white_space_around_a_token_is_no_part_of_it() -> None:
    sessions: list[Received] = []
    with serving_in_thread(answering(sessions=sessions)) as addr:
        collect(addr, "s3cret\n")
        collect(addr, " s3cret\r\n", token_in="start")
    assert sessions[0].headers["authorization"] == "Bearer s3cret"
    assert sessions[1].start["token"] == "s3cret"


@pytest.mark.parametrize("secret", SECRETS)
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(secret: str) -> None:
    for attempt in (
        lambda: collect("127.0.0.1:9", secret, token_in="start"),
        lambda: collect("127.0.0.1:9", secret),
        lambda: Target.of("127.0.0.1:9", "simple", secret),
        lambda: asyncio.run(client.connection.open_websocket("ws://127.0.0.1:9", secret)),
    ):
        with pytest.raises(ValueError, match=r"expected (a token in ASCII|one token, without blanks)") as caught:
            attempt()
        text = "".join(traceback.format_exception(caught.value))
        assert secret not in text
        assert repr(secret)[1:-1] not in text


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_token_is_refused(empty: str) -> None:
    with pytest.raises(ValueError, match="got white space only"):
        collect("127.0.0.1:9", empty)


def test_a_server_that_repeats_the_token_does_not_make_us_print_it() -> None:
    def refuse(connection: Any, request: Any) -> Any:
        return connection.respond(400, f"bad header: {request.headers['Authorization']}")

    with serving_in_thread(answering(), process_request=refuse) as addr, pytest.raises(client.RefusedError) as caught:
        collect(addr, "s3cret")
    assert "bad header: Bearer ***" in str(caught.value)
    assert "s3cret" not in caught.value.body


@pytest.mark.parametrize(
    "addr",
    [
        "ws://eve:s3cret@127.0.0.1:9",
        "ws://eve:s3cret@127.0.0.1:99999",
        "ftp://eve:s3cret@x",
        "127.0.0.1:9/?token=s3cret",
    ],
)
def test_credentials_in_an_address_are_not_shown(addr: str) -> None:
    with pytest.raises((client.ConnectError, ValueError)) as caught:
        client.collect(bytes(3200), format=MONO, addr=addr)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@given(st.text())
def test_any_address_can_be_shown(text: str) -> None:
    assert "s3cret" not in public_url(f"ws://eve:s3cret@{text.replace('s3cret', '')}")


@pytest.mark.parametrize(
    ("token", "text", "shown"),
    [
        ("x", "expected a good token, not x", "expected a good token, not ***"),
        ("good", "a good token; goodness", "a *** token; goodness"),
        ("s3cret-s3cret", "got(s3cret-s3cret)and_s3cret-s3cretX", "got(***)and_***X"),
        (None, "expected a token", "expected a token"),
    ],
)
def test_a_short_token_is_hidden_as_a_word_and_a_long_one_everywhere(token: str | None, text: str, shown: str) -> None:
    assert without_token(text, token) == shown
