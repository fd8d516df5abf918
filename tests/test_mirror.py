"""Tests mirror the rooms: `tests/ROOM/test_MODULE.py` is about `src/voxgate/ROOM/MODULE.py`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]

# Source files without a test file of their own. This list only shrinks: a file that gets one must leave it, and a new
# source file brings its test.
MISSING = {
    "src/voxgate/audio/decoder.py",
    "src/voxgate/audio/files/container.py",
    "src/voxgate/audio/files/errors.py",
    "src/voxgate/audio/files/ogg.py",
    "src/voxgate/audio/files/read.py",
    "src/voxgate/audio/files/reader.py",
    "src/voxgate/audio/files/wav.py",
    "src/voxgate/audio/files/window.py",
    "src/voxgate/audio/soxr.py",
    "src/voxgate/cli/client.py",
    "src/voxgate/cli/demo.py",
    "src/voxgate/cli/interrupts.py",
    "src/voxgate/cli/load.py",
    "src/voxgate/cli/models.py",
    "src/voxgate/cli/serve.py",
    "src/voxgate/cli/show.py",
    "src/voxgate/cli/vad.py",
    "src/voxgate/client/blocking.py",
    "src/voxgate/client/check.py",
    "src/voxgate/client/connection.py",
    "src/voxgate/client/ending.py",
    "src/voxgate/client/errors.py",
    "src/voxgate/client/printable.py",
    "src/voxgate/client/recent.py",
    "src/voxgate/client/session.py",
    "src/voxgate/client/source.py",
    "src/voxgate/config/document.py",
    "src/voxgate/config/loader.py",
    "src/voxgate/config/option_text.py",
    "src/voxgate/config/settings.py",
    "src/voxgate/inference/engine/base.py",
    "src/voxgate/inference/engine/trial.py",
    "src/voxgate/load/generator.py",
    "src/voxgate/load/reference.py",
    "src/voxgate/load/report.py",
    "src/voxgate/load/run.py",
    "src/voxgate/load/websocket.py",
    "src/voxgate/models/function.py",
    "src/voxgate/models/result.py",
    "src/voxgate/observe/metrics/catalogue.py",
    "src/voxgate/observe/metrics/exposition.py",
    "src/voxgate/observe/metrics/tally.py",
    "src/voxgate/protocol/events.py",
    "src/voxgate/protocol/formats.py",
    "src/voxgate/protocol/json_codec.py",
    "src/voxgate/protocol/requests.py",
    "src/voxgate/runtime/child.py",
    "src/voxgate/server/handshake.py",
    "src/voxgate/server/server.py",
    "src/voxgate/server/sockets.py",
    "src/voxgate/server/worker.py",
    "src/voxgate/service/access/gate.py",
    "src/voxgate/session/record.py",
    "src/voxgate/session/routes/base.py",
    "src/voxgate/session/routes/grouped.py",
    "src/voxgate/session/routes/segmented.py",
    "src/voxgate/session/routes/simple.py",
    "src/voxgate/session/routes/timing.py",
    "src/voxgate/vad/config.py",
    "src/voxgate/vad/detectors.py",
    "src/voxgate/vad/offline.py",
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
