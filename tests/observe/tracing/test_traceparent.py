"""The `traceparent` of W3C Trace Context."""

import pytest

from voxgate.observe.tracing import parse_traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_valid_traceparent():
    parent = parse_traceparent(TRACEPARENT, "vendor=1")
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.flags, parent.state) == (TRACE, SPAN, 1, "vendor=1")


def test_a_later_version_may_say_more():
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like") is not None
    assert parse_traceparent(f"cc-{TRACE}-{SPAN}-01.what") is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "no traceparent",
        TRACE,
        TRACEPARENT.upper(),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        TRACEPARENT + "\n",
        " " + TRACEPARENT,
        TRACEPARENT.replace("0af", "0ag"),
    ],
)
def test_an_invalid_traceparent_is_none(text: str | None):
    assert parse_traceparent(text) is None
