"""An importable module with detectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.own_detectors import OWN


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_detectors_for_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_detectors_for_test"
