"""The transcript of a whole file, and how OpenAI's formats say it."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Sequence
from typing import Any, Final

from voxgate.endpoints.openai.options import ResponseFormat, TranscriptionOptions
from voxgate.endpoints.words import transcript_of, words_of
from voxgate.protocol.events import Segment
from voxgate.protocol.subtitles import Cue, srt, vtt
from voxgate.protocol.transcript import Transcript, Word

__all__ = ["CONTENT_TYPES", "Transcription"]

CONTENT_TYPES: Final[dict[ResponseFormat, str]] = {
    "json": "application/json",
    "verbose_json": "application/json",
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}
UNKNOWN_LANGUAGE: Final = "unknown"


class Transcription:
    """Collects the finals of one file, which come in the order of its audio."""

    def __init__(self) -> None:
        self._segments: list[tuple[Segment, Transcript]] = []
        self.duration_s = 0.0
        """Of the audio; the end of the last segment until the whole is known."""

    def add(self, segment: Segment) -> str:
        """Adds a final. Returns what it appends to the text, with the space in front of it; empty for a result without
        words.
        """
        transcript = transcript_of(segment)
        self.duration_s = max(self.duration_s, segment.end_time)
        text = transcript.text.strip()
        if not text:
            return ""
        is_first = not self._segments
        self._segments.append((segment, transcript))
        return text if is_first else f" {text}"

    @property
    def text(self) -> str:
        return " ".join(transcript.text.strip() for _, transcript in self._segments)

    @property
    def usage(self) -> dict[str, Any]:
        return {"type": "duration", "seconds": round(self.duration_s, 3)}

    def deltas(self) -> list[str]:
        """What `add` has returned, without the empty ones."""
        return [
            f"{' ' * (number > 0)}{transcript.text.strip()}" for number, (_, transcript) in enumerate(self._segments)
        ]

    def encode(self, options: TranscriptionOptions) -> str:
        """The body of the response, in the format that the client asked for."""
        match options.response_format:
            case "json":
                return json.dumps({"text": self.text, "usage": self.usage}, ensure_ascii=False)
            case "verbose_json":
                return json.dumps(self._verbose(options), ensure_ascii=False)
            case "text":
                return f"{self.text}\n"
            case "srt":
                return srt(self._cues())
            case "vtt":
                return vtt(self._cues())

    def _cues(self) -> list[Cue]:
        return [Cue(segment.start_time, segment.end_time, transcript.text) for segment, transcript in self._segments]

    def _verbose(self, options: TranscriptionOptions) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "task": "transcribe",
            "language": self._language(options),
            "duration": round(self.duration_s, 3),
            "text": self.text,
        }
        if "segment" in options.granularities:
            fields["segments"] = [
                _verbose_segment(number, segment, transcript)
                for number, (segment, transcript) in enumerate(self._segments)
            ]
        if "word" in options.granularities:
            fields["words"] = [
                {"word": word.text, "start": round(word.start_s, 3), "end": round(word.end_s, 3)}
                for segment, transcript in self._segments
                for word in words_of(segment, transcript)
            ]
        return {**fields, "usage": self.usage}

    def _language(self, options: TranscriptionOptions) -> str:
        found = (segment.output.get("language") for segment, _ in self._segments)
        return next((name for name in found if isinstance(name, str)), options.language or UNKNOWN_LANGUAGE)


def _verbose_segment(number: int, segment: Segment, transcript: Transcript) -> dict[str, Any]:
    text = transcript.text.strip()
    encoded = text.encode()
    return {
        "id": number,
        "seek": 0,
        "start": round(segment.start_time, 3),
        "end": round(segment.end_time, 3),
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": _mean_log(transcript.words),
        "compression_ratio": round(len(encoded) / len(zlib.compress(encoded)), 3),
        "no_speech_prob": 0.0,
    }


def _mean_log(words: Sequence[Word]) -> float:
    """The mean logarithm of the words' confidence; 0 when the model gives none."""
    logs = [math.log(max(word.confidence, 1e-6)) for word in words if word.confidence is not None]
    return round(sum(logs) / len(logs), 4) if logs else 0.0
