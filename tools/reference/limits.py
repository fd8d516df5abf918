"""docs/limits.md: every limit, and every way in which a connection is refused, told off or ended.

What is known elsewhere is taken from there: defaults and ranges from the settings, codes and closes from the errors,
statuses from `answers`. Here stands what happens when a limit is reached; tests reach those that can be reached.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from voxgate._native import ogg, webm
from voxgate.audio.containers.wav import MAX_HEADER_BYTES
from voxgate.config import SETTINGS
from voxgate.errors import VoxgateError
from voxgate.protocol.tokens import MAX_TOKEN_BYTES
from voxgate.server.closing import CLOSE_MAX_S, CLOSE_TIMEOUT_S, DISCARD_BYTES
from voxgate.server.http import PIPELINED_REQUESTS, REQUEST_BYTES
from voxgate.service.admission import RETRY_S
from voxgate.session.inbox import INBOX_BYTES, INBOX_MAX_BYTES

from .answers import CLOSES, REFUSALS, close_code_of, wire_errors

__all__ = ["LIMITS", "Limit", "limits"]


class Limit(NamedTuple):
    """A limit, by the settings that say where it is, and what happens there."""

    keys: tuple[str, ...]
    effect: str
    refused: tuple[str, ...] = ()
    """Codes of `answers.REFUSALS`."""
    error: str = ""
    """The code of an error event."""
    told: str = ""
    """The text of the answer; ``{}`` is the value of the first setting."""
    close: int | None = None
    """The code of the close frame, where it is not that of the error."""
    counted: tuple[str, ...] = ()
    """Labels of ``voxgate_limit_hits_total``: the name of the first setting."""


LIMITS: Final[dict[str, tuple[Limit, ...]]] = {
    "Admission": (
        Limit(("limits.streams", "limits.scope"), "refuses new streams, of one server process or of all",
              ("streams",), told="server full: {} streams are open"),
        Limit(("limits.streams_per_address",), "refuses new streams of the address; IPv6 addresses count by /64",
              ("streams_per_address",), told="{} streams are open from this address"),
        Limit(("limits.streams_per_token",), "refuses new streams of the token, or of the hook's client. Token in"
              " `start`: error `overloaded`, close 1013", ("streams_per_token",)),
        Limit(("limits.redis_url", "limits.redis_fails"), "`closed`: refuses new streams while Redis does not answer",
              ("redis",)),
        Limit(("limits.queue_wait_s",), "refuses new streams while calls wait longer; from half of it on, those beyond"
              " the learned capacity", ("queue_wait",)),
        Limit(("limits.total_buffered_audio_s",), "refuses new streams; holds those back that exceed their share",
              ("buffered_audio",), told="more than {} s of audio wait for the model",
              counted=("total_buffered_audio_s",)),
        Limit(("auth.pending_streams",), "refuses connections without a token while so many (at most a quarter of"
              " `limits.streams`; a quarter of them for one address) have not sent theirs", ("pending_streams",)),
        Limit(("auth.hook_timeout_s", "auth.hook_calls"), "the hook is late, or too many of its calls run (a quarter"
              " for one address). Token in `start`: error `internal`, close 1011", ("auth_unavailable",),
              told="tokens cannot be checked at the moment"),
        Limit(("limits.handshake_timeout_s",), "TLS and the request are incomplete: cut"),
    ),
    "Time": (
        Limit(("limits.start_timeout_s",), "no valid `start` after connecting", error="timeout",
              told="no start within {} s of connecting", counted=("start_timeout_s",)),
        Limit(("limits.idle_timeout_s",), "no message while the client waits for no answer", error="timeout",
              told="no message within {} s", counted=("idle_timeout_s",)),
        Limit(("limits.session_s",), "sends the results of the connection and closes it", error="timeout",
              told="the connection is {} s old, the longest allowed", counted=("session_s",)),
        Limit(("server.drain_s",), "at shutdown, ends remaining sessions (in the last tenth, at most 2 s) and sends"
              " their finals", close=1001),
    ),
    "Messages": (
        Limit(("limits.message_bytes",), "a larger message", close=1009, counted=("message_bytes",)),
        Limit(("limits.message_fragments",), "a message in more frames", close=1009, counted=("message_fragments",)),
        Limit(("limits.message_timeout_s",), "an incomplete message", error="timeout",
              told="a message was not complete within {} s", counted=("message_timeout_s",)),
        Limit(("limits.frames_per_second",), "held back: reads frames, pings included, at this rate"),
        Limit(("limits.invalid_messages",), "each gets `invalid_message`; this many close", error="invalid_message",
              close=1008, counted=("invalid_messages",)),
        Limit(("limits.unsent_events", "limits.unsent_bytes"), "held back until the client reads",
              counted=("unsent_events",)),
        Limit(("server.send_timeout_s",), "the client reads nothing: cut"),
    ),
    "Uploads": (
        Limit(("limits.upload_bytes",), "a larger request with a file: HTTP 413", counted=("upload_bytes",)),
        Limit(("limits.recording_bytes",), "a larger recording for Riva's `Recognize`: `RESOURCE_EXHAUSTED`",
              counted=("recording_bytes",)),
        Limit(("limits.upload_field_bytes",), "larger fields beside the file, with headers: HTTP 413",
              counted=("upload_field_bytes",)),
        Limit(("limits.upload_spool_bytes",), "more bytes of all uploads on the disk: HTTP 503 with `Retry-After`",
              counted=("upload_spool_bytes",)),
    ),
    "The fields of `start`": (
        Limit(("limits.channels",), "no session opens", error="invalid_start",
              told="format.channels must be 1..{}, got 9"),
        Limit(("limits.min_sample_rate", "limits.max_sample_rate"), "no session opens",
              error="invalid_start", told="format.sample_rate must be 4000..192000 Hz, got 300"),
        Limit(("limits.segment_audio_s",), "divided by the channels, the largest `vad.max_segment_s`",
              error="invalid_start", told="vad.max_segment_s must be 1..150 s with 2 channels, got 200"),
    ),
    "Audio and utterances": (
        Limit(("limits.buffered_audio_s",), "held back while so much audio of the stream waits",
              counted=("buffered_audio_s",)),
        Limit(("vad.max_segment_s",), "cuts the utterance with a final; it goes on without another `active`"),
        Limit(("vad.stall_flush_ms",), "no audio arrives for an open utterance: sends its final"),
        Limit(("turn.deadline_ms", "turn.max_questions"), "silence decides in place of the turn detector"),
        Limit(("simple.max_chunk_s",), "splits longer audio into several calls (simple and stateful routes)"),
    ),
    "Compressed audio": (
        Limit(("media.header_bytes",), "no audio so far: ends the session",
              error="media_limit", told="no audio within {} bytes (media.header_bytes)"),
        Limit(("media.parts_per_s",), "more elements, pages, packets or joined streams, after those of 10 s: ends the"
              " session", error="media_limit",
              told="more than {} parts for each second of audio (media.parts_per_s)"),
        Limit(("media.tracks",), "more tracks, in a decoder process: ends the session", error="media_limit"),
        Limit(("media.decoded_s",), "more audio in one container: ends the session after the results",
              error="media_limit", told="more than {} s of audio (media.decoded_s)"),
        Limit(("media.spool_bytes",), "a larger MP4 file with its index at the end: ends the session",
              error="media_limit"),
        Limit(("media.timeout_s",), "kills the decoder process and ends the sessions of its streams",
              error="decoder_failed", told="the decoder gave no answer within {} s"),
        Limit(("media.idle_s",), "ends a decoder process without streams until the next one needs it"),
        Limit(("media.processes", "media.streams"), "a further stream that needs a decoder process",
              error="overloaded"),
    ),
    "Calls of the model": (
        Limit(("inference.deadline_s",), "an error in place of the result", error="inference_failed",
              told="The model gave no answer within {} s"),
        Limit(("inference.per_stream",), "further calls of the stream wait"),
        Limit(("inference.concurrency",), "further calls of an asynchronous model wait"),
        Limit(("inference.interims_per_s",), "newer interims of running calls replace older ones"),
        Limit(("inference.max_jobs", "inference.max_seconds"), "further calls wait in their streams, and after"
              " `inference.deadline_s` get an error in place of the result", error="overloaded",
              counted=("max_jobs",)),
        Limit(("inference.stream_jobs", "inference.stream_seconds"), "held back from half of it on; beyond it, calls"
              " get an error in place of the result after `inference.deadline_s`", error="overloaded",
              counted=("stream_jobs",)),
        Limit(("inference.max_batch_size", "inference.max_batch_seconds"), "further calls go into the next batch"),
    ),
}  # fmt: skip

_FIXED: Final = (
    ("headers of a request", REQUEST_BYTES, " bytes", "HTTP 431 `request_too_large`"),
    ("a request with its body", REQUEST_BYTES, " bytes", "HTTP 413 `request_too_large`"),
    ("requests sent ahead of their answers", PIPELINED_REQUESTS, "", "HTTP 400 `bad_request`"),
    ("a token", MAX_TOKEN_BYTES, " bytes", "is a bad token"),
    ("silence of the client after the server's close frame", CLOSE_TIMEOUT_S, " s", "cut"),
    ("time until the client's close frame and the end of its side", CLOSE_MAX_S, " s", "cut"),
    ("data discarded until then", DISCARD_BYTES // 2**20, " MiB", "cut"),
    ("messages that wait to be decoded", INBOX_BYTES, " bytes",
     f"held back, except for a little every few seconds, up to {INBOX_MAX_BYTES // 2**20} MiB, so that pings are"
     " answered"),
    ("a block of WebM", webm.MAX_BLOCK_BYTES // 2**10, " KiB", "error `media_limit`"),
    ("a packet of Ogg", ogg.MAX_PACKET_BYTES // 2**20, " MiB", "error `media_limit`"),
    ("a skipped element of WebM", webm.MAX_SKIPPED_BYTES // 2**20, " MiB", "error `media_limit`"),
    ("tracks of WebM", webm.MAX_TRACKS, "", "error `media_limit`"),
    ("bytes without a valid page of Ogg", ogg.MAX_SKIPPED_BYTES // 2**20, " MiB", "error `invalid_media`"),
    ("the header of WAV", MAX_HEADER_BYTES // 2**20, " MiB", "error `media_limit`"),
    ("a gap in the times of WebM, Ogg or FLAC", 60, " s", "error `invalid_media`; a shorter one is concealed"),
)  # fmt: skip

_HEAD: Final = """\
# Limits, refusals and close codes

