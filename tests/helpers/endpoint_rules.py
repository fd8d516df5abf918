"""Rules of endpointing: plain ones for tests by hand, and any for those by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from reference import endpoint_ref as ref
from voxgate._native.endpoint import EndpointConfig

__all__ = ["FRAME_SAMPLES", "plain_config", "rules"]

FRAME_SAMPLES = 10


def plain_config(**changes: Any) -> EndpointConfig:
    """Without padding; three frames of silence end a segment."""
    settings: dict[str, Any] = {
        "frame_samples": FRAME_SAMPLES,
        "prefix_samples": 0,
        "suffix_samples": 0,
        "silence_samples": 30,
        "min_speech_samples": 0,
        "max_segment_samples": 100_000,
    }
    return EndpointConfig(**(settings | changes))


def rules(**thresholds: st.SearchStrategy[float]) -> st.SearchStrategy[ref.Rules]:
    small = st.integers(0, 40)
    return st.builds(
        ref.Rules,
        frame_samples=st.integers(1, 9),
        prefix_samples=small,
        suffix_samples=small,
        silence_samples=small,
        min_speech_samples=small,
        max_segment_samples=st.integers(1, 60),
        interim_samples=st.integers(0, 30),
        speculate_samples=small,
        turn_samples=small,
        turn_max_samples=st.integers(0, 60),
        turn_window_samples=st.integers(1, 30),
        **thresholds,
    )
