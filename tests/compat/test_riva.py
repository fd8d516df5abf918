"""nvidia-riva-client, unchanged, against a real server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("grpc")

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from helpers.uploads import wav
from helpers.wire import Client
from helpers.wires import TALK, failing_first, words_of_length
from voxgate.proto.riva import API


def asked(server, **options):
    return {"port": server.server.grpc_port, **options}


@pytest.fixture
def wav_of(tmp_path):
    def write(recording):
        path = tmp_path / f"{recording.path.stem}.wav"
        path.write_bytes(wav(recording.path.read_bytes(), recording.rate))
        return path

    return write


@pytest.mark.parametrize("kind", ["file", "mic", "offline"])
@pytest.mark.parametrize("name", ["demo", "reading"])
def test_transcripts_and_times(run_sdk, speech_server, speech, wav_of, kind, name):
    spoken = speech(name)
    path = spoken.path if kind == "mic" else wav_of(spoken)
    config = {"enable_word_time_offsets": True}
    found = run_sdk("riva", "riva_asr", speech_server, path, **asked(speech_server, kind=kind, config=config))
    assert found["errors"] == []
    assert [final["text"].rstrip() for final in found["finals"]] == spoken.texts
    if kind != "offline":
        assert found["facts"]["printed"] == spoken.texts
    for final, segment in zip(found["finals"], spoken.segments, strict=True):
        assert " ".join(word for word, _, _ in final["words"]) == final["text"].rstrip()
        times = [time / 1000 for _, *span in final["words"] for time in span]
        assert times == sorted(times)
        assert segment["start_time"] - 0.002 <= times[0] <= times[-1] <= segment["end_time"] + 0.002
        assert final["processed_s"] == pytest.approx(segment["end_time"], abs=0.002)


def test_two_channels(run_sdk, speech_server, speech, tmp_path):
    spoken = speech("demo")
    mono = np.frombuffer(spoken.path.read_bytes(), "<i2")
    both = tmp_path / "stereo.raw"
    both.write_bytes(np.stack([mono, np.roll(mono, 16_000 * 6)], axis=1).tobytes())
    config = {"audio_channel_count": 2, "enable_separate_recognition_per_channel": True}
    found = run_sdk("riva", "riva_asr", speech_server, both, **asked(speech_server, kind="mic", config=config))
    assert found["errors"] == []
    assert [final["text"].rstrip() for final in found["finals"] if final["channel"] == 1] == spoken.texts
    assert [final for final in found["finals"] if final["channel"] == 2]


def test_the_models_and_the_descriptors(run_sdk, speech_server, speech):
    found = run_sdk("riva", "riva_asr", speech_server, speech("demo").path, **asked(speech_server, kind="models"))
    assert found["errors"] == []
    assert [(name, facts["type"]) for name, facts in found["facts"]["models"]] == [
        ("moonshine", "online"),
        ("moonshine", "offline"),
    ]
    theirs = [FileDescriptorProto.FromString(bytes.fromhex(data)) for data in found["facts"]["descriptors"]]
    assert described(theirs) == described(API.files)


def described(files: Iterable[Any]) -> set[Any]:
    """Every name, number and type that shows on the wire."""
    found: set[Any] = set()
    for file in files:
        for message in file.message_type:
            found |= fields_of(message)
        found |= {(enum.name, value.name, value.number) for enum in file.enum_type for value in enum.value}
        for service in file.service:
            for method in service.method:
                kinds = (method.input_type, method.output_type, method.client_streaming, method.server_streaming)
                found.add((file.package, service.name, method.name, *kinds))
    return found


def fields_of(message: DescriptorProto) -> set[Any]:
    own = {(message.name, one.name, one.number, one.type, one.label, one.type_name) for one in message.field}
    return own.union(*map(fields_of, message.nested_type))


def test_a_wrong_key(run_sdk, speech_server, speech):
    found = run_sdk("riva", "riva_asr", speech_server, speech("demo").path, key="another", **asked(speech_server))
    (error,) = found["errors"]
    assert error.startswith("UNAUTHENTICATED:")


def test_a_full_server(run_sdk, serve, tmp_path):
    server = serve(words_of_length, **{"limits.streams": 1, "grpc.port": 0})
    (tmp_path / "talk.raw").write_bytes(TALK)
    with Client(server.url()):
        found = run_sdk("riva", "riva_asr", server, tmp_path / "talk.raw", **asked(server, kind="mic"))
    (error,) = found["errors"]
    assert error.startswith("RESOURCE_EXHAUSTED:")


def test_one_utterance_that_fails(run_sdk, serve, tmp_path):
    settings = {"inference.warm_up": False, "vad.speculate_ms": 0, "vad.interim_interval_ms": 60_000}
    server = serve(failing_first(), **settings, **{"grpc.port": 0})
    (tmp_path / "talk.raw").write_bytes(TALK)
    found = run_sdk("riva", "riva_asr", server, tmp_path / "talk.raw", **asked(server, kind="mic"))
    assert found["errors"] == ["INTERNAL: not this one"]
