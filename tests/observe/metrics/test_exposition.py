"""The text of an answer to a scrape."""

from __future__ import annotations

import gzip

import pytest

from voxgate.observe.metrics.exposition import Encoding, choose_encoding, write
from voxgate.observe.metrics.family import Family


def of_worker(number: str, value: float) -> list[Family]:
    return [Family("voxgate_streams", "counter", "Streams.", [("voxgate_streams_total", {"worker": number}, value)])]


@pytest.mark.parametrize(
    ("accept", "accept_encoding", "encoding"),
    [
        ("", "", (False, False)),
        ("text/plain;version=0.0.4", "br", (False, False)),
        ("*/*", "deflate, GZIP;q=0.5", (False, True)),
        ("application/openmetrics-text; version=1.0.0", "", (True, False)),
        ("application/openmetrics-text; version=1.0.0, text/plain;q=0.5", "gzip", (True, True)),
        ("nonsense \x00", ",,;", (False, False)),
    ],
)
def test_the_headers_choose_one_of_four_encodings(accept, accept_encoding, encoding):
    assert choose_encoding(accept, accept_encoding) == encoding


def test_families_of_several_processes_become_one():
    exposition = write([of_worker("0", 1.0), of_worker("1", 2.0)], Encoding(False, False))
    assert exposition.body.decode() == (
        "# HELP voxgate_streams_total Streams.\n# TYPE voxgate_streams_total counter\n"
        'voxgate_streams_total{worker="0"} 1.0\nvoxgate_streams_total{worker="1"} 2.0\n'
    )
    assert exposition.headers == {
        "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
        "Vary": "Accept, Accept-Encoding",
    }


def test_openmetrics_compressed():
    exposition = write([of_worker("0", 1.0)], Encoding(True, True))
    assert exposition.headers["Content-Encoding"] == "gzip"
    assert exposition.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert gzip.decompress(exposition.body).endswith(b"# EOF\n")
