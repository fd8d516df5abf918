"""What all containers of this process have in common."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from helpers.media import RATE, SPEECH
from voxgate import errors
from voxgate.audio.containers import base
from voxgate.audio.containers.decoders import LOCAL
from voxgate.audio.containers.encoding import encode

pytest.importorskip("av")


def test_its_errors_are_those_of_the_one_hierarchy():
    for name in ("MediaError", "BrokenMedia", "UnsupportedMedia", "TruncatedMedia", "MediaLimit", "DecoderFailed"):
        assert getattr(base, name) is getattr(errors, name)


@pytest.mark.parametrize("name", LOCAL)
def test_pieces_are_whole_frames_and_no_longer_than_one_turn_of_the_loop_takes(name):
    module, kind = LOCAL[name]
    container = getattr(importlib.import_module(module), kind)()
    assert container.format is None
    pieces = list(container.push(encode(np.concatenate([SPEECH, SPEECH]), RATE, name)))
    pieces += container.finish()
    format = container.format
    container.close()
    container.close()
    longest_bytes = int(base.PIECE_S * format.sample_rate) * format.sample_bytes
    assert all(len(piece) <= longest_bytes and len(piece) % format.frame_bytes == 0 for piece in pieces)
    n_frames = sum(map(len, pieces)) // format.frame_bytes
    assert n_frames / format.sample_rate == pytest.approx(SPEECH.shape[1] / RATE, abs=0.001)
