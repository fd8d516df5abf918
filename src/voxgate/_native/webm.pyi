from typing import Final, Literal, Self, final

HEAD: Final[int]
PACKET: Final[int]
MAX_BLOCK_BYTES: Final[int]
MAX_PRIVATE_BYTES: Final[int]
MAX_SKIPPED_BYTES: Final[int]
MAX_TRACKS: Final[int]

@final
class WebmDemuxer:
    def __new__(cls) -> Self: ...
    def feed(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def read(
        self,
    ) -> (
        tuple[int, Literal["opus", "flac"], bytes, int, float, int] | tuple[int, bytes, int, int, int, int, int] | None
    ): ...
    @property
    def n_parts(self) -> int: ...
    @property
    def error(self) -> tuple[Literal["broken", "unsupported", "limit"], str] | None: ...
    @property
    def is_truncated(self) -> bool: ...
