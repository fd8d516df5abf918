"""What several tests of the command line stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def wav(tmp_path: Path) -> str:
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.zeros(16_000, dtype=np.int16), 16_000)
    return str(path)
