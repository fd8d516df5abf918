"""Speech to text with OpenAI's Whisper, through faster-whisper (CTranslate2)."""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from voxgate.models.base import Model, Samples
from voxgate.models.optional import Needs

__all__ = ["FasterWhisper"]

_TASKS = ("transcribe", "translate")
_SHORTEST_S = 0.1


class FasterWhisper(Model):
    """Speech to text in a hundred languages: Whisper, through faster-whisper.

    The answer:

    ``text``
        the transcript of Whisper, with punctuation; empty when there is no speech, and for less than a tenth of a
        second of audio.
    ``language``, ``language_probability``
        the detected or set language ("en"), and its probability, 0..1.
    ``words``
        only with ``words = true``: a list of ``{"word", "start", "end", "probability"}``: seconds from the start of
        the audio.

    The weights are loaded by :meth:`warm_up` (or by the first call): the library downloads them from the Hugging Face
    Hub the first time, 75 MB (tiny) to 3 GB (large-v3), and caches them. Until then the server is not ready. A call
    takes one piece of audio, because the library cannot batch utterances of several streams; `workers` calls run at
    once. The GIL is released while CTranslate2 computes, and held shortly for features and tokens.
    """

    name = "faster-whisper"
    sample_rate = 16_000
    threads = 1  # unless there are more workers
    needs: ClassVar[Needs] = Needs("faster-whisper", "faster_whisper", "whisper")

    def __init__(
        self,
        size: str,
        *,
        language: str | None = None,
        task: str = "transcribe",
        words: bool = False,
        beam_size: int = 5,
        prompt: str | None = None,
        device: str = "auto",
        compute_type: str = "default",
        cpu_threads: int = 0,
        workers: int = 1,
        cache: str | None = None,
        offline: bool = False,
    ) -> None:
        """`size`: a name of the library ("tiny", "base.en", "small", "large-v3", "turbo" ...), a model of the
        Hugging Face Hub in the format of CTranslate2 ("owner/name"), or a directory with such a model (a path that
        starts with ``.``, ``/`` or ``~``, or exists).

        language: "en", "de" ...; None: detected in each call. task: "transcribe" or "translate" (into English).
        words: adds each word with its times, which takes longer. beam_size: 1 is the fastest. prompt: text that
        sets style and spelling. device: "auto", "cpu", "cuda". compute_type: one of CTranslate2, such as "int8".
        cpu_threads: of one call; 0 is the library's choice. workers: calls at once. cache: a directory for
        downloaded weights. offline: download nothing, use only the cache.

        Raises ValueError for an option out of range and an unknown `size`; ModelLoadError without the package.
        """
        if task not in _TASKS:
            raise ValueError(f"task must be one of {', '.join(_TASKS)}, not {task!r}")
        for option, number, lowest in (
            ("beam_size", beam_size, 1),
            ("cpu_threads", cpu_threads, 0),
            ("workers", workers, 1),
        ):
            if isinstance(number, bool) or not isinstance(number, int) or number < lowest:
                raise ValueError(f"{option} must be an integer of at least {lowest}, not {number!r}")
        self._package = self.needs.load()
        self._size = _known(size, self._package.available_models())
        self._loading: dict[str, Any] = {
            "device": device,
            "compute_type": compute_type,
            "cpu_threads": cpu_threads,
            "num_workers": workers,
            "download_root": None if cache is None else os.path.expanduser(cache),
            "local_files_only": offline,
        }
        self._calling: dict[str, Any] = {
            "language": language,
            "task": task,
            "beam_size": beam_size,
            "word_timestamps": words,
            "initial_prompt": prompt,
            # Voxgate has segmented the audio, and an utterance must not influence those of other speakers.
            "vad_filter": False,
            "condition_on_previous_text": False,
        }
        self._words = words
        self.threads = workers
        self._lock = threading.Lock()
        self._whisper: Any = None

    def warm_up(self) -> None:
        self._loaded()

    def infer(self, audio: Samples) -> Mapping[str, Any]:
        if len(audio) < _SHORTEST_S * self.sample_rate:
            return self._answer("", self._calling["language"], None, [])
        segments, info = self._loaded().transcribe(audio, **self._calling)
        segments = list(segments)  # The iterator does the work.
        text = "".join(segment.text for segment in segments).strip()
        words = _joined([part for segment in segments for part in segment.words or ()])
        return self._answer(text, info.language, round(float(info.language_probability), 4), words)

    def close(self) -> None:
        self._whisper = None

    def _answer(
        self, text: str, language: str | None, probability: float | None, words: list[dict[str, Any]]
    ) -> Mapping[str, Any]:
        answer: dict[str, Any] = {"text": text, "language": language, "language_probability": probability}
        if self._words:
            answer["words"] = words
        return answer

    def _loaded(self) -> Any:
        """The library's model, made by the first call. Any thread may use it."""
        with self._lock:
            if self._whisper is None:
                whisper = self._package.WhisperModel(self._size, **self._loading)
                self._check_language(whisper.supported_languages)
                self._whisper = whisper
            return self._whisper

    def _check_language(self, languages: Sequence[str]) -> None:
        """The library itself answers in English when an English-only model is asked for another language."""
        language = self._calling["language"]
        if language is not None and language not in languages:
            raise ValueError(f"language: {self._size} knows {', '.join(languages)}, not {language!r}")


def _joined(parts: Sequence[Any]) -> list[dict[str, Any]]:
    """The words of the answer. The library cuts words at hyphens and marks (``" ill"``, ``"-disposed."``); a part that
    does not begin with a space belongs to the word before it, which is then as probable as the least of its parts.
    """
    words: list[dict[str, Any]] = []
    for part in parts:
        end, probability = round(float(part.end), 3), round(float(part.probability), 4)
        if words and not part.word.startswith(" "):
            before = words[-1]
            before["word"] += part.word.rstrip()
            before["end"], before["probability"] = end, min(before["probability"], probability)
        else:
            start = round(float(part.start), 3)
            words.append({"word": part.word.strip(), "start": start, "end": end, "probability": probability})
    return words


def _known(size: str, names: Sequence[str]) -> str:
    """`size` with ``~`` expanded. Raises ValueError for an unknown name, and for a directory without a model."""
    if not isinstance(size, str) or not size:
        raise ValueError(f"expected a size, a model of the Hugging Face Hub or a directory, not {size!r}")
    place = os.path.expanduser(size)
    if place.startswith((".", "/")) or os.path.isdir(place):
        if not os.path.isfile(os.path.join(place, "model.bin")):
            raise ValueError(
                f"expected {size!r} to be a directory with a model in CTranslate2's form, but it has no model.bin"
            )
        return place
    if "/" not in size and size not in names:
        close = difflib.get_close_matches(size, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"expected one of {', '.join(names)}, a model of the Hugging Face Hub ('owner/name') or a directory,"
            f" not {size!r}{hint}"
        )
    return size
