"""`GetRivaSpeechRecognitionConfig`: the model that the server serves."""

from __future__ import annotations

from typing import Any, Final

import grpc.aio

from voxgate.endpoints.grpc.peer import client_of
from voxgate.endpoints.grpc.request import RequestReader, answer
from voxgate.endpoints.grpc.statuses import status_of_refusal
from voxgate.proto.riva import ConfigRequest, ConfigResponse
from voxgate.service.entry import Entry
from voxgate.service.service import Service

__all__ = ["ConfigMethod"]

TYPES: Final = ("online", "offline")
"""Riva has a model for each kind of call, and clients look for those of theirs."""


class ConfigMethod:
    """The handler of the method."""

    def __init__(self, service: Service, entry: Entry, reader: RequestReader) -> None:
        self._service = service
        self._entry = entry
        self._reader = reader
        self._is_secure = service.config.server.tls_certificate is not None

    async def __call__(self, messages: Any, context: grpc.aio.ServicerContext) -> None:
        refusal = await self._entry.authorize(client_of(context, self._service.gate, self._is_secure, "riva"))
        if refusal is not None:
            status_of_refusal(refusal).send(context)
            return
        request = await self._reader.read(context, ConfigRequest.FromString, "RivaSpeechRecognitionConfigRequest")
        if request is not None:
            await answer(context, self._answer(request.model_name))

    def _answer(self, name: str) -> bytes:
        model, response = self._service.model, ConfigResponse()
        for kind in TYPES if name in ("", model.name) else ():
            parameters: dict[str, Any] = {
                "type": kind,
                "streaming": str(kind == "online"),
                "sample_rate": str(model.sample_rate),
                "language_code": "",  # the model may know any
            }
            response.model_config.add(model_name=model.name, parameters=parameters)
        data: bytes = response.SerializeToString()
        return data
