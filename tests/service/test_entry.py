"""The way in: which check answers first, and what is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from voxgate.config import AuthSettings, LimitsSettings, ServerSettings
from voxgate.errors import Unauthorized
from voxgate.models import FunctionModel
from voxgate.service.access import Gate
from voxgate.service.admission import Admission, Permit, Refusal
from voxgate.service.client_info import ClientInfo
from voxgate.service.entry import UNAUTHORIZED, Entry


class Idle:
    """A server without load."""

    not_ready = None
    draining_until_s = None
    queue_wait_s = 0.0
    buffered_audio_is_full = False


def make(in_start: bool = False, streams: int = 2, **auth: Any) -> tuple[Entry, Admission]:
    settings = AuthSettings(**auth)
    admission = Admission(LimitsSettings(streams=streams), settings, Idle())
    model = FunctionModel(lambda audio: {})
    return Entry(Gate(settings, ServerSettings()), admission, model, in_start), admission


def admit(entry: Entry, **client: Any) -> Permit | Refusal:
    return asyncio.run(entry.admit(ClientInfo(**client)))


def reason(refusal: Permit | Refusal) -> str:
    assert isinstance(refusal, Refusal)
    return refusal.reason


def test_a_page_of_another_origin_is_refused_before_its_token_is_looked_at() -> None:
    entry, _ = make(tokens="good")
    assert reason(admit(entry, origin="https://evil.example", host="a", token="bad")) == "origin"
    assert reason(admit(entry, token="bad")) == "unauthorized"


def test_a_full_server_is_known_to_clients_with_a_token_alone() -> None:
    entry, _ = make(tokens="good", streams=1)
    assert isinstance(admit(entry, token="good"), Permit)
    assert reason(admit(entry, token="bad")) == reason(admit(entry)) == "unauthorized"
    assert reason(admit(entry, token="good")) == "streams"


@pytest.mark.parametrize("token", ["good", "bad"])
def test_a_token_that_comes_with_the_start(token: str) -> None:
    entry, admission = make(in_start=True, tokens="good", streams=8)
    permit = admit(entry, address="a")
    assert isinstance(permit, Permit)
    assert permit.is_pending
    error = asyncio.run(entry.check_token(token, ClientInfo("a", wire="deepgram"), permit))
    assert permit.is_pending is (token == "bad")
    assert isinstance(error, Unauthorized) is (token == "bad")
    assert admission.refused == ({("unauthorized", "deepgram"): 1} if token == "bad" else {})
    permit.release()
    assert (admission.streams, admission.pending) == (0, 0)


def test_requests_that_open_no_stream() -> None:
    entry, admission = make(tokens="good")
    assert asyncio.run(entry.authorize(ClientInfo(token="good"))) is None
    assert asyncio.run(entry.authorize(ClientInfo(wire="openai"))) == UNAUTHORIZED
    assert (admission.streams, admission.refused) == (0, {("unauthorized", "openai"): 1})
    open_entry, _ = make()
    assert asyncio.run(open_entry.authorize(ClientInfo())) is None


def test_routes_that_the_model_does_not_serve() -> None:
    entry, _ = make()
    assert entry.why_unserved("simple") is entry.why_unserved("segmented") is None
    assert str(entry.why_unserved("stateful")).endswith("it has no step()")


def test_a_token_does_not_show() -> None:
    assert "secret" not in repr(ClientInfo(token="secret"))
