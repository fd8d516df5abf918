from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.transcription_server import TranscriptionServer, transcription_server


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[TranscriptionServer]:
    """A server on this machine, and no key in the environment."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with transcription_server() as server:
        yield server
