"""What an AssemblyAI client's query asks of a turn detector."""

from __future__ import annotations

from msgspec.structs import replace

from voxgate.endpoints.assemblyai.query import Streaming
from voxgate.endpoints.parameters import Parameters
from voxgate.errors import InvalidStart, shown
from voxgate.protocol.requests import TurnOptions, VadOptions
from voxgate.protocol.turn_ranges import TURN_RANGES
from voxgate.protocol.vad_ranges import VAD_RANGES

__all__ = ["with_silences", "with_turn_options"]


def with_turn_options(streaming: Streaming, query: bytes) -> Streaming:
    """For a server with a turn detector. Raises InvalidStart."""
    threshold = _threshold(Parameters(query).text("end_of_turn_confidence_threshold"))
    return with_silences(replace(streaming, start=replace(streaming.start, turn=TurnOptions(threshold=threshold))))


def with_silences(streaming: Streaming) -> Streaming:
    """The turn ends after the shortest silence if the detector is confident, and after the longest if it is not.
    Values out of range count as the nearest that is in it. Without a turn detector, nothing changes.
    """
    turn, vad, silences_ms = streaming.start.turn, streaming.start.vad, streaming.silences_ms
    if turn is None:
        return streaming
    shortest_ms = silences_ms.get("min_turn_silence", silences_ms.get("min_end_of_turn_silence_when_confident"))
    longest_ms = silences_ms.get("max_turn_silence")
    if shortest_ms is not None:  # it is that of the detector
        vad = None
        turn = replace(turn, min_silence_ms=_clamped("min_silence_ms", shortest_ms))
    if longest_ms is not None:
        allowed = VAD_RANGES["silence_duration_ms"]
        vad = VadOptions(silence_duration_ms=round(min(max(longest_ms, allowed.lowest), allowed.highest)))
        turn = replace(turn, max_silence_ms=_clamped("max_silence_ms", longest_ms))
    return replace(streaming, start=replace(streaming.start, turn=turn, vad=vad))


def _threshold(text: str | None) -> float | None:
    if text is None:
        return None
    name = "end_of_turn_confidence_threshold"
    try:
        if not text.isascii() or "_" in text or not 0 <= float(text) <= 1:
            raise ValueError
    except ValueError:
        raise InvalidStart(f"{name}: expected a number between 0 and 1, got {shown(text)}") from None
    return max(float(text), TURN_RANGES["threshold"].lowest)


def _clamped(name: str, number: int) -> int:
    return round(min(max(number, TURN_RANGES[name].lowest), TURN_RANGES[name].highest))
