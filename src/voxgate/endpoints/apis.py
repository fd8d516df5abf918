"""The APIs that the server speaks besides its own: their paths, and whether they are served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.routing import Route as HttpRoute

from voxgate.config import EndpointsSettings
from voxgate.endpoints.assemblyai.live import AssemblyAiWire
from voxgate.endpoints.cors import READ_METHODS
from voxgate.endpoints.deepgram.flux import FluxWire
from voxgate.endpoints.deepgram.live import DeepgramWire
from voxgate.endpoints.deepgram.prerecorded import PrerecordedRoute
from voxgate.endpoints.live_http import LiveHttpRoute
from voxgate.endpoints.openai.models import Models
from voxgate.endpoints.openai.realtime import RealtimeWire
from voxgate.endpoints.openai.transcriptions import TranscriptionsRoute
from voxgate.endpoints.stream_route import StreamRoute
from voxgate.endpoints.wire import Wire, why_no_words
from voxgate.protocol.machine import ROUTES, Route
from voxgate.protocol.wires import WireName
from voxgate.service.entry import Entry
from voxgate.service.service import Service

__all__ = ["APIS", "Api", "wires_of"]


class Api(NamedTuple):
    """The routes of one API."""

    name: WireName
    """That of its setting in the section `endpoints`, too."""
    paths: Sequence[str]
    """For people: what to read about in the documentation."""
    routes: Callable[[Service, Entry], Sequence[BaseRoute]]
    carries_words: bool = True

    def is_on(self, settings: EndpointsSettings) -> bool:
        enabled: bool = getattr(settings, self.name)
        return enabled

    def why_unserved(self, service: Service) -> str | None:
        """Why its paths answer with a refusal, for people; None: they serve."""
        if not self.is_on(service.config.endpoints):
            return f"endpoints.{self.name} is false"
        return why_no_words(service) if self.carries_words else None


def _websocket(path: str, wire: type[Wire]) -> Callable[[Service, Entry], Sequence[BaseRoute]]:
    return lambda service, entry: [WebSocketRoute(path, StreamRoute(service, entry, "segmented", wire))]


LIVE_PATHS: Final[dict[str, Route]] = {f"/api/v1/{route}": route for route in ROUTES}


def _live_http(service: Service, entry: Entry) -> Sequence[BaseRoute]:
    return [HttpRoute(path, LiveHttpRoute(service, entry, route)) for path, route in LIVE_PATHS.items()]


def _deepgram(service: Service, entry: Entry) -> Sequence[BaseRoute]:
    return [
        WebSocketRoute("/v1/listen", StreamRoute(service, entry, "segmented", DeepgramWire)),
        HttpRoute("/v1/listen", PrerecordedRoute(service, entry)),
        WebSocketRoute("/v2/listen", StreamRoute(service, entry, "segmented", FluxWire)),
    ]


def _openai(service: Service, entry: Entry) -> Sequence[BaseRoute]:
    models = Models(service, entry)
    return [
        WebSocketRoute("/v1/realtime", StreamRoute(service, entry, "segmented", RealtimeWire)),
        HttpRoute("/v1/audio/transcriptions", TranscriptionsRoute(service, entry)),
        HttpRoute("/v1/models", models.all, methods=READ_METHODS),
        HttpRoute("/v1/models/{name:path}", models.one, methods=READ_METHODS),
    ]


APIS: Final[tuple[Api, ...]] = (
    Api("deepgram", ("/v1/listen", "/v2/listen"), _deepgram),
    Api("assemblyai", ("/v3/ws",), _websocket("/v3/ws", AssemblyAiWire)),
    Api("openai", ("/v1/realtime", "/v1/audio/transcriptions", "/v1/models"), _openai),
    Api("http", tuple(LIVE_PATHS), _live_http, carries_words=False),
)


def wires_of(service: Service) -> dict[str, dict[str, Any]]:
    """The wires in ``GET /api/v1/info``: each with its paths, and why it is not served (None: it is)."""
    native = {"served": True, "reason": None, "paths": [f"/api/v1/{route}" for route in ROUTES]}
    others: dict[str, dict[str, Any]] = {
        api.name: {"served": (why := api.why_unserved(service)) is None, "reason": why, "paths": list(api.paths)}
        for api in APIS
    }
    port = service.config.grpc.port
    reason = "grpc.port is not set" if port is None else None
    grpc = {"served": port is not None, "reason": reason, "paths": ["/voxgate.v1.Voxgate/Stream"]}
    is_on = service.config.endpoints.riva
    unserved = reason or (None if is_on else "endpoints.riva is false") or why_no_words(service)
    paths = [f"/nvidia.riva.asr.RivaSpeechRecognition/{name}" for name in ("StreamingRecognize", "Recognize")]
    riva = {"served": unserved is None, "reason": unserved, "paths": paths}
    return {"native": native, **others, "grpc": grpc, "riva": riva}
