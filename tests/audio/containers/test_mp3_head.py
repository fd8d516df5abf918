from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from voxgate.audio.containers.mp3_head import HEAD_BYTES, Mp3Head

FRAMES = b"\xff\xfb\x90\x00" + os.urandom(6000)


def tag(n_bytes: int, has_footer: bool = False) -> bytes:
    size = bytes(n_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    footer = b"3DI\x04\x00\x10" + size if has_footer else b""
    return b"ID3\x04\x00" + (b"\x10" if has_footer else b"\x00") + size + b"ID3x" * (n_bytes // 4) + footer


@given(
    tags=st.lists(st.tuples(st.integers(0, 3000).map(lambda n: 4 * n), st.booleans()), max_size=3),
    cut_bytes=st.sampled_from([1, 7, 500, 4096, 1 << 20]),
    n_frame_bytes=st.sampled_from([0, 1, 100, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, 6000]),
)
def test_tags_are_left_out_and_the_head_comes_at_once(tags, cut_bytes, n_frame_bytes):
    data = b"".join(tag(*one) for one in tags) + FRAMES[:n_frame_bytes]
    head = Mp3Head()
    got = [head.push(data[at : at + cut_bytes]) for at in range(0, len(data), cut_bytes)]
    got.append(head.finish())
    assert b"".join(got) == FRAMES[:n_frame_bytes]
    first = next((part for part in got if part), b"")
    assert len(first) >= min(n_frame_bytes, HEAD_BYTES)
