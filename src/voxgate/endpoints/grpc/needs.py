"""Whether the packages that gRPC needs are installed. Imports none of them."""

from __future__ import annotations

import importlib.util
from typing import Final

from voxgate.errors import ConfigError

__all__ = ["check_installed"]

PACKAGES: Final = {
    "google.protobuf": "protobuf",
    "google.rpc": "googleapis-common-protos",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_status": "grpcio-status",
}


def check_installed() -> None:
    """Raises ConfigError, with the command that installs it, for a missing package."""
    for module, package in PACKAGES.items():
        try:
            found = importlib.util.find_spec(module) is not None
        except (ImportError, ValueError):  # also that of the package around it
            found = False
        if not found:
            raise ConfigError(
                f"grpc.port needs the package {package!r}, which is not installed: pip install 'voxgate[grpc]'"
            )
