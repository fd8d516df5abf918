"""How long decoding and detection take. A little of all audio is timed, because timing costs more than decoding."""

from __future__ import annotations

from voxgate.observe.metrics import Tally

TIMED_S = 0.02
UNTIMED_S = 3.98


class Timing:
    """Times the messages of one session that carry the first 20 ms of each four seconds of audio."""

    __slots__ = (
        *("_decode_s", "_frames", "_n_channels", "_rate", "_tally", "_timed_frames", "_vad_s", "_worked_s"),
        "due_frames",
    )

    def __init__(self, tally: Tally, n_channels: int, rate: int) -> None:
        self._tally = tally
        self._n_channels = n_channels
        self._rate = rate
        self.due_frames = 0
        """When this many frames were received, the next message is timed."""
        self._frames = 0  # since the current tenth began
        self._decode_s = self._vad_s = 0.0
        self._timed_frames = 0  # since the session began
        self._worked_s = 0.0

    @property
    def factor(self) -> float:
        """Seconds of work per second of timed audio, all channels together; 0 before the first."""
        return self._worked_s * self._rate / self._timed_frames if self._timed_frames else 0.0

    def add(self, received_frames: int, frames: int, decode_s: float, vad_s: float) -> None:
        """A message of `frames` was timed; `received_frames`: with it. `vad_s` 0: there is no detector."""
        self._frames += frames
        self._decode_s += decode_s
        self._vad_s += vad_s
        if self._frames < TIMED_S * self._rate:
            return
        tally, audio_s = self._tally, self._frames * self._n_channels / self._rate
        tally.factors["decode"].observe(self._decode_s / audio_s)
        tally.stages_s["decode"].observe(decode_s)
        if self._vad_s:
            tally.factors["vad"].observe(self._vad_s / audio_s)
            tally.stages_s["vad"].observe(vad_s)
        self._timed_frames += self._frames
        self._worked_s += self._decode_s + self._vad_s
        self._frames, self._decode_s, self._vad_s = 0, 0.0, 0.0
        self.due_frames = received_frames + int(UNTIMED_S * self._rate)
