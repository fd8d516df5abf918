"""Speech for the APIs of other services, and what their clients say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from helpers.wire import Client, bursts, encode, pieces

__all__ = ["TALK", "TWO", "Talk", "say", "words_of_length"]

TALK = encode(bursts((1.0, 2.0), (3.5, 4.25), length_s=6.0))
TWO = encode(np.stack([bursts((0.5, 1.5), length_s=4.0), bursts((2.0, 2.75), length_s=4.0, seed=1)]))


def words_of_length(audio: Any) -> dict[str, Any]:
    """A model with a text: how much audio it got, in words with times."""
    n_ms = round(len(audio) / 16)
    return {"text": f"Some {n_ms} words.", "words": [_word("Some", 0.1, 0.2), _word(f"{n_ms}", 0.2, 0.3)]}


def _word(text: str, start: float, end: float) -> dict[str, Any]:
    return {"word": text, "start": start, "end": end, "probability": 0.5}


class Talk(Client):
    """A client that sends JSON objects and audio, and collects what comes back."""

    def say(self, *messages: dict[str, Any] | bytes | str) -> None:
        self.send(*messages)

    def say_audio(self, data: bytes, size: int = 640) -> None:
        self.send(*pieces(data, size))


def say(url: str, *messages: dict[str, Any] | bytes, **options: Any) -> list[dict[str, Any]]:
    """Sends everything; all messages up to the close, which must be a clean one."""
    with Client(url, **options) as client:
        client.send(*[json.dumps(message) if isinstance(message, dict) else message for message in messages])
        answers = client.rest()
        assert client.close_code == 1000, (client.close_code, client.close_reason, answers)
    return answers
