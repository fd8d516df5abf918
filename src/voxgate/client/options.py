"""The arguments of `stream`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

from voxgate.observe.tracing import Tracing
from voxgate.protocol.formats import Format
from voxgate.protocol.requests import TurnOptions, VadOptions

from .certificate import ClientCertificate
from .clock import Clock
from .reconnect import Reconnect
from .wires import ClientWire

__all__ = ["Options"]


class Options(TypedDict, total=False):
    """The keyword arguments of `stream`, all optional; `stream` describes them."""

    addr: str
    chunk_size: int
    real_time: bool | float
    interim_results: bool
    stability: bool
    eager: bool
    vad: VadOptions | None
    turn: TurnOptions | None
    options: Mapping[str, Any] | None
    notices: bool
    trace_id: str | None
    tracing: Tracing | None
    token: str | None
    token_in: Literal["header", "start"]
    certificate: ClientCertificate | None
    format: Format | None
    as_is: bool
    result_timeout_s: float | None
    reconnect: bool | Reconnect
    on_audio: Callable[[memoryview], None] | None
    clock: Clock | None
    wire: ClientWire
