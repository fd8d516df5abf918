"""A pipeline of Hugging Face's transformers as a live model: Whisper, wav2vec2, MMS, or any other with text.

    pip install voxgate transformers torch
    voxgate serve pipeline_asr:Pipeline --set model.model=openai/whisper-tiny.en
    voxgate client demo

The weights are yours: `model.model` is a name of the Hub, which transformers downloads, or a directory.

Worth a look: several utterances, of several people, are one call of the pipeline (`infer_batch`); PyTorch releases the
GIL while it computes, so the model runs on threads, one call at a time; the options of a client reach the model.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

import voxgate


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may choose for its session."""

    language: str | None = None
    """Of a model that knows several, such as ``german``."""


class Pipeline(voxgate.Model):
    sample_rate = 16_000
    threads = 1  # PyTorch uses all cores for one call
    gives_text = True
    Options = Options

    def __init__(self, model: str, device: str = "cpu", max_batch: int = 8) -> None:
        """model: a name of the Hub or a directory. device: as in PyTorch, such as ``cuda:0``."""
        from transformers import pipeline

        self._pipeline: Any = pipeline("automatic-speech-recognition", model=model, device=device)
        self._max_batch = max_batch

    def infer(self, audio: np.ndarray, request: voxgate.Request) -> dict[str, str]:
        """One utterance: float32, 16 kHz."""
        return self._answers([audio], request.options)[0]

    def infer_batch(self, batch: voxgate.Batch) -> list[dict[str, str]]:
        """One utterance each, of several streams. Only those whose options are equal share a batch."""
        return self._answers(list(batch), batch.requests[0].options)

    def _answers(self, audio: list[np.ndarray], options: Options) -> list[dict[str, str]]:
        settings: dict[str, Any] = {"batch_size": min(len(audio), self._max_batch)}
        if options.language is not None:
            settings["generate_kwargs"] = {"language": options.language}
        # The pipeline changes the dictionary that it gets.
        inputs = [{"raw": one, "sampling_rate": self.sample_rate} for one in audio]
        return [{"text": answer["text"].strip()} for answer in self._pipeline(inputs, **settings)]
