"""What holds for the messages of Deepgram's Flux, whatever the client and the audio."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

__all__ = ["FluxLaw"]


class FluxLaw:
    """Checks the messages of one stream, in order."""

    def __init__(self) -> None:
        self._n_messages = self._index = 0
        self._eager: str | None = None
        self._has_started = False
        self._end_s = 0.0
        self.told: list[tuple[str, str]] = []
        """Of each TurnInfo but an Update: the event and the transcript."""

    def check(self, messages: Iterable[str | dict[str, Any]]) -> None:
        for message in messages:
            fields = json.loads(message) if isinstance(message, str) else message
            assert fields["sequence_id"] == self._n_messages, fields
            self._n_messages += 1
            if fields["type"] == "TurnInfo":
                self._turn_info(fields)
            else:
                assert fields["type"] in ("Connected", "ConfigureSuccess", "ConfigureFailure", "Warning", "Error")

    def _turn_info(self, fields: dict[str, Any]) -> None:
        event, text = fields["event"], fields["transcript"]
        assert fields["turn_index"] == self._index
        assert 0 <= fields["audio_window_start"] <= fields["audio_window_end"]
        assert fields["audio_window_end"] >= self._end_s
        self._end_s = fields["audio_window_end"]
        assert 0 <= fields["end_of_turn_confidence"] <= 1
        assert isinstance(fields["words"], list)
        assert ("trigger" in fields) == (event == "EndOfTurn")
        if event != "Update":
            self.told.append((event, text))
        match event:
            case "Update":
                assert self._eager in (None, text)
                assert self._has_started or not text
            case "StartOfTurn":
                assert not self._has_started
                assert text
                self._has_started = True
            case "EagerEndOfTurn":
                assert self._has_started
                assert self._eager is None
                assert text
                self._eager = text
            case "TurnResumed":
                assert self._eager is not None
                self._eager = None
            case "EndOfTurn":
                assert self._has_started
                assert self._eager in (None, text)
                assert fields["trigger"] in ("model", "manual", "timeout")
                self._has_started, self._eager = False, None
                self._index += 1
            case _:
                raise AssertionError(f"no event of Flux: {event}")
