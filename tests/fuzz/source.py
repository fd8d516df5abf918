"""Values out of a fuzzer's bytes: its input alone decides what a target does, so every finding can be run again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Source:
    """Takes numbers, choices and bytes off the front of `data`; when it is used up, everything is 0."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._pos

    def take(self, n_bytes: int) -> bytes:
        """At most `n_bytes`."""
        self._pos += (taken := len(self._data[self._pos : self._pos + n_bytes]))
        return self._data[self._pos - taken : self._pos]

    def rest(self) -> bytes:
        return self.take(self.left)

    def integer(self, low: int, high: int) -> int:
        """Both ends included."""
        n_values = high - low + 1
        n_bytes = (n_values.bit_length() + 7) // 8
        return low + int.from_bytes(self.take(n_bytes), "little") % n_values

    def size(self, high: int) -> int:
        """0..high, of any magnitude: small ones are as likely as large ones."""
        return self.integer(0, high) >> self.integer(0, high.bit_length())

    def flag(self) -> bool:
        return bool(self.integer(0, 1))

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.integer(0, len(choices) - 1)]

    def pieces(self, data: bytes, n_pieces: int) -> list[bytes]:
        """`data` cut at places of the source's choice."""
        cuts = sorted(self.integer(0, len(data)) for _ in range(n_pieces - 1))
        return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def plane(self, n_samples: int) -> NDArray[np.float32]:
        """Samples within -1..1: noise of a level that the source chooses, now and then a step."""
        level = 10.0 ** -self.integer(0, 5)
        rng = np.random.default_rng(self.integer(0, 255))
        return (level * rng.uniform(-1, 1, n_samples)).astype(np.float32)

    # JSON, as clients may send it: nearly right, or not at all

    def json_text(self) -> str:
        kinds = ("plain", "escapes", "wild")
        kind = self.pick(kinds)
        if kind == "wild":
            return json.dumps(self.take(self.integer(0, 20)).decode("utf-8", "replace"), ensure_ascii=self.flag())
        if kind == "escapes":
            return self.pick(['"\\ud800"', '"\\u0000"', '"\\/\\b"', '"\\x"', '"\\ud83d\\ude00"', '"é…"', '"\t"'])
        return self.pick(['""', '"mulaw"', '"alaw"', '"stop"', '"start"', '"nonsense"', '"' + "x" * 200 + '"'])

    def json_number(self) -> str:
        odd = ("0", "-0", "-0.0", "1e400", "1e-400", "NaN", "Infinity", "01", "1.", "9" * 30, "-" + "9" * 500, "16e3")
        kind = self.integer(0, 3)
        if kind == 0:
            return self.pick(odd)
        if kind == 1:
            return str(self.integer(-(2**63), 2**64))
        if kind == 2:
            return repr(self.integer(-(2**31), 2**31) / 1000)
        return str(self.pick((1, 2, 8, 9, 16, 24, 32, 64, 4000, 8000, 16_000, 192_000)))

    def json_value(self, depth: int = 0) -> str:
        kind = self.integer(0, 6)
        if kind == 0 or depth > 4:
            return self.json_number()
        if kind == 1:
            return self.json_text()
        if kind == 2:
            return self.pick(["true", "false", "null", "nul", ""])
        if kind == 3:
            return "[" + ",".join(self.json_value(depth + 1) for _ in range(self.integer(0, 3))) + "]"
        if kind == 4:
            return self.json_object({}, depth + 1)
        if kind == 5:
            return "[" * (n_deep := self.pick((1, 10, 2000))) + "]" * n_deep
        return self.json_number()

    def json_object(self, usual: dict[str, str], depth: int = 0) -> str:
        """An object with the `usual` fields (values are JSON), some of them wrong, missing, doubled or unknown."""
        fields = []
        for name, value in usual.items():
            fate = self.integer(0, 15)
            if fate == 1:
                continue
            if fate == 2:
                value = self.json_value(depth + 1)
            fields.append(f'"{name}":{value}')
            if fate == 3:
                fields.append(f'"{name}":{self.json_value(depth + 1)}')
        fields += [f"{self.json_text()}:{self.json_value(depth + 1)}" for _ in range(self.size(3))]
        space = " " if self.flag() else ""
        return "{" + f",{space}".join(fields) + "}"
