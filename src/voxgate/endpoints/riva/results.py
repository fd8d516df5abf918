"""Results in Riva's messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voxgate.endpoints.riva.config import Recognition
from voxgate.endpoints.words import confidence_of, transcript_of, words_of
from voxgate.errors import InternalError
from voxgate.proto.riva import RecognizeResponse, StreamingRecognizeResponse
from voxgate.protocol.events import Segment
from voxgate.protocol.transcript import Word

__all__ = ["empty_result", "recording_results", "streaming_result"]


def streaming_result(segment: Segment, recognition: Recognition, request_id: str) -> bytes:
    """An encoded StreamingRecognizeResponse. Raises InternalError for a result that it cannot carry."""
    response = StreamingRecognizeResponse()
    response.id.value = request_id
    result = response.results.add(
        is_final=segment.is_final is not False,
        channel_tag=segment.channel + 1,
        audio_processed=segment.end_time,
    )
    text = _add_alternative(result, segment, recognition)
    if not result.is_final and isinstance(segment.stable_text, str) and text:
        result.stability = min(1.0, len(segment.stable_text) / len(text))
    return _encoded(response)


def empty_result(channel: int, end_s: float, request_id: str) -> bytes:
    """A final without words, in place of a result that failed."""
    response = StreamingRecognizeResponse()
    response.id.value = request_id
    result = response.results.add(is_final=True, channel_tag=channel + 1, audio_processed=end_s)
    result.alternatives.add()
    return _encoded(response)


def recording_results(segments: Sequence[Segment], recognition: Recognition, request_id: str) -> bytes:
    """An encoded RecognizeResponse. Raises as `streaming_result`."""
    response = RecognizeResponse()
    response.id.value = request_id
    for segment in sorted(segments, key=lambda segment: (segment.start_time, segment.channel)):
        result = response.results.add(channel_tag=segment.channel + 1, audio_processed=segment.end_time)
        _add_alternative(result, segment, recognition)
    return _encoded(response)


def _add_alternative(result: Any, segment: Segment, recognition: Recognition) -> str:
    """Adds what the model understood to a result; returns the text as the model gave it."""
    transcript = transcript_of(segment)
    words = words_of(segment, transcript)
    # Clients join the transcripts of finals as they are: those of Riva end with a space.
    text = f"{transcript.text.rstrip()} " if segment.is_final is not False and transcript.text else transcript.text
    try:
        alternative = result.alternatives.add(transcript=text, confidence=confidence_of(words))
        for word in words if recognition.word_times else ():
            _add_word(alternative, word, recognition.speakers)
    except ValueError:  # text that UTF-8 cannot carry, or a number beyond 32 bits
        raise InternalError("the result cannot be encoded for Riva's clients") from None
    return transcript.text


def _add_word(alternative: Any, word: Word, speakers: bool) -> None:
    speaker = word.speaker if speakers else None
    alternative.words.add(
        word=word.text,
        start_time=round(word.start_s * 1000),
        end_time=round(word.end_s * 1000),
        confidence=1.0 if word.confidence is None else word.confidence,
        speaker_tag=int(speaker) if speaker is not None and speaker.isdecimal() else 0,
    )


def _encoded(response: Any) -> bytes:
    data: bytes = response.SerializeToString()
    return data
