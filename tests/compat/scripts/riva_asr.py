"""nvidia-riva-client: the steps of its examples transcribe_file.py, transcribe_mic.py and transcribe_file_offline.py.

`options`: `port`; `kind`: "file" (a WAV file from its first byte on, without an encoding), "mic" (raw samples),
"offline" or "models"; `config`: fields of RecognitionConfig.
"""

from __future__ import annotations

import io
from typing import Any

import grpc
import riva.client
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from riva.client.proto import riva_asr_pb2, riva_audio_pb2, riva_common_pb2
from task import Found, Task, report, the_task


def run(task: Task, found: Found) -> None:
    options = task.options
    auth = riva.client.Auth(uri=f"127.0.0.1:{options['port']}", metadata_args=[["authorization", f"Bearer {task.key}"]])
    service = riva.client.ASRService(auth)
    kind, fields = options.get("kind", "file"), options.get("config", {})
    if kind == "models":
        request = riva_asr_pb2.RivaSpeechRecognitionConfigRequest()
        response = service.stub.GetRivaSpeechRecognitionConfig(request, metadata=auth.get_auth_metadata())
        found.facts["models"] = [[model.model_name, dict(model.parameters)] for model in response.model_config]
        found.facts["descriptors"] = descriptors()
        return
    config = riva.client.RecognitionConfig(
        language_code="en-US", max_alternatives=1, enable_automatic_punctuation=True, **fields
    )
    if kind == "offline":
        with open(task.audio, "rb") as file:
            data = file.read()
        config.encoding = riva.client.AudioEncoding.LINEAR_PCM
        riva.client.add_audio_file_specs_to_config(config, task.audio)
        add(found, service.offline_recognize(data, config).results)
        return
    streaming = riva.client.StreamingRecognitionConfig(config=config, interim_results=True)
    riva.client.add_word_boosting_to_config(streaming, ["Voxgate"], 4.0)
    riva.client.add_endpoint_parameters_to_config(streaming, 0, 0.0, 0, 0, 0.0, 0.0)
    if kind == "mic":
        config = streaming.config
        config.encoding, config.sample_rate_hertz = riva.client.AudioEncoding.LINEAR_PCM, task.rate
        config.audio_channel_count = config.audio_channel_count or 1
        chunks: Any = task.chunks()
    else:
        chunks = riva.client.AudioChunkFileIterator(task.audio, 1600)
    responses = []

    def kept() -> Any:
        for response in service.streaming_response_generator(chunks, streaming):
            responses.append(response)
            yield response

    printed = io.StringIO()
    riva.client.print_streaming(kept(), output_file=printed, show_intermediate=True)
    found.facts["printed"] = [line[3:].strip() for line in printed.getvalue().splitlines() if line.startswith("## ")]
    for response in responses:
        add(found, response.results)


def add(found: Found, results: Any) -> None:
    for result in results:
        best = result.alternatives[0]
        if not getattr(result, "is_final", True):
            found.interims.append(best.transcript)
            continue
        words = [[word.word, word.start_time, word.end_time] for word in best.words]
        channel, processed_s = result.channel_tag, result.audio_processed
        found.finals.append({"text": best.transcript, "words": words, "channel": channel, "processed_s": processed_s})


def descriptors() -> list[str]:
    """Their messages as files of descriptors."""
    files = []
    for module in (riva_asr_pb2, riva_audio_pb2, riva_common_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file.SerializeToString().hex())
    return files


if __name__ == "__main__":
    found = Found()
    try:
        run(the_task(), found)
    except grpc.RpcError as error:
        found.errors.append(f"{error.code().name}: {error.details()}")
    report(found)
