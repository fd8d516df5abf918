"""The options of a start as the query that a server reads."""

from __future__ import annotations

import pytest

from voxgate.client.wires.http import query_of
from voxgate.endpoints.query import start_of
from voxgate.protocol.formats import AudioFormat, ContainerFormat
from voxgate.protocol.requests import Start, VadOptions


@pytest.mark.parametrize(
    "start",
    [
        Start(AudioFormat(1, 16_000, 16, False)),
        Start(AudioFormat(2, 8000, 8, False, "mulaw"), interim_results=True, notices=True, stability=True),
        Start(AudioFormat(1, 48_000, 32, True), vad=VadOptions(threshold=0.25, min_speech_ms=80)),
        Start(ContainerFormat("auto"), segmentation="manual"),
        Start(AudioFormat(1, 16_000, 24, False), options={"language": "de", "n": 3, "flag": True, "none": None}),
    ],
)
def test_the_server_reads_what_the_client_writes(start):
    assert start_of(query_of(start).encode()) == start
