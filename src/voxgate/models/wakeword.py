"""Wake words in a stream: microWakeWord's networks, with a state for each channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from voxgate.models.base import Model, Samples
from voxgate.models.optional import Needs
from voxgate.models.ranges import check_number
from voxgate.models.request import Request

__all__ = ["WORDS", "WakeWord"]

WORDS = ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu")
"""The words whose networks are in the package."""

_RATE_HZ = 16_000
_HOP_SAMPLES = 160
"""Audio of one vector of features, 10 ms."""


class WakeWord(Model):
    """Recognises "Okay Nabu", "Hey Jarvis", "Hey Mycroft" and "Alexa" in a stream, on hardly any CPU.

    For the stateful route: it gets all audio of a channel, also silence, and answers only when a word was said:

    ``wakeword``
        which, as in the option `words`.
    ``time``
        when it was recognised, in seconds since the start of the session: 0.2 to 0.9 s after the word ended.
    ``score``
        how certain that is, 0..1: the mean of the last five values of the network, which gives one each 30 ms.
    ``more``
        only when one call recognised several: a list of ``{"wakeword", "time", "score"}`` for the further ones.

    After a word, the same word counts again when `refractory_s` is over. How the audio is cut into calls changes
    nothing. The networks were trained on English voices (okay_nabu on seven languages).
    """

    name = "wakeword"
    sample_rate = _RATE_HZ
    gives_text = False
    needs: ClassVar[Needs] = Needs("wakeword", "pymicro_wakeword", "wakeword")

    def __init__(
        self, *, words: list[str] | None = None, threshold: float | None = None, refractory_s: float = 2.0
    ) -> None:
        """words: which to recognise; None: all. threshold: the score above which a word was said, 0..1; None: that of
        its network, 0.85 to 0.97. refractory_s: 0..60.

        Raises ValueError for another value, and for an unknown word or none; ModelLoadError without the package.
        """
        self.words = list(WORDS if words is None else dict.fromkeys(words))
        unknown = [word for word in self.words if word not in WORDS]
        if unknown or not self.words:
            found = ", ".join(map(repr, unknown)) or "none"
            raise ValueError(f"words must be some of {', '.join(WORDS)}, not {found}")
        self.threshold = None if threshold is None else check_number("threshold", threshold, 0.0, 1.0)
        self.refractory_s = check_number("refractory_s", refractory_s, 0.0, 60.0)
        self._package = self.needs.load()

    def open(self, request: Request) -> _Channel:
        words = self._package.Model
        networks = {word: self._package.MicroWakeWord.from_builtin(words(word)) for word in self.words}
        thresholds = {
            word: network.probability_cutoff if self.threshold is None else self.threshold
            for word, network in networks.items()
        }
        start = round(request.start_s * _RATE_HZ)
        features = self._package.MicroWakeWordFeatures()
        return _Channel(features, networks, thresholds, start, round(self.refractory_s * _RATE_HZ))

    def step(self, audio: Samples, state: _Channel) -> Mapping[str, Any] | None:
        found = state.push(audio)
        if not found:
            return None
        first, *more = found
        return {**first, "more": more} if more else first


class _Channel:
    """The features and the networks of one channel, and what was recognised last."""

    def __init__(
        self,
        features: Any,
        networks: Mapping[str, Any],
        thresholds: Mapping[str, float],
        position_samples: int,
        refractory_samples: int,
    ) -> None:
        self._features = features
        self._networks = networks
        self._thresholds = thresholds
        self._position_samples = position_samples
        """Where the audio that has no features yet begins, counted from the start of the session."""
        self._refractory_samples = refractory_samples
        self._quiet_until_samples: dict[str, int] = {}
        self._rest: Samples = np.empty(0, np.float32)

    def push(self, audio: Samples) -> list[dict[str, Any]]:
        """What is recognised in the next audio, in its order. The features count whole hops alone, so that a position
        depends on no cut.
        """
        joined = np.concatenate([self._rest, audio])
        n_whole = len(joined) // _HOP_SAMPLES * _HOP_SAMPLES
        self._rest = joined[n_whole:].copy()
        pcm = np.clip(np.rint(joined[:n_whole] * 32768.0), -32768, 32767).astype("<i2")
        found = []
        for hop in pcm.reshape(-1, _HOP_SAMPLES):
            self._position_samples += _HOP_SAMPLES
            for vector in self._features.process_streaming(hop.tobytes()):
                for word, network in self._networks.items():
                    score = network.process_streaming_prob(vector)
                    if score > self._thresholds[word] and self._counts_again(word):
                        time = round(self._position_samples / _RATE_HZ, 2)
                        found.append({"wakeword": word, "time": time, "score": round(float(score), 3)})
        return found

    def _counts_again(self, word: str) -> bool:
        """Whether the refractory time of the word is over; a new one then begins."""
        if self._position_samples < self._quiet_until_samples.get(word, 0):
            return False
        self._quiet_until_samples[word] = self._position_samples + self._refractory_samples
        return True
