"""AssemblyAI's streaming API as a connection of the native wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection

from voxgate.client.wires.translated import TranslatedConnection
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start

__all__ = ["AssemblyAiConnection", "assemblyai_query", "check_assemblyai"]

_ENCODINGS: Final = {"s16": "pcm_s16le", "mulaw": "pcm_mulaw"}


def check_assemblyai(start: Start) -> None:
    """Raises ValueError for a start that the API cannot say."""
    form = start.format
    if not isinstance(form, AudioFormat) or form.channels != 1 or form.pcm_encoding not in _ENCODINGS:
        raise ValueError("the assemblyai wire carries one channel of s16 or mulaw")


def assemblyai_query(start: Start) -> str:
    """`start` in the API's words."""
    form = start.pcm
    fields: dict[str, Any] = {"sample_rate": form.sample_rate, "encoding": _ENCODINGS[form.pcm_encoding]}
    fields["format_turns"] = "true"
    if start.vad is not None and start.vad.silence_duration_ms is not None:
        fields["min_turn_silence"] = start.vad.silence_duration_ms
    for name, value in (start.options or {}).items():
        fields[name] = value if isinstance(value, str) else json.dumps(value)
    return urlencode(fields)


class AssemblyAiConnection(TranslatedConnection):
    """Says `Terminate` for `stop`. A turn is a segment whose times are those of its words."""

    words: ClassVar[Mapping[str, str]] = {"stop": "Terminate", "flush": "ForceEndpoint"}

    def __init__(self, websocket: ClientConnection, start: Start) -> None:
        super().__init__(websocket)
        self._interims = start.interim_results
        self._end_s = 0.0  # of the last turn

    def _read(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "Turn":
                self._read_turn(message)
            case "Error":
                self._tell(type="error", message=message["error"], code=str(message.get("error_code") or ""))
            case "Warning":
                code, _, text = message["warning"].partition(": ")
                is_ours = code.isidentifier()
                self._tell(
                    type="error",
                    message=text if is_ours else message["warning"],
                    code=code if is_ours else "warning",
                )

    def _read_turn(self, turn: dict[str, Any]) -> None:
        # Without formatting, the end of a turn comes a second time, formatted.
        is_final = turn["end_of_turn"] and turn["turn_is_formatted"]
        if not turn["transcript"] or not (is_final or self._interims):
            return
        spoken = turn["words"]
        start_s, end_s = (spoken[0]["start"] / 1000, spoken[-1]["end"] / 1000) if spoken else (self._end_s, self._end_s)
        words = [
            {
                "word": word["text"],
                "start": round(word["start"] / 1000 - start_s, 3),
                "end": round(word["end"] / 1000 - start_s, 3),
                "confidence": word["confidence"],
            }
            for word in spoken
        ]
        if is_final:
            self._tell(type="active", time=start_s)
            self._tell(type="inactive", time=end_s)
        times = {"start_time": start_s, "end_time": end_s, "is_final": is_final}
        self._tell(type="segment", **times, text=turn["transcript"], words=words)
        if is_final:
            self._end_s = end_s
