"""Containers by their first bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voxgate.audio.files import container_of, may_become_container


@given(st.binary(max_size=12))
def test_a_head_that_is_too_short_to_tell(head: bytes) -> None:
    if may_become_container(head):
        assert container_of(head) is None
    assert may_become_container(b"RIFF"[: len(head) % 4])
