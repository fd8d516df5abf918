"""The web page, and the description of the server that it fetches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voxgate import __version__
from voxgate.config import SETTINGS
from voxgate.endpoints.apis import wires_of
from voxgate.protocol.machine import ROUTES
from voxgate.protocol.requests import VadOptions
from voxgate.protocol.turn_ranges import TURN_RANGES
from voxgate.service.entry import Entry
from voxgate.service.service import Service

__all__ = ["HEADERS", "INDEX", "Asset", "Page", "describe", "is_known", "load_assets"]

INDEX: Final = "index.html"

# Everything comes from this server: no inline script or style, no frame, no form, no plug-in. The streams are
# websockets of the same origin, which 'self' covers.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: Sent with every file of the page.
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Cached, but revalidated each time: a page and a server of different versions must not meet.
    "Cache-Control": "no-cache",
}

_CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".flac": "audio/flac",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

#: The bundled recording that the page offers instead of a microphone: half a minute of a person who reads.
_SAMPLE: Final = "reading.flac"


#: The folder of the JavaScript client, @voxgate/client, on which the page is built.
_CLIENT: Final = "client"


class Asset(NamedTuple):
    """One file of the page. `etag` is quoted, as it goes into the header."""

    body: bytes
    content_type: str
    etag: str


def load_assets() -> dict[str, Asset]:
    """Every file of the page by its path. Read once: a client's path is never looked up on the disk."""
    web = files("voxgate") / "web"
    found = {entry.name: entry for entry in web.iterdir()}
    found |= {f"{_CLIENT}/{entry.name}": entry for entry in (web / _CLIENT).iterdir()}
    found["sample.flac"] = files("voxgate") / "recordings" / _SAMPLE
    assets = {}
    for path, entry in found.items():
        content_type = _CONTENT_TYPES.get(PurePosixPath(path).suffix)
        if content_type is not None:
            body = entry.read_bytes()
            assets[path] = Asset(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return assets


def is_known(asset: Asset, if_none_match: str | None) -> bool:
    """Whether the client has this version. `if_none_match`: that header of the request, None when it has none."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return asset.etag in tags or "*" in tags


class Page:
    """The page and its description of the server. Each method answers some paths."""

    def __init__(self, service: Service, entry: Entry) -> None:
        self._service = service
        self._entry = entry
        self._assets = load_assets()

    async def asset(self, request: Request) -> Response:
        """A file of the page, by its path. HTTPException 404 for an unknown one."""
        found = self._assets.get(request.path_params.get("file", INDEX))
        if found is None:
            raise HTTPException(404)
        headers = {**HEADERS, "ETag": found.etag}
        if is_known(found, request.headers.get("If-None-Match")):
            return Response(status_code=304, headers=headers)
        return Response(found.body, headers=headers, media_type=found.content_type)

    async def info(self, request: Request) -> Response:
        """``GET /api/v1/info``."""
        routes: dict[str, str | None] = {route: self._entry.why_unserved(route) for route in ROUTES}
        return JSONResponse(describe(self._service, routes), headers={"Cache-Control": "no-store"})


def describe(service: Service, routes: Mapping[str, str | None]) -> dict[str, Any]:
    """The body of ``GET /api/v1/info``. `routes`: each route, and why it is not served (None: it is)."""
    return {
        "name": "voxgate",
        "version": __version__,
        "model": service.model.name,
        "ready": service.not_ready is None,
        "routes": {route: {"served": why is None, "reason": why} for route, why in routes.items()},
        "wires": wires_of(service),
        "containers": list(service.decoders.containers),
        "streams": {"open": service.streams, "max": service.config.limits.streams},
        "limits": {
            **service.public_limits,
            "min_sample_rate": service.config.limits.min_sample_rate,
            "max_sample_rate": service.config.limits.max_sample_rate,
        },
        "options": service.session_options.schema,
        "turn": {
            "detector": service.turn.detector or None,
            "options": _options("turn", TURN_RANGES, service.config.turn),
        },
        "vad": {"detector": service.config.vad.detector, "options": _vad_options(service)},
    }


def _vad_options(service: Service) -> dict[str, dict[str, Any]]:
    """The options a client may tune: the names from the wire, the ranges and texts from the settings."""
    options = _options("vad", VadOptions.__struct_fields__, service.config.vad)
    # The one rule between two of them; see vad.VadConfig.check.
    options["negative_threshold"]["at_most"] = "threshold"
    return options


def _options(section: str, names: Iterable[str], settings: object) -> dict[str, dict[str, Any]]:
    options = {}
    for name in names:
        setting = SETTINGS[f"{section}.{name}"]
        options[name] = {
            "default": getattr(settings, name),
            "min": setting.minimum,
            "max": setting.maximum,
            "unit": {"ms": "ms", "s": "s"}.get(name.rpartition("_")[2], ""),
            "type": "number" if setting.kind is float else "int",
            "about": setting.description.replace("`", ""),
        }
    return options
