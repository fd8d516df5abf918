"""OpenAI's Realtime API, for transcription, as a connection of the native wire."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close

from voxgate.client.wires.translated import TranslatedConnection
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.requests import Start

__all__ = ["OpenAiConnection", "check_openai"]

_FORMATS: Final = {"s16": "audio/pcm", "mulaw": "audio/pcmu", "alaw": "audio/pcma"}
_EMPTY: Final = "input_audio_buffer_commit_empty"


def check_openai(start: Start) -> None:
    """Raises ValueError for a start that the API cannot say."""
    form = start.format
    if not isinstance(form, AudioFormat) or form.channels != 1 or form.pcm_encoding not in _FORMATS:
        raise ValueError("the openai wire carries one channel of s16, mulaw or alaw")


class OpenAiConnection(TranslatedConnection):
    """A commit ends the audio; a `clear` behind it marks where the answers to the commit end."""

    def __init__(self, websocket: ClientConnection, start: Start) -> None:
        super().__init__(websocket)
        self._start = start
        self._begins: dict[str, float] = {}  # s, of items that are not complete
        self._ends: dict[str, float] = {}
        self._texts: dict[str, str] = {}
        self._last_end_s = 0.0
        self._is_cleared = False

    async def send(self, message: str | bytes | memoryview, /) -> None:
        if not isinstance(message, str):
            audio = base64.b64encode(message).decode()
            await self._say({"type": "input_audio_buffer.append", "audio": audio})
        elif json.loads(message)["request"] == "start":
            await self._say({"type": "session.update", "session": self._session()})
        else:
            await self._say({"type": "input_audio_buffer.commit"})
            await self._say({"type": "input_audio_buffer.clear"})

    async def _receive(self) -> None:
        if self._is_cleared and not self._begins:
            await self._websocket.close()
            end = Close(1000, "")
            raise ConnectionClosedOK(end, end, True)
        await super()._receive()

    def _session(self) -> dict[str, Any]:
        form = self._start.pcm
        audio: dict[str, Any] = {"format": {"type": _FORMATS[form.pcm_encoding]}}
        if form.pcm_encoding == "s16":
            audio["format"]["rate"] = form.sample_rate
        if (vad := self._start.vad) is not None:
            names = ("threshold", "prefix_padding_ms", "silence_duration_ms")
            given = {name: value for name in names if (value := getattr(vad, name)) is not None}
            audio["turn_detection"] = {"type": "server_vad", **given}
        audio["transcription"] = {"model": "gpt-4o-transcribe", **(self._start.options or {})}
        return {"type": "transcription", "audio": {"input": audio}}

    def _read(self, event: dict[str, Any]) -> None:
        item, kind = event.get("item_id", ""), event["type"]
        match kind.rpartition(".")[2]:
            case "speech_started":
                self._begins[item] = event["audio_start_ms"] / 1000
                self._tell(type="active", time=self._begins[item])
            case "speech_stopped":
                self._ends[item] = event["audio_end_ms"] / 1000
                self._tell(type="inactive", time=self._ends[item])
            case "committed":
                self._begins.setdefault(item, self._last_end_s)
            case "delta" if self._start.interim_results:
                self._texts[item] = self._texts.get(item, "") + event["delta"]
                begin_s = self._begins.get(item, self._last_end_s)
                self._tell(type="segment", start_time=begin_s, end_time=begin_s, is_final=False, text=self._texts[item])
            case "completed" | "failed":
                self._complete(item, event)
            case "cleared":
                self._is_cleared = True
            case "error" if event["error"].get("code") != _EMPTY:
                self._tell(type="error", message=event["error"]["message"], code=event["error"].get("code") or "")

    def _complete(self, item: str, event: dict[str, Any]) -> None:
        begin_s = self._begins.pop(item, self._last_end_s)
        seconds = (event.get("usage") or {}).get("seconds", 0.0)
        end_s = self._last_end_s = self._ends.pop(item, begin_s + seconds)
        self._texts.pop(item, None)
        if "error" in event:
            self._tell(type="error", message=event["error"]["message"], code=event["error"].get("code") or "")
        elif event["transcript"] or end_s > begin_s:  # a commit of nothing has an empty item
            self._tell(type="segment", start_time=begin_s, end_time=end_s, is_final=True, text=event["transcript"])
