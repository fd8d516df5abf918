"""Errors of the demuxers keep their kind and their text."""

from __future__ import annotations

import pytest

from voxgate.audio.containers.base import BrokenMedia, MediaLimit, UnsupportedMedia
from voxgate.audio.containers.errors import raise_error


@pytest.mark.parametrize(
    ("kind", "error"), [("broken", BrokenMedia), ("unsupported", UnsupportedMedia), ("limit", MediaLimit)]
)
def test_kinds(kind, error):
    with pytest.raises(error, match="the text"):
        raise_error((kind, "the text"))


def test_none():
    raise_error(None)
