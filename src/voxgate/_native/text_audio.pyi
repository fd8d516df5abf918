from typing import Self, final

from typing_extensions import Buffer

@final
class TextAudio:
    n_bytes: int
    last_byte: int
    def __new__(cls, kind: str, count: Buffer) -> Self: ...
    def __call__(self, text: Buffer) -> bytes | None: ...
