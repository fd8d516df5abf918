"""The way in: which check answers first, and what is counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from voxgate.config import AuthSettings, LimitsSettings, ServerSettings
from voxgate.errors import Overloaded, Unauthorized
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


def limited(**auth: Any) -> tuple[Entry, Admission]:
    settings = AuthSettings(**auth)
    admission = Admission(LimitsSettings(streams_per_token=1), settings, Idle())
    return Entry(Gate(settings, ServerSettings()), admission, FunctionModel(lambda audio: {}), True), admission


def knows(token: str) -> bool | str:
    return {"ann-1": "ann", "ann-2": "ann", "known": True}.get(token, False)


def test_streams_of_a_token_and_of_a_client_that_the_hook_names() -> None:
    entry, admission = limited(tokens="one, two streams=2", hook=f"{__name__}:knows")
    permits = [admit(entry, token=token) for token in ("one", "two", "two", "ann-1", "known")]
    assert [type(permit) for permit in permits] == [Permit] * 5
    for token in ("one", "two", "ann-1", "ann-2", "known"):
        assert reason(admit(entry, token=token)) == "streams_per_token"
    assert admission.streams == 5
    for permit in permits:
        assert isinstance(permit, Permit)
        permit.release()
    assert isinstance(admit(entry, token="ann-2"), Permit)


def test_a_token_that_is_not_valid_is_not_counted() -> None:
    entry, admission = limited(tokens="good", hook=f"{__name__}:knows")
    assert [reason(admit(entry, token=f"bad-{n}")) for n in range(9)] == ["unauthorized"] * 9
    permit = admit(entry)
    assert isinstance(permit, Permit)
    assert isinstance(asyncio.run(entry.check_token("bad", ClientInfo(), permit)), Unauthorized)
    assert admission._of_token == {}
    open_entry, open_admission = limited()
    assert [type(admit(open_entry, token=token)) for token in ("a", "a", "b")] == [Permit] * 3
    assert open_admission._of_token == {}


def test_a_token_of_a_start_with_too_many_streams() -> None:
    entry, admission = limited(tokens="good")
    first, second = admit(entry, token="good"), admit(entry)
    assert isinstance(first, Permit)
    assert isinstance(second, Permit)
    error = asyncio.run(entry.check_token("good", ClientInfo(), second))
    assert isinstance(error, Overloaded)
    assert str(error) == "1 stream is open with this token"
    assert second.is_pending
    assert admission.refused == {("streams_per_token", "native"): 1}
    first.release()
    assert isinstance(asyncio.run(entry.check_token("good", ClientInfo(), second)), ClientInfo)
    second.release()
    assert (admission.streams, admission.pending, admission._of_token) == (0, 0, {})


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
