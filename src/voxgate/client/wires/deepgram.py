"""Deepgram's live API as a connection of the native wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from voxgate.client.wires.translated import TranslatedConnection
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start

__all__ = ["DeepgramConnection", "check_deepgram", "deepgram_query"]

_ENCODINGS: Final = {"s16": "linear16", "f32": "linear32", "mulaw": "mulaw", "alaw": "alaw"}


def check_deepgram(start: Start) -> None:
    """Raises ValueError for a start that the API cannot say."""
    form = start.format
    if isinstance(form, AudioFormat) and form.pcm_encoding not in _ENCODINGS:
        raise ValueError(f"the deepgram wire carries {', '.join(_ENCODINGS)}, not {form.pcm_encoding}")


def deepgram_query(start: Start) -> str:
    """`start` in the API's words."""
    fields: list[tuple[str, Any]] = []
    form = start.format
    if isinstance(form, AudioFormat):
        fields += [("encoding", _ENCODINGS[form.pcm_encoding]), ("sample_rate", form.sample_rate)]
        fields += [("channels", form.channels)] + [("multichannel", "true")] * (form.channels > 1)
    fields += [("interim_results", "true" if start.interim_results else "false")]
    if start.vad is not None and start.vad.silence_duration_ms is not None:
        fields.append(("endpointing", start.vad.silence_duration_ms))
    for name, value in (start.options or {}).items():
        fields += [(name, item) for item in (value if isinstance(value, list) else [value])]
    return urlencode([(name, json.dumps(value) if isinstance(value, bool) else value) for name, value in fields])


class DeepgramConnection(TranslatedConnection):
    """Says `CloseStream` for `stop`; the results of finals with words, and those of interims, are segments."""

    words: ClassVar[Mapping[str, str]] = {"stop": "CloseStream", "flush": "Finalize"}

    def _read(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "Results":
                self._read_result(message)
            case "Error":
                code = message.get("variant") or message.get("code") or ""
                self._tell(type="error", message=message.get("description") or "", code=code)

    def _read_result(self, result: dict[str, Any]) -> None:
        best = result["channel"]["alternatives"][0]
        channel, start_s, end_s = result["channel_index"][0], result["start"], result["start"] + result["duration"]
        if best["transcript"]:
            # The API announces the next speech before the final of the one before, and not which it belongs to.
            if result["is_final"]:
                self._tell(channel, type="active", time=start_s)
                self._tell(channel, type="inactive", time=end_s)
            words = [
                {"word": word.get("punctuated_word") or word["word"], **_times(word, start_s)} for word in best["words"]
            ]
            times = {"start_time": start_s, "end_time": end_s, "is_final": result["is_final"]}
            self._tell(channel, type="segment", **times, text=best["transcript"], words=words)


def _times(word: dict[str, Any], start_s: float) -> dict[str, Any]:
    """Relative to the segment."""
    times = {name: round(word[name] - start_s, 3) for name in ("start", "end")}
    return {**times, "confidence": word["confidence"]}
