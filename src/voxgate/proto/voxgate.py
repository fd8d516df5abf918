"""The messages of `voxgate.proto`."""

from __future__ import annotations

from typing import Any, Final

from voxgate.proto.descriptors import load

__all__ = ["API", "INFO", "SERVICE", "STREAM", "ClientMessage", "InfoRequest", "InfoResponse", "ServerMessage"]

API: Final = load("voxgate")

SERVICE: Final = "voxgate.v1.Voxgate"
STREAM: Final = f"/{SERVICE}/Stream"
INFO: Final = f"/{SERVICE}/Info"

ClientMessage: Any = API.message("voxgate.v1.ClientMessage")
ServerMessage: Any = API.message("voxgate.v1.ServerMessage")
InfoRequest: Any = API.message("voxgate.v1.InfoRequest")
InfoResponse: Any = API.message("voxgate.v1.InfoResponse")
