"""A file that all tests of ONNX models use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def mean(tmp_path: Path) -> str:
    """(batch, samples) -> the mean of each item: padding changes it."""
    pytest.importorskip("onnx", reason="the package onnx builds the models of these tests: pip install 'voxgate[test]'")
    from helpers.onnx_files import AUDIO, MEAN
    from reference.onnx_models import FLOAT, write

    return write(tmp_path / "mean.onnx", [AUDIO], [("mean", FLOAT, ["batch"])], [MEAN])
