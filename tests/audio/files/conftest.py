"""The ways in which a sound file is opened."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest


@pytest.fixture(params=["file", "memory", "pipe"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[bytes], str | BinaryIO]]:
    """A source that holds these bytes."""
    writers = []
    readers = []

    def open_as(content: bytes) -> str | BinaryIO:
        if request.param == "memory":
            return io.BytesIO(content)
        if request.param == "file":
            (tmp_path / "sound").write_bytes(content)
            return str(tmp_path / "sound")
        reader, writer = os.pipe()

        def write() -> None:
            with open(writer, "wb") as pipe:
                pipe.write(content)

        writers.append(threading.Thread(target=write))
        writers[-1].start()
        readers.append(open(reader, "rb", buffering=0))  # noqa: SIM115
        return readers[-1]

    yield open_as
    for reader in readers:
        while reader.read(65_536):  # or its writer waits
            pass
        reader.close()
    for writer in writers:
        writer.join()
