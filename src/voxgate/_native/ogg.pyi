from typing import Final, Literal, Self, final

HEAD: Final[int]
PACKET: Final[int]
MAX_PACKET_BYTES: Final[int]
MAX_SKIPPED_BYTES: Final[int]

@final
class OggDemuxer:
    def __new__(cls) -> Self: ...
    def feed(self, data: bytes) -> None: ...
    def read(
        self,
    ) -> tuple[int, Literal["opus", "flac"], bytes] | tuple[int, bytes, int, int, int, int, int] | None: ...
    @property
    def error(self) -> tuple[Literal["broken", "unsupported", "limit"], str] | None: ...
    @property
    def n_pages_lost(self) -> int: ...
    @property
    def is_truncated(self) -> bool: ...
