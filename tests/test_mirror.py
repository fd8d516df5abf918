"""Tests mirror the rooms: `tests/ROOM/test_MODULE.py` is about `src/voxgate/ROOM/MODULE.py`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]

# Source files without a test file of their own. This list only shrinks: a file that gets one must leave it, and a new
# source file brings its test.
MISSING = {
    "src/voxgate/audio/files/errors.py",
    "src/voxgate/cli/serve.py",
    "src/voxgate/config/sections/audio.py",
    "src/voxgate/config/sections/auth.py",
    "src/voxgate/config/sections/inference.py",
    "src/voxgate/config/sections/limits.py",
    "src/voxgate/config/sections/metrics.py",
    "src/voxgate/config/sections/model.py",
    "src/voxgate/config/sections/server.py",
    "src/voxgate/config/sections/simple.py",
    "src/voxgate/config/sections/vad.py",
    "src/voxgate/endpoints/health.py",
    "src/voxgate/endpoints/peer.py",
    "src/voxgate/endpoints/refusals.py",
    "src/voxgate/inference/engine/base.py",
    "src/voxgate/inference/engine/processes/messages.py",
    "src/voxgate/inference/engine/processes/pool.py",
    "src/voxgate/inference/engine/processes/remote_model.py",
    "src/voxgate/inference/engine/trial.py",
    "src/voxgate/inference/outcomes.py",
    "src/voxgate/inference/stall_log.py",
    "src/voxgate/load/reference.py",
    "src/voxgate/load/run.py",
    "src/voxgate/load/websocket.py",
    "src/voxgate/models/function.py",
    "src/voxgate/models/result.py",
    "src/voxgate/protocol/closing.py",
    "src/voxgate/protocol/events.py",
    "src/voxgate/protocol/json_codec.py",
    "src/voxgate/protocol/requests.py",
    "src/voxgate/service/access/gate.py",
    "src/voxgate/service/client_info.py",
    "src/voxgate/session/context.py",
    "src/voxgate/session/endpoint.py",
    "src/voxgate/session/record.py",
    "src/voxgate/session/routes/base.py",
    "src/voxgate/session/routes/grouped.py",
    "src/voxgate/session/routes/parts.py",
    "src/voxgate/session/routes/segment_metrics.py",
    "src/voxgate/session/routes/segmented.py",
    "src/voxgate/session/routes/simple.py",
    "src/voxgate/session/work.py",
}
# They hold nothing of their own: names, data, and the call of a function that is tested.
WITHOUT_TESTS = ("__init__", "__main__")


SOURCE = ROOT / "src" / "voxgate"
COMPILED = ROOT / "ext" / "voxgate" / "_native"


def file_of(source: Path) -> Path:
    """The test file of a source file: a compiled module's is below tests/native."""
    room = source.parent.relative_to(SOURCE) if source.is_relative_to(SOURCE) else Path("native")
    return ROOT / "tests" / room / f"test_{source.stem}.py"


def sources() -> list[Path]:
    found = [path for path in SOURCE.rglob("*.py") if path.stem not in WITHOUT_TESTS]
    return sorted([*found, *COMPILED.glob("*.pyx")])


def untested() -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in sources() if not file_of(path).exists()}


def test_every_source_file_has_its_test_file():
    assert sorted(untested() - MISSING) == []


def test_no_exception_is_left_that_has_become_untrue():
    assert sorted(MISSING - untested()) == [], "these have a test file now, or are gone: take them out of MISSING"


def test_there_are_sources():
    names = {path.name for path in sources()}
    assert {"machine.py", "errors.py", "ring.pyx"} <= names
    assert file_of(SOURCE / "audio" / "files" / "wav.py") == ROOT / "tests" / "audio" / "files" / "test_wav.py"
