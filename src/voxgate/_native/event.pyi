from typing import Final, final

import numpy as np
import numpy.typing as npt

SPEECH_START: Final[int]
SPEECH_END: Final[int]
SPEECH_CUT: Final[int]
INTERIM: Final[int]
SPECULATE: Final[int]
RESUMED: Final[int]
QUESTION: Final[int]

@final
class VadEvent:
    def __init__(
        self, kind: int, channel: int, start_pos: int, end_pos: int, audio: npt.NDArray[np.float32] | None = None
    ) -> None: ...
    @property
    def kind(self) -> int: ...
    @property
    def channel(self) -> int: ...
    @property
    def start_pos(self) -> int: ...
    @property
    def end_pos(self) -> int: ...
    @property
    def audio(self) -> npt.NDArray[np.float32] | None: ...

@final
class EventBuffer: ...