<!-- Written by `make reference` from the settings, the errors and tools/reference. Change those, not
this file. -->

No limit drops audio of a client that follows the protocol. *Held back*: the server stops reading, TCP slows the client
down, and nothing is lost. *Cut*: the connection ends without an error event and without a close frame. With `notices`,
`started` contains the limits that concern a client.

The statuses are those of Voxgate's own protocol and of live audio over plain HTTP. [The APIs of other
services](wires.md#what-they-have-in-common) answer 503 in place of 429, and 400 in place of 501.

## Every limit

Limits apply to each server process (`server.workers`); with `limits.scope = "host"`, those of streams apply to all
together. *Counted*: in `voxgate_limit_hits_total`, under the name of the first setting. `voxgate_rejected_total`,
`voxgate_errors_total` and `voxgate_closes_total` count refusals, errors and closes by their codes.
[configuration.md](configuration.md) has the ranges.
"""


def limits() -> str:
    """The page."""
    return "\n".join([_HEAD, *_limits(), *_refusals(), *_closes()])


def _limits() -> list[str]:
    parts = []
    for title, group in LIMITS.items():
        rows = "".join(_row(limit) for limit in group)
        parts.append(
            f"### {title}\n\n| setting and default | what happens at the limit | answer |\n|---|---|---|\n" + rows
        )
    rows = "".join(f"| {what} | {number:g}{unit} | {effect} |\n" for what, number, unit, effect in _FIXED)
    parts.append(f"### Fixed limits\n\n| limit of | | what happens at it |\n|---|---|---|\n{rows}")
    return parts


def _row(limit: Limit) -> str:
    names = ", ".join(f"`{key}` {_default(key)}" for key in limit.keys)
    return f"| {names} | {limit.effect} | {_answer(limit)} |\n"


def _default(key: str) -> str:
    """With its unit, which the name of the setting ends with."""
    number = SETTINGS[key].default
    if number is None or isinstance(number, str):
        return f"`{number}`" if number else "not set"
    if key.endswith(("_per_s", "_per_second")):
        return f"{number:g} a second"
    unit = key.rpartition("_")[2].replace("seconds", "s")
    if unit == "bytes":
        return f"{number // 2**20} MiB" if number % 2**20 == 0 else f"{number} bytes"
    if unit == "rate":
        return f"{number} Hz"
    return f"{number:g} {unit}" if unit in ("s", "ms") else f"{number:g}"


def _answer(limit: Limit) -> str:
    told = limit.told.format(f"{SETTINGS[limit.keys[0]].default:.12g}") if limit.told else ""
    parts = []
    for code in limit.refused:
        statuses = [str(refused.status) for refused in REFUSALS if refused.code == code]
        parts.append(f"HTTP {' or '.join(statuses)} `{code}`")
    if limit.error:
        parts.append(f"error `{limit.error}`")
    if told:
        parts[-1] += f": `{told}`"
    close = limit.close if limit.close is not None else _close_of(limit)
    if close is not None:
        parts.append(f"close {close}")
    if limit.counted:
        parts.append("counted")
    return "; ".join(parts)


def _close_of(limit: Limit) -> int | None:
    kind = next((kind for kind in wire_errors() if kind.code == limit.error), None)
    # An error that stands in place of a result closes nothing.
    if kind is None or "in place of" in limit.effect or limit.keys[0].startswith("inf"):
        return None
    return close_code_of(kind)


_REFUSALS: Final = f"""\
## Every refusal

Plain HTTP before the upgrade, with a JSON body: `error` for people, `code` for programs. 429 and 503 mean: retry after
`Retry-After` ({RETRY_S[0]} to {RETRY_S[1]} s), or use another server.

```json
{{"error":"server full: 1024 streams are open","code":"streams"}}
```

| status | `code` | why | what to do |
|---|---|---|---|
"""

_OTHER_STATUSES: Final = f"""\
| status | of what | when |
|---|---|---|
| 101 | a route | the stream is open |
| 200 | `health`, `ready`, `info`, `/metrics`, the page | |
| 204 | a path of an HTTP wire | `OPTIONS`, for web pages of other origins |
| 304 | the page | the browser has it |
| 400 | anything | `bad_request`: no HTTP, or too many requests ahead of their answers |
| 400 | live audio over plain HTTP | `invalid_request`: an unknown or wrong option in the query |
| 400, 405, 426, 505 | a route | `bad_handshake`: a malformed websocket request, or one with a body |
| 400 | a websocket on a path that takes none | `invalid_request` |
| 401, 503 | `info`, `/metrics` | as above, where they need a token |
| 405 | a known path with another method | `method_not_allowed`, with `Allow` |
| 413, 431 | anything | `request_too_large`: more than {REQUEST_BYTES} bytes |
| 426 | `GET` on a path for websockets alone | `upgrade_required` |
| 500 | anything | a bug of the server; the log has the stack |
| 503 | `GET /api/v1/ready` | `{{"status":"not ready","reason":...}}`, with `Retry-After` |
"""


def _refusals() -> list[str]:
    rows = "".join(f"| {r.status} | `{r.code}` | {r.why} | {r.remedy} |\n" for r in REFUSALS)
    return [_REFUSALS + rows, "Other statuses:\n", _OTHER_STATUSES]


_ERRORS: Final = """\
## Every error

[The contract](protocol.md#3-errors) explains the codes of error events. A number is the close code that follows, unless
the error stands in place of a result.

"""
_CLOSES: Final = """\
## Every close code

| code | why | after an error event | connect again |
|---|---|---|---|
"""
_NOT_OURS: Final = """\
Client libraries report 1006 for a connection without a close frame: check the timeouts of proxies first. `voxgate
client --reconnect` reconnects without losing anything.
"""


def _closes() -> list[str]:
    rows = "".join(f"| {c.code} | {c.why} | {'yes' if c.told else 'no'} | {c.remedy} |\n" for c in CLOSES)
    errors = ", ".join(map(_closing, wire_errors()))
    return [f"{_ERRORS}{errors}.\n", _CLOSES + rows, _NOT_OURS]


def _closing(kind: type[VoxgateError]) -> str:
    code = close_code_of(kind)
    return f"`{kind.code}`" + ("" if code is None else f" ({code})")
