"""What Deepgram's answers say about the request and the model."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from voxgate import __version__

__all__ = ["Metadata"]


class Metadata:
    """Of one request."""

    def __init__(self, request_id: str, model: str) -> None:
        """`model`: the name of the model that the server serves."""
        self.request_id = request_id
        self._created = datetime.now(UTC)
        self._model_uuid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"voxgate:{model}"))
        self._model_info = {"name": model, "version": __version__, "arch": "voxgate"}

    @property
    def of_result(self) -> dict[str, Any]:
        """That of each live result."""
        return {"request_id": self.request_id, "model_info": self._model_info, "model_uuid": self._model_uuid}

    def at_end(self, duration_s: float, n_channels: int, sha256: str = "") -> dict[str, Any]:
        """That of the whole. `sha256`: of the audio, in hex; empty where no part of the server sees all of it."""
        return {
            "transaction_key": "deprecated",
            "request_id": self.request_id,
            "sha256": sha256,
            "created": self._created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "duration": round(duration_s, 3),
            "channels": n_channels,
            "models": [self._model_uuid],
            "model_info": {self._model_uuid: self._model_info},
        }
