from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voxgate.audio.containers.messages import Kind, Message, MessageReader, encode

MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=100)), max_size=10
)


@given(messages=MESSAGES, cut_bytes=st.integers(1, 50))
def test_messages_come_out_as_they_went_in(messages, cut_bytes):
    data = b"".join(map(encode, messages))
    reader = MessageReader()
    got = [message for at in range(0, len(data), cut_bytes) for message in reader.push(data[at : at + cut_bytes])]
    assert got == messages
