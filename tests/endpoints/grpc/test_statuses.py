"""Each reason has a status, and each status says what a client can do."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from voxgate.endpoints.grpc.statuses import status_of_close, status_of_refusal
from voxgate.protocol.closing import Close, CloseReason
from voxgate.service.admission import Refusal, RefusalKind

C = grpc.StatusCode


@pytest.mark.parametrize("kind", RefusalKind)
def test_every_refusal_has_a_status(kind):
    status = status_of_refusal(Refusal(kind, "why", "a text", None))
    assert (status.code is not C.OK, status.text) == (True, "a text")


@pytest.mark.parametrize("reason", CloseReason)
def test_every_close_has_a_status(reason):
    status = status_of_close(Close(reason))
    assert (status.code is C.OK) == (reason is CloseReason.COMPLETED)


def fields(text):
    status = status_of_refusal(Refusal(RefusalKind.INVALID, "invalid_request", text))
    rich = status_pb2.Status.FromString(dict(status.metadata)["grpc-status-details-bin"])
    found = error_details_pb2.BadRequest()
    return [one.field for detail in rich.details if detail.Unpack(found) for one in found.field_violations]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("format.channels must be 1..8, got 9", "format.channels"),
        ("format.bit_depth 12 with is_float true is not supported", "format.bit_depth"),
        ("vad.threshold: expected float, got str", "vad.threshold"),
        ("options: the model takes none", "options"),
        ("eager must be false on this route", "eager"),
        ("the server is full", None),
    ],
)
def test_the_field_that_is_wrong(text, field):
    assert fields(text) == ([] if field is None else [field])


def test_the_last_error_of_a_stream_is_the_text_of_its_status():
    close = Close(CloseReason.TIMEOUT, "timeout")
    assert status_of_close(close, "no message within 1 s").text == "no message within 1 s"
    assert status_of_close(close).text == "timeout"
    assert status_of_close(Close(CloseReason.INTERNAL)).text == "the server ended the stream: internal"


@pytest.mark.parametrize("text", ["options: " + "é" * 3000, "options: " + "x" * 20_000, "options: \ud800"])
def test_a_long_text_is_cut_to_what_metadata_can_hold(text):
    """Beyond, the library replaces the status by RESOURCE_EXHAUSTED."""
    status = status_of_refusal(Refusal(RefusalKind.INVALID, "invalid_request", text))
    assert text.replace("\ud800", "?").startswith(status.text)
    assert len(status.text.encode()) in (999, 1000, 10)
    rich = status_pb2.Status.FromString(dict(status.metadata)["grpc-status-details-bin"])
    assert rich.message == status.text
    assert sum(len(value) for _, value in status.metadata) < 3000
    assert fields(text) == ["options"]
