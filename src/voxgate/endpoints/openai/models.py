"""``GET /v1/models``: the model that the server serves, in OpenAI's words."""

from __future__ import annotations

import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from voxgate.endpoints.cors import READ_METHODS, cors_headers, preflight
from voxgate.endpoints.openai.errors import body_of, refusal_answer
from voxgate.endpoints.peer import client_of
from voxgate.endpoints.refusals import HttpAnswer, respond
from voxgate.service.entry import Entry
from voxgate.service.service import Service

__all__ = ["Models"]


class Models:
    """Each method answers a path. Both ask for the token, as a stream does."""

    def __init__(self, service: Service, entry: Entry) -> None:
        self._service = service
        self._entry = entry

    async def all(self, request: Request) -> Response:
        """``/v1/models``."""
        return await self._answer(request, 200, {"object": "list", "data": [self._model]})

    async def one(self, request: Request) -> Response:
        """``/v1/models/NAME``."""
        name: str = request.path_params["name"]
        if name == self._service.model.name:
            return await self._answer(request, 200, self._model)
        body = body_of(f"the model {name[:80]!r} does not exist", 404, "model", "model_not_found")
        return await self._answer(request, 404, body)

    @property
    def _model(self) -> dict[str, Any]:
        return {"id": self._service.model.name, "object": "model", "created": 0, "owned_by": "voxgate"}

    async def _answer(self, request: Request, status: int, body: dict[str, Any]) -> Response:
        gate = self._service.gate
        client = client_of(request.scope, gate)._replace(wire="openai")
        if request.method == "OPTIONS":
            return preflight(gate, client, ", ".join(READ_METHODS), request.scope["headers"])
        refusal = await self._entry.authorize(client)
        request_id = str(uuid.uuid4())
        answer = HttpAnswer(status, body, {"x-request-id": request_id})
        if refusal is not None:
            answer = refusal_answer(refusal, request_id)
        return respond(answer, cors_headers(gate, client))
