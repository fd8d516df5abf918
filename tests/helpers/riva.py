"""A plain client of Riva's API, of the synchronous gRPC library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import grpc

from voxgate.proto import riva

__all__ = ["RAW", "recognize", "refused", "served_config", "streaming", "text_of", "transcripts"]

TIMEOUT_S = 60
RAW = {"encoding": "LINEAR_PCM", "sample_rate_hertz": 16_000}


def streaming(
    port: int,
    audio: Iterable[bytes],
    config: dict[str, Any] = RAW,
    *,
    interim_results: bool = False,
    metadata: Iterable[tuple[str, str]] = (),
) -> Iterator[Any]:
    """The responses of one call: the configuration, and a message for each piece of `audio`. Raises RpcError."""

    def messages() -> Iterator[Any]:
        asked = {"config": config, "interim_results": interim_results}
        yield riva.StreamingRecognizeRequest(streaming_config=asked)
        for piece in audio:
            yield riva.StreamingRecognizeRequest(audio_content=piece)

    method = riva.StreamingRecognizeRequest, riva.StreamingRecognizeResponse
    with _channel(port) as channel:
        yield from _method(channel.stream_stream, riva.STREAM, *method)(
            messages(), timeout=TIMEOUT_S, metadata=tuple(metadata)
        )


def recognize(port: int, audio: bytes, config: dict[str, Any] = RAW, **options: Any) -> Any:
    request = riva.RecognizeRequest(config=config, audio=audio, **options)
    with _channel(port) as channel:
        method = riva.RecognizeRequest, riva.RecognizeResponse
        return _method(channel.unary_unary, riva.RECOGNIZE, *method)(request, timeout=TIMEOUT_S)


def served_config(port: int, name: str = "") -> Any:
    with _channel(port) as channel:
        method = _method(channel.unary_unary, riva.CONFIG, riva.ConfigRequest, riva.ConfigResponse)
        return method(riva.ConfigRequest(model_name=name), timeout=TIMEOUT_S)


def refused(call: Any) -> tuple[grpc.StatusCode, str, list[Any]]:
    """The status of a call that fails, its text, and what came before it."""
    responses = []
    try:
        responses += call() if callable(call) else call
    except grpc.RpcError as error:
        return error.code(), error.details(), responses
    raise AssertionError(f"the call succeeded: {responses}")


def transcripts(responses: Iterable[Any]) -> list[str]:
    """Those of the finals."""
    results = [result for response in responses for result in response.results]
    return [text_of(result) for result in results if getattr(result, "is_final", True)]


def text_of(result: Any) -> str:
    text: str = result.alternatives[0].transcript
    return text.rstrip()


def _channel(port: int) -> Any:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options)


def _method(kind: Any, path: str, request: Any, response: Any) -> Any:
    return kind(path, request.SerializeToString, response.FromString)
