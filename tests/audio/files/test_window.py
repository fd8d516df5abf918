"""A part of a file as a file."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from voxgate.audio.files.window import Window


@given(st.binary(max_size=50), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.binary(max_size=9))
def test_a_window_is_a_slice(content: bytes, start: int, length: int, at: int, patch: bytes) -> None:
    start, length = min(start, len(content)), min(length, max(0, len(content) - start))
    window = Window(io.BytesIO(content), start, length, (at, patch))
    want = bytearray(content[start : start + length])
    for i, byte in enumerate(patch):
        if at + i < length:
            want[at + i] = byte
    for begin in (0, at):
        window.seek(begin)
        assert b"".join(iter(lambda: window.read(3), b"")) == want[begin:]
