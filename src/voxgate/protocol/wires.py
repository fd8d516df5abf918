"""The wires: the names of the APIs that a server speaks, for labels and settings."""

from __future__ import annotations

import typing
from typing import Final, Literal, TypeAlias

from voxgate.protocol.machine import ROUTES, Route

__all__ = ["STREAMS", "WIRES", "WireName"]

WireName: TypeAlias = Literal["native", "deepgram", "openai", "assemblyai", "http", "grpc", "riva"]
WIRES: Final[tuple[WireName, ...]] = typing.get_args(WireName)

#: Every route and wire that a stream may have: the APIs of other services have the segmented route alone.
STREAMS: Final[tuple[tuple[Route, WireName], ...]] = tuple(
    (route, wire) for route in ROUTES for wire in WIRES if route == "segmented" or wire in ("native", "http", "grpc")
)
