"""docs/limits.md: nothing is missing, and what it says of a limit is what happens there."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path

import pytest

from helpers.raw import BINARY, Raw, frame, upgrade
from helpers.wire import Client, refused, start
from tools.reference.answers import CLOSES, REFUSALS, close_code_of, wire_errors
from tools.reference.limits import LIMITS, limits
from voxgate.config import SETTINGS
from voxgate.endpoints.refusals import STATUSES
from voxgate.endpoints.wire import CLOSE_CODES
from voxgate.observe.metrics import tally
from voxgate.service.admission import RETRY_S, RefusalKind

ROOT = Path(__file__).parents[3]
SOURCE = "".join(
    path.read_text(encoding="utf-8")
    for path in (ROOT / "src" / "voxgate").rglob("*.py")
    if path.parent.name not in ("client", "cli", "load")
)
PAGE = limits()
ROWS = {limit.keys[0]: limit for group in LIMITS.values() for limit in group}


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


# ------------------------------------------------------------------------------------------------- nothing is missing


def test_every_limit_is_there_once():
    keys = [key for row in ROWS.values() for key in row.keys]
    assert len(keys) == len(set(keys))
    assert {key for key in SETTINGS if key.startswith("limits.")} <= set(keys) <= set(SETTINGS)
    for key in keys:
        assert f"`{key}`" in section("Every limit")


def test_defaults_have_the_unit_of_their_setting():
    text = section("Every limit")
    assert "| `limits.message_bytes` 1 MiB |" in text
    assert "| `vad.stall_flush_ms` 2000 ms |" in text
    assert "| `inference.max_jobs` 4096, `inference.max_seconds` 3600 s |" in text
    assert "| `inference.interims_per_s` 10 a second |" in text
    assert "| `limits.frames_per_second` 5000 a second |" in text
    assert "| `limits.min_sample_rate` 4000 Hz, `limits.max_sample_rate` 192000 Hz |" in text


FOREIGN = "invalid_request"
"""A refusal on the APIs of other services alone (docs/wires.md); these pages are about the server's own."""


def test_every_label_of_the_metrics_is_there():
    for key, row in ROWS.items():
        assert row.counted in ((), (key.partition(".")[2],))
    assert {label for row in ROWS.values() for label in row.counted} == set(tally.LIMITS) - {"other"}
    assert {refusal.code for refusal in REFUSALS} == set(tally.REASONS) - {FOREIGN, "other"}
    assert {kind.code for kind in wire_errors()} == set(tally.ERRORS) - {"other"}
    assert {str(close.code) for close in CLOSES} <= set(tally.CODES)


def test_every_refusal_of_the_source_is_there():
    kinds = re.findall(r'Refusal\(\s*RefusalKind\.(\w+),\s*"(\w+)"', SOURCE)
    found = {(STATUSES[RefusalKind[kind]], code) for kind, code in kinds}
    found.add((503, "not_ready"))  # and `draining`: the reason stands in a variable there
    found.add((503, "draining"))
    found.remove((400, FOREIGN))
    assert {(refusal.status, refusal.code) for refusal in REFUSALS} == found
    for status, code in found:
        assert re.search(rf"^\| {status} \| `{code}` \|", section("Every refusal"), re.MULTILINE)


def test_every_other_status_of_the_source_is_there():
    for status in re.findall(r"(?:JSONResponse\(.*, |status_code=|send_)(\d{3})\b", SOURCE):
        assert re.search(rf"^\| (?:\d{{3}}, )?{status}\b", section("Every refusal"), re.MULTILINE), status


def test_every_close_code_of_the_source_is_there():
    named = {int(code) for code in re.findall(r"^[A-Z_]+ = (10[01]\d)$", SOURCE, re.MULTILINE)}
    protocol_errors = {1002, 1007}  # of the library that reads frames
    assert {close.code for close in CLOSES} == set(CLOSE_CODES.values()) | named | protocol_errors


def test_who_is_told_and_who_is_not():
    told = {close.code for close in CLOSES if close.told}
    assert told == {close_code_of(kind) for kind in wire_errors()} - {None}


def test_the_contract_says_the_same():
    """docs/protocol.md has these tables too: it is a whole without this page."""
    contract = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    errors, _, rest = contract.partition("## 3. Errors")[2].partition("\nClose codes:\n")
    closes, _, rest = rest.partition("\n**Audio faster")
    refusals = rest.partition("**Refusals before the upgrade**")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|.*?(?:\b(1\d{3})\b.*)?\|$", errors, re.MULTILINE)
    for kind in wire_errors():
        row = re.search(rf"^\| `{kind.code}` \|.*\| (.*) \|$", errors, re.MULTILINE)
        assert row, kind
        assert (f"closes with {close_code_of(kind)}" in row[1]) is (close_code_of(kind) is not None)
    codes = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", closes, re.MULTILINE) for code in row.split(", ")}
    assert codes == {close.code for close in CLOSES}
    told = set()
    for statuses, names in re.findall(r"^\| ([\d, ]+) \| (`[^|]+) \|", refusals, re.MULTILINE):
        told |= {(int(status), code) for status in statuses.split(", ") for code in re.findall(r"`(\w+)`", names)}
    assert told == {(refusal.status, refusal.code) for refusal in REFUSALS}


