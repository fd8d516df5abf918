"""The messages of NVIDIA Riva's speech recognition, as `riva.proto` describes them.

They have a pool of descriptors of their own: in the default one, Riva's client and Voxgate could not be imported by one
process, because both would register the same names.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = [
    "POOL",
    "SERVICE",
    "RecognizeRequest",
    "RecognizeResponse",
    "RivaSpeechRecognitionConfigRequest",
    "RivaSpeechRecognitionConfigResponse",
    "StreamingRecognizeRequest",
    "StreamingRecognizeResponse",
]

SERVICE: Final = "nvidia.riva.asr.RivaSpeechRecognition"

POOL: Final = DescriptorPool()
for _file in FileDescriptorSet.FromString(files(__package__).joinpath("riva.binpb").read_bytes()).file:
    POOL.AddSerializedFile(_file.SerializeToString())


def _message(name: str) -> Any:
    return GetMessageClass(POOL.FindMessageTypeByName(f"nvidia.riva.asr.{name}"))


RecognizeRequest: Final = _message("RecognizeRequest")
RecognizeResponse: Final = _message("RecognizeResponse")
RivaSpeechRecognitionConfigRequest: Final = _message("RivaSpeechRecognitionConfigRequest")
RivaSpeechRecognitionConfigResponse: Final = _message("RivaSpeechRecognitionConfigResponse")
StreamingRecognizeRequest: Final = _message("StreamingRecognizeRequest")
StreamingRecognizeResponse: Final = _message("StreamingRecognizeResponse")
