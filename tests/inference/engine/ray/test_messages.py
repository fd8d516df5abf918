from __future__ import annotations

import msgspec
import numpy as np

from voxgate.inference.engine.processes.messages import Answer
from voxgate.inference.engine.processes.outcomes import SentResult
from voxgate.inference.engine.ray.messages import Call, PlacedAnswer, ReplicaAnswer, ServerMessage


def test_audio_crosses_as_it_is() -> None:
    audio = np.arange(6, dtype=np.float32).reshape(2, 3)
    call = Call(7, b"call", audio.reshape(-1).view(np.uint8).data, "replica", True)
    back = msgspec.msgpack.decode(msgspec.msgpack.encode(call), type=ServerMessage)
    assert isinstance(back, Call)
    assert (back.number, back.call, back.replica, back.streams) == (7, b"call", "replica", True)
    assert np.frombuffer(back.audio, np.float32).tolist() == audio.reshape(-1).tolist()


def test_an_answer_of_an_older_or_newer_version_is_understood() -> None:
    answer = PlacedAnswer(Answer([SentResult(b'"a":1', None, [])], False), "r1")
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(answer))
    for sent in (fields[:3], [*fields, "of a later version"]):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=ReplicaAnswer) == answer
