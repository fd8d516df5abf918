"""A model whose calls take a fixed time, for `make bench-turns`: voxgate serve --model turn_model:FixedTime"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from voxgate.models import Model
from voxgate.models.base import Samples
from voxgate.models.moonshine import Moonshine


class FixedTime(Model):
    """Every call takes `seconds`. With `words`, its text is that of moonshine, which runs within this time."""

    name = "fixed"
    threads = 2

    def __init__(self, *, seconds: float = 0.3, words: bool = False) -> None:
        self._seconds = seconds
        self._words = Moonshine(batch=False) if words else None

    def warm_up(self) -> None:
        if self._words is not None:
            self._words.warm_up()

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        until_s = time.monotonic() + self._seconds
        answer: Mapping[str, Any] = {"text": ""} if self._words is None else self._words.infer(audio)
        time.sleep(max(0.0, until_s - time.monotonic()))
        return answer
