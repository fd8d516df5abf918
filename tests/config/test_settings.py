"""The defaults of the settings."""

from __future__ import annotations

import pytest

from helpers.settings import load
from voxgate.config import Config, ModelSettings


def test_the_defaults_are_those_of_the_contract() -> None:
    config = load()
    assert config == Config()
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8080)
    limits = config.limits
    assert (limits.channels, limits.min_sample_rate, limits.max_sample_rate) == (8, 4000, 192_000)
    assert (limits.message_bytes, limits.invalid_messages) == (2**20, 8)
    assert (limits.start_timeout_s, limits.idle_timeout_s) == (10.0, 60.0)
    assert config.vad.tunables() == {
        "threshold": 0.5,
        "negative_threshold": 0.35,
        "prefix_padding_ms": 600,
        "suffix_padding_ms": 0,
        "silence_duration_ms": 600,
        "min_speech_ms": 90,
        "max_segment_s": 30.0,
        "interim_interval_ms": 500,
    }
    assert (config.vad.detector, config.vad.weights) == ("silero", None)
    assert config.model == ModelSettings(name="auto", options={})


def test_settings_are_frozen() -> None:
    config = load()
    with pytest.raises(AttributeError):
        config.server.port = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        config.server = config.server  # type: ignore[misc]


def test_by_default_nothing_waits_for_company_and_every_queue_is_bounded() -> None:
    inference = load().inference
    assert (inference.engine, inference.threads, inference.processes) == ("auto", 0, 0)
    assert (inference.max_batch_size, inference.max_batch_seconds, inference.batch_window_ms) == (16, 120.0, 0.0)
    assert (inference.max_jobs, inference.max_seconds) == (4096, 3600.0)
    assert (inference.stream_jobs, inference.stream_seconds) == (512, 600.0)
    assert (inference.deadline_s, inference.restart_backoff_s) == (60.0, 0.1)
