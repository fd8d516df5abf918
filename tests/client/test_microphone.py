"""A microphone without a device: PortAudio's part is played by the test."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.scripted_server import Received, answering, serving_in_thread
from voxgate import client
from voxgate.client import Microphone, SourceError

DEVICES = [
    {"index": 0, "name": "Speakers", "max_input_channels": 0, "default_samplerate": 48_000.0},
    {"index": 1, "name": "Built-in Microphone", "max_input_channels": 1, "default_samplerate": 44_100.0},
    {"index": 2, "name": "USB Headset", "max_input_channels": 2, "default_samplerate": 16_000.0},
]


class PortAudioError(Exception):
    pass


class FakeAudio:
    """Like the module sounddevice: two devices, and a stream whose callback the test calls."""

    PortAudioError = PortAudioError

    def __init__(
        self, devices: list[dict[str, Any]] = DEVICES, on_start: Callable[[FakeAudio], None] | None = None
    ) -> None:
        self.devices = devices
        self.on_start = on_start
        self.options: dict[str, Any] = {}
        self.open = False
        self.fails = ""

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        if device is None and kind is None:
            return self.devices
        inputs = [one for one in self.devices if one["max_input_channels"] > 0]
        if device is None:
            if not inputs:
                raise PortAudioError("Error querying device -1")
            return inputs[0]
        found = [one for one in inputs if device in (one["index"],) or str(device).lower() in str(one["name"]).lower()]
        if not found:
            raise ValueError(f"No input device matching {device!r}")
        return found[0]

    def check_input_settings(self, device: int, channels: int, dtype: str, extra: None, rate: int) -> None:
        if channels > self.devices[device]["max_input_channels"]:
            raise PortAudioError("Invalid number of channels")

    def RawInputStream(self, **options: Any) -> FakeAudio:
        if self.fails:
            raise PortAudioError(self.fails)
        self.options = options
        return self

    def __enter__(self) -> FakeAudio:
        self.open = True
        if self.on_start is not None:
            self.on_start(self)
        return self

    def __exit__(self, *exception: object) -> None:
        self.open = False

    def say(self, data: bytes, overflow: bool = False) -> None:
        n_frames = len(data) // 2 // self.options["channels"]
        self.options["callback"](memoryview(data), n_frames, None, SimpleNamespace(input_overflow=overflow))


def heard(microphone: Microphone) -> bytes:
    return b"".join(microphone)


def test_the_default_device_in_its_own_rate() -> None:
    microphone = Microphone(backend=FakeAudio())
    assert microphone.name == "Built-in Microphone"
    assert microphone.format == client.AudioFormat(1, 44_100, 16, False)


def test_a_device_by_name_or_number_with_rate_and_channels() -> None:
    audio = FakeAudio(on_start=lambda audio: (audio.say(b"abcdefgh"), microphone.stop(), None)[-1])
    for device in ("headset", 2):
        microphone = Microphone(device, 8000, 2, backend=audio)
        assert heard(microphone) == b"abcdefgh"
        assert not audio.open
    options = {key: audio.options[key] for key in ("samplerate", "blocksize", "device", "channels", "dtype")}
    assert options == {"samplerate": 8000, "blocksize": 160, "device": 2, "channels": 2, "dtype": "int16"}


def test_what_was_heard_before_stop_is_given_and_nothing_after_it() -> None:
    def talk(audio: FakeAudio) -> None:
        audio.say(b"ab")
        audio.say(b"cd")
        microphone.stop()
        audio.say(b"ef")

    microphone = Microphone(backend=FakeAudio(on_start=talk))
    assert heard(microphone) == b"abcd"


def test_what_nobody_takes_in_time_is_dropped_counted_and_leaves_silence() -> None:
    microphone = Microphone("headset", queue_s=0.06, backend=FakeAudio(on_start=lambda audio: talk(audio)))
    block = b"\1" * 640  # 20 ms

    def talk(audio: FakeAudio) -> None:
        for _ in range(5):
            audio.say(block)

    blocks = iter(microphone)
    first = [next(blocks) for _ in range(3)]
    microphone._backend.say(block)
    microphone._backend.say(block, overflow=True)
    microphone.stop()
    rest = b"".join(blocks)
    assert b"".join(first) + rest == block * 3 + bytes(1280) + block * 2
    assert microphone.dropped_s == pytest.approx(0.04)
    assert microphone.n_overflows == 1


def test_a_device_that_is_pulled_out_is_told() -> None:
    microphone = Microphone(backend=FakeAudio(on_start=lambda audio: audio.options["finished_callback"]()))
    with pytest.raises(SourceError, match="Built-in Microphone was disconnected"):
        heard(microphone)


def test_no_such_device_lists_those_there_are() -> None:
    with pytest.raises(SourceError) as caught:
        Microphone("piano", backend=FakeAudio())
    assert str(caught.value) == (
        "no microphone 'piano' (No input device matching 'piano'); available devices:\n"
        "  1: Built-in Microphone\n  2: USB Headset"
    )
    with pytest.raises(SourceError, match=r"no default microphone.*no recording device"):
        Microphone(backend=FakeAudio(DEVICES[:1]))


def test_what_the_device_cannot_do_is_told() -> None:
    with pytest.raises(
        SourceError, match=r"Built-in Microphone does not support 2 channel\(s\) at 44100 Hz: Invalid number"
    ):
        Microphone(channels=2, backend=FakeAudio())
    audio = FakeAudio()
    audio.fails = "Device unavailable"
    with pytest.raises(SourceError, match="cannot open Built-in Microphone: Device unavailable"):
        heard(Microphone(backend=audio))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ModuleNotFoundError("No module named 'sounddevice'", name="sounddevice"),
            r"pip install 'voxgate\[microphone\]'",
        ),
        (OSError("PortAudio library not found"), "apt install libportaudio2"),
    ],
)
def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    def fail(name: str) -> Any:
        assert name == "sounddevice"
        raise error

    monkeypatch.setattr("voxgate.client.microphone.importlib.import_module", fail)
    with pytest.raises(SourceError, match=text):
        Microphone()


def test_a_microphone_is_streamed_until_it_is_stopped() -> None:
    sessions: list[Received] = []
    audio = FakeAudio(on_start=lambda audio: (audio.say(bytes(640)), microphone.stop(), None)[-1])
    microphone = Microphone("headset", backend=audio)
    with serving_in_thread(answering(sessions=sessions)) as addr:
        assert client.collect(microphone, addr=addr) == []
    assert sessions[0].start["format"]["sample_rate"] == 16_000
    assert len(sessions[0].audio) == 640
    with pytest.raises(ValueError, match="has its own"):
        client.stream(microphone, format=client.AudioFormat(1, 8000, 16, False))