# -------------------------------------------------------------------------------------- what it says is what happens


class Stuck:
    """A model that answers when the test is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, audio):
        self.over.wait(30)
        return {}


SILENT = b"\0\0" * 3200
STARTS = {
    "limits.channels": start(channels=9),
    "limits.min_sample_rate": start(sample_rate=300),
    "limits.segment_audio_s": start(channels=2, vad={"max_segment_s": 200}),
}
# What is sent once the limit is as low as this.
SENT = {
    "limits.start_timeout_s": (0.2, ()),
    "limits.idle_timeout_s": (0.2, (start(),)),
    "limits.session_s": (1, (start(),)),
    "limits.message_bytes": (1024, (start(), bytes(1025))),
    "limits.message_fragments": (2, (start(), [b"ab", b"cd", b"ef"])),
    "limits.invalid_messages": (2, ("{", "{")),
}


def counted(server) -> None:
    """Everything that was said has been counted. A client may know of its end before the server has looked at why."""
    end_s = time.monotonic() + 30
    while server.service.streams:
        assert time.monotonic() < end_s
    server.stop()


@pytest.mark.parametrize("key", SENT)
def test_what_closes(serve, key):
    row, (value, messages) = ROWS[key], SENT[key]
    server = serve(**{key: value})
    with Client(server.url()) as client:
        for message in messages:
            client.socket.send(message) if isinstance(message, list) else client.send(message)
        events = client.rest()
    of_error = {kind.code: close_code_of(kind) for kind in wire_errors()}
    assert client.close_code == (row.close or of_error[row.error])
    assert {event["code"] for event in events} == ({row.error} if row.error else set())
    assert bool(events) is next(close.told for close in CLOSES if close.code == client.close_code)
    if row.told:
        assert [event["message"] for event in events] == [row.told.format(value)]
    counted(server)
    assert {name for name, n in server.service.tally.limit_hits.items() if n} == set(row.counted)


def test_a_message_that_is_not_completed(serve):
    row = ROWS["limits.message_timeout_s"]
    server = serve(**{"limits.message_timeout_s": 0.2})
    with Raw(server.port).open() as raw:
        raw.send(frame(BINARY, b"ab", fin=False))
        assert [event["message"] for event in raw.rest()] == [row.told.format(0.2)]
        assert raw.close_code == 1008
    counted(server)
    assert server.service.tally.limit_hits[row.counted[0]] == 1


@pytest.mark.parametrize("key", STARTS)
def test_what_a_start_may_not_ask_for(serve, key):
    row = ROWS[key]
    with Client(serve().url()) as client:
        client.send(STARTS[key])
        event = client.receive()
    assert event["code"] == row.error
    assert event["message"] == row.told.format(f"{SETTINGS[key].default:g}")


@pytest.mark.parametrize("key", ["limits.streams", "limits.streams_per_address", "auth.pending_streams"])
def test_who_is_refused(serve, key):
    row = ROWS[key]
    n = 1 if key.startswith("auth.") else 2  # an address may have a quarter of those without a token, at least one
    server = serve(**{key: n, "auth.tokens": "secret" if key.startswith("auth.") else ""})
    with contextlib.ExitStack() as stack:
        for _ in range(n):
            stack.enter_context(Client(server.url()))
        status, headers, body = refused(server.url())
    assert (body["code"],) == row.refused
    assert status in {refusal.status for refusal in REFUSALS if refusal.code == body["code"]}
    assert RETRY_S[0] <= int(headers["retry-after"]) <= RETRY_S[1]
    if row.told:
        assert body["error"] == row.told.format(n)
    assert server.service.admission.refused[body["code"], "native"] == 1


def test_an_answer_that_does_not_come_in_time(serve):
    row, model = ROWS["inference.deadline_s"], Stuck()
    server = serve(model, **{"inference.deadline_s": 0.3, "inference.warm_up": False})
    try:
        with Client(server.url("simple")) as client:
            client.send(start(), SILENT)
            event = client.receive()
    finally:
        model.over.set()
    assert (event["code"], event["message"]) == (row.error, row.told.format(0.3))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (upgrade("/api/v1/simple", sec_websocket_version="12"), 400),
        (upgrade("/api/v1/simple", sec_websocket_key=None), 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"a" * 70_000, 431),
        (b"no HTTP\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_what_is_no_request(serve, request_, status):
    with Raw(serve().port) as raw:
        raw.send(request_)
        assert raw.response()[0] == status
