"""The opponent of the load suite hears what Voxgate hears: otherwise it would be none."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from helpers.wire import encode, of_type, pieces, start, stream
from voxgate import recordings, vad
from voxgate.audio.files.read import read_audio

PATH = Path(__file__).parents[2] / "bench" / "load" / "plain_server.py"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    before = list(sys.path)
    spec = importlib.util.spec_from_file_location("plain_server", PATH)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = before
    config = uvicorn.Config(
        module.create_app(), port=0, ws="websockets-sansio", log_level="warning", log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    sock = config.bind_socket()
    sock.listen()  # from here on clients queue up, however late the thread begins
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    yield sock.getsockname()[1]
    server.should_exit = True
    thread.join()
    sock.close()


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_it_hears_the_same_utterances(port: int, rate: int) -> None:
    from voxgate.audio.soxr import resample

    planes, own_rate = read_audio(recordings.path("demo"))
    audio = encode(resample(planes, own_rate, rate))
    url = f"ws://127.0.0.1:{port}/api/v1/segmented"
    events = stream(url, start(rate), *pieces(audio, 2 * rate // 50))
    finals = of_type(events, "segment")
    expected = vad.segments(planes[0], own_rate, vad.VadConfig())
    assert len(finals) == len(of_type(events, "active")) == len(of_type(events, "inactive")) == len(expected) == 4
    times = [(final["start_time"], final["end_time"]) for final in finals]
    assert np.allclose(times, [tuple(segment)[:2] for segment in expected], atol=0.04)
    for final in finals:
        assert final["is_final"] is True
        assert final["count"] == round(16_000 * (final["end_time"] - final["start_time"]))


@pytest.mark.parametrize("channels", [1, 2])
def test_on_the_simple_route_all_audio_is_answered(port: int, channels: int) -> None:
    planes = np.zeros((channels, 20_000), np.float32)
    url = f"ws://127.0.0.1:{port}/api/v1/simple"
    events = stream(url, start(16_000, channels, "f32"), *pieces(encode(planes, "f32"), 1280 * channels))
    for channel in range(channels):
        mine = [event for event in events if event["channel"] == channel]
        assert [event["start_time"] for event in mine[1:]] == [event["end_time"] for event in mine[:-1]]
        assert (mine[0]["start_time"], mine[-1]["end_time"]) == (0, 1.25)
        assert sum(event["count"] for event in mine) == 20_000
