from __future__ import annotations

import pytest

from voxgate.config.sections import LimitsSettings
from voxgate.errors import BrokenMedia, InvalidMessage
from voxgate.protocol.closing import Close, CloseReason
from voxgate.protocol.events import Error
from voxgate.protocol.formats import ContainerFormat
from voxgate.protocol.machine import Audio, FinishSession, Flush, OpenSession, Reply, SessionMachine
from voxgate.protocol.requests import Flush as FlushRequest
from voxgate.protocol.requests import Start, Stop
from voxgate.session.endpoint import Rejected
from voxgate.session.incoming import actions_of
from voxgate.vad.config import VadConfig

START = Start(ContainerFormat("auto"))
BROKEN = BrokenMedia("no sync")


@pytest.fixture
def machine() -> SessionMachine:
    return SessionMachine(LimitsSettings(), VadConfig())


def test_each_kind_of_message_reaches_the_machine(machine):
    error = InvalidMessage("no JSON")
    assert actions_of(Rejected(error), machine) == (Reply(Error("no JSON", "invalid_message")),)
    assert [type(action) for action in actions_of(START, machine)] == [OpenSession]
    assert actions_of(b"audio", machine) == (Audio(b"audio"),)
    assert actions_of(FlushRequest(), machine) == (Flush(),)
    too_large = Close(CloseReason.TOO_LARGE, "too large")
    assert actions_of(Rejected(close=too_large), machine) == (too_large,)
    assert machine.closed


def test_after_an_error_of_the_container_audio_is_dropped_until_the_next_session(machine):
    actions_of(START, machine)
    assert actions_of(BROKEN, machine) == (FinishSession(Error("no sync", "invalid_media")),)
    assert actions_of(BROKEN, machine) == ()
    assert actions_of(b"audio", machine) == ()
    assert actions_of(FlushRequest(), machine) == ()
    assert actions_of(b"audio", machine) == ()
    assert actions_of(Stop(), machine) == ()
    assert [type(action) for action in actions_of(b"audio", machine)] == [OpenSession, Audio]
    assert [type(action) for action in actions_of(START, machine)] == [FinishSession, OpenSession]
    actions_of(BROKEN, machine)
    assert [type(action) for action in actions_of(START, machine)] == [OpenSession]
