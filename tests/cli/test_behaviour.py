"""The verdict on the GIL."""

from __future__ import annotations

import pytest

from voxgate.cli.behaviour import Gil


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(0.0, "holds"), (0.34, "holds"), (0.35, "shares"), (0.69, "shares"), (0.7, "releases"), (1.0, "releases")],
)
def test_the_share_decides_the_verdict(share: float, verdict: str) -> None:
    assert Gil(share, 0.01).verdict == verdict


def test_an_uncertain_share_decides_nothing() -> None:
    assert Gil(0.0, 0.01, is_certain=False).verdict == "unknown"
