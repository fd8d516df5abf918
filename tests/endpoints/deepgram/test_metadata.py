"""What Deepgram's answers say about the request and the model."""

from __future__ import annotations

from datetime import datetime

from voxgate import __version__
from voxgate.endpoints.deepgram.metadata import Metadata


def test_the_same_model_has_the_same_id():
    first, second, other = Metadata("1", "moonshine"), Metadata("2", "moonshine"), Metadata("3", "whisper")
    model = first.of_result["model_uuid"]
    assert second.of_result["model_uuid"] == model != other.of_result["model_uuid"]
    info = {"name": "moonshine", "version": __version__, "arch": "voxgate"}
    assert first.of_result == {"request_id": "1", "model_info": info, "model_uuid": model}
    end = first.at_end(1.23456, 2, "ab")
    created = datetime.fromisoformat(end.pop("created"))
    assert created.utcoffset().total_seconds() == 0
    assert end == {
        "transaction_key": "deprecated",
        "request_id": "1",
        "sha256": "ab",
        "duration": 1.235,
        "channels": 2,
        "models": [model],
        "model_info": {model: info},
    }
