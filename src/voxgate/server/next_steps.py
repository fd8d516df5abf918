"""What a server prints below the line that it listens: its addresses, and the next command to type."""

from __future__ import annotations

from urllib.parse import urlsplit

from voxgate.config import Config
from voxgate.protocol.machine import Route

__all__ = ["next_steps"]

_DEFAULT_PORT = 8080
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # bound, and how to reach it from here


def next_steps(url: str, config: Config, route: Route | None) -> str:
    """The lines for people. `url`: where the server listens. `route`: one that the model serves; None: unknown."""
    parts = urlsplit(url)
    host = _EVERYWHERE.get(parts.hostname or "", parts.hostname or "")
    place = f"[{host}]:{parts.port}" if ":" in host else f"{host}:{parts.port}"
    websocket = f"{'wss' if parts.scheme == 'https' else 'ws'}://{place}/api/v1/"
    command = "voxgate client demo"
    if parts.scheme == "https" or parts.port != _DEFAULT_PORT or route not in (None, "segmented"):
        command += f" --addr {websocket}{route or 'segmented'}"
    if config.auth.tokens or config.auth.tokens_file or config.auth.hook:
        command = f"VOXGATE_TOKEN=... {command}"
    return (
        f"  page        {parts.scheme}://{place}/\n  websocket   {websocket}{route or 'ROUTE'}\n  next, try   {command}"
    )
