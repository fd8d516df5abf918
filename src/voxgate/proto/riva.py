"""The messages of `riva.proto`."""

from __future__ import annotations

from typing import Any, Final

from voxgate.proto.descriptors import load

__all__ = [
    "API",
    "CONFIG",
    "RECOGNIZE",
    "SERVICE",
    "STREAM",
    "ConfigRequest",
    "ConfigResponse",
    "RecognizeRequest",
    "RecognizeResponse",
    "StreamingRecognizeRequest",
    "StreamingRecognizeResponse",
]

API: Final = load("riva")

SERVICE: Final = "nvidia.riva.asr.RivaSpeechRecognition"
STREAM: Final = f"/{SERVICE}/StreamingRecognize"
RECOGNIZE: Final = f"/{SERVICE}/Recognize"
CONFIG: Final = f"/{SERVICE}/GetRivaSpeechRecognitionConfig"

StreamingRecognizeRequest: Any = API.message("nvidia.riva.asr.StreamingRecognizeRequest")
StreamingRecognizeResponse: Any = API.message("nvidia.riva.asr.StreamingRecognizeResponse")
RecognizeRequest: Any = API.message("nvidia.riva.asr.RecognizeRequest")
RecognizeResponse: Any = API.message("nvidia.riva.asr.RecognizeResponse")
ConfigRequest: Any = API.message("nvidia.riva.asr.RivaSpeechRecognitionConfigRequest")
ConfigResponse: Any = API.message("nvidia.riva.asr.RivaSpeechRecognitionConfigResponse")
