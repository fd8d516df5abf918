"""Offline speech to text from one wheel: CMU PocketSphinx."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from voxgate.models.base import Model, Samples
from voxgate.models.optional import Needs

__all__ = ["PocketSphinx"]

_VARIANT = re.compile(r"\(\d+\)$")
"""The mark of the second, third ... pronunciation of a word in the dictionary."""
_FILLER = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
"""The words of acoustic models for silence, breath and noise."""


class PocketSphinx(Model):
    """Speech to text, offline: PocketSphinx, with the US English model of its wheel.

    The answer:

    ``text``
        the words, lower case, without punctuation; empty when there are none.
    ``words``
        a list of ``{"word", "start", "end", "probability"}``: seconds from the start of the audio,
        and the decoder's probability of this word between its neighbours, 0..1. Silences and noises are left out.

    A small, old recogniser: it understands clear speech in a quiet room, gets many words wrong, and needs no network,
    GPU or further file.

    The decoder holds the GIL while it computes, about a tenth of the length of the audio, and takes a quarter of a
    second and 90 MB to make. An instance has one decoder and runs one call at a time; for more speed, use more
    processes. Calls do not influence each other: the decoder starts each one from its initial state and normalises
    over the whole utterance.

    :meth:`warm_up` or the first call makes the decoder, so that an instance that is only inspected is cheap.
    """

    name = "pocketsphinx"
    sample_rate = 16_000
    threads = 1
    holds_gil = True
    needs: ClassVar[Needs] = Needs("pocketsphinx", "pocketsphinx", "pocketsphinx")

    def __init__(
        self,
        *,
        hmm: str | None = None,
        lm: str | None = None,
        dict: str | None = None,
        jsgf: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Paths that replace files of the wheel: `hmm`, the directory of an acoustic model for 16 kHz; `lm`,
        a language model; `dict`, a pronunciation dictionary; `jsgf`, a grammar (instead of any language model).
        `settings`: further settings of the decoder by their own names, such as ``{"maxhmmpf": 3000}``.

        Raises ValueError for a path that does not exist, for `lm` with `jsgf`, and for settings that are given twice;
        ModelLoadError without the package. Errors of the decoder itself are raised when it is made.
        """
        paths = {"hmm": hmm, "lm": lm, "dict": dict, "jsgf": jsgf}
        self._config = {key: _existing(key, path) for key, path in paths.items() if path is not None}
        if lm is not None and jsgf is not None:
            raise ValueError("expected lm or jsgf, not both: a grammar replaces the language model")
        for key, value in (settings or {}).items():
            if key in paths or key == "samprate":
                raise ValueError(
                    f"settings.{key}: expected settings other than {', '.join(paths)} (options of their own)"
                    f" and samprate (always {self.sample_rate})"
                )
            self._config[key] = value
        self.needs.check()
        self._lock = threading.Lock()
        self._decoder: Any = None

    def warm_up(self) -> None:
        with self._lock:
            self._ready_decoder()

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        pcm = np.clip(np.rint(audio * 32768.0), -32768, 32767).astype("<i2")
        if not pcm.any():  # Digital silence: after normalisation, any word has a probability of 1.
            return {"text": "", "words": []}
        with self._lock:
            return self._decode(self._ready_decoder(), pcm.tobytes())

    def close(self) -> None:
        self._decoder = None

    def _ready_decoder(self) -> Any:
        if self._decoder is None:
            package = self.needs.load()
            config = {"loglevel": "FATAL", **self._config, "samprate": self.sample_rate}
            try:
                self._decoder = package.Decoder(**config)
            except KeyError as error:
                raise ValueError(f"settings: the decoder does not know one of {', '.join(self._config)}") from error
            except RuntimeError as error:
                given = ", ".join(f"{key} = {value!r}" for key, value in self._config.items()) or "nothing"
                raise ValueError(
                    f"the decoder cannot be made ({error}); it was given {given}; settings = {{loglevel = 'ERROR'}}"
                    " makes it say why on stderr"
                ) from error
        return self._decoder

    def _decode(self, decoder: Any, pcm: bytes) -> Mapping[str, Any]:
        # Without this, the next call, possibly of another stream, would start with the noise estimate of this one.
        decoder.reinit_feat()
        decoder.start_utt()
        try:
            decoder.process_raw(pcm, full_utt=True)
        finally:
            decoder.end_utt()
        found = decoder.hyp()
        if found is None:  # too short for a single frame
            return {"text": "", "words": []}
        frames_hz = decoder.config["frate"]
        words = [
            {
                "word": _VARIANT.sub("", part.word),
                "start": part.start_frame / frames_hz,
                "end": (part.end_frame + 1) / frames_hz,
                "probability": round(min(1.0, max(0.0, part.prob)), 4),
            }
            for part in decoder.seg()
            if not _FILLER.fullmatch(part.word)
        ]
        return {"text": " ".join(str(word["word"]) for word in words), "words": words}


def _existing(option: str, path: str) -> str:
    if not isinstance(path, str):
        raise ValueError(f"{option} must be a path, not {path!r}")
    place = os.path.expanduser(path)
    if not os.path.exists(place):
        raise ValueError(f"{option}: expected an existing path, but there is nothing at {path!r}")
    return place
