"""The meaning of a server's close."""

from __future__ import annotations

import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

from voxgate.client.ending import closed_error, dropped_audio
from voxgate.protocol.formats import AudioFormat

S16 = AudioFormat(1, 16_000, 16, False)


@pytest.mark.parametrize("code", [1000, 1005])
def test_a_normal_close_after_stop_is_no_error(code: int) -> None:
    closed = ConnectionClosedOK(Close(code, ""), None)
    assert closed_error(closed, True, 1.0) is None
    error = closed_error(closed, False, 1.0)
    assert error is not None
    assert error.received_code == code
    assert str(error).endswith("after 1.0 s of audio and before the end of it")


def test_a_close_without_a_frame_is_a_lost_connection() -> None:
    error = closed_error(ConnectionClosedError(None, None), True, 1.0)
    assert error is not None
    assert (error.lost, error.received_code) == (True, None)


def test_a_close_by_this_side_names_its_reason() -> None:
    error = closed_error(ConnectionClosedError(None, Close(1002, "invalid opcode")), True, 1.0)
    assert error is not None
    assert not error.lost
    assert str(error) == "this side closed the connection: invalid opcode"


def test_a_known_code_is_explained() -> None:
    error = closed_error(ConnectionClosedError(Close(1013, "full"), None), True, 1.0)
    assert error is not None
    assert (error.received_code, error.reason) == (1013, "full")
    assert str(error) == "the server closed with 1013 (the server is overloaded: try again later): full"


def test_audio_that_a_server_without_codes_may_have_dropped() -> None:
    assert dropped_audio(S16, has_cut_a_sample=False) is None
    assert "multiple of 2 bytes" in (dropped_audio(S16, has_cut_a_sample=True) or "")
    assert "drop audio in u8" in (dropped_audio(AudioFormat(1, 8000, 8, False), has_cut_a_sample=False) or "")
