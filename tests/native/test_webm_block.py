"""A block of WebM belongs to its demuxer; tests/native/test_webm.py reads them."""

import copy
import pickle

import pytest

from voxgate._native.webm_block import WebmBlock


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy])
def test_it_cannot_be_copied(copied):
    with pytest.raises(TypeError, match="belongs to one stream and cannot be pickled or copied"):
        copied(WebmBlock())
