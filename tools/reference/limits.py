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
        Limit(("limits.streams", "limits.scope"), "no further stream, of one server process or of all", ("streams",),
              told="server full: {} streams are open"),
        Limit(("limits.streams_per_address",), "no further stream of this address; an IPv6 address counts by its /64",
              ("streams_per_address",), told="{} streams are open from this address"),
        Limit(("limits.streams_per_token",), "no further stream with this token, or of the client that the hook names."
              " When the token was in `start`: error `overloaded`, close 1013", ("streams_per_token",)),
        Limit(("limits.redis_url", "limits.redis_fails"), "with `closed`, no new stream while Redis gives no answer",
              ("redis",)),
        Limit(("limits.queue_wait_s",), "no new stream while calls wait longer than this; from half of it on none"
              " beyond the number that the model was found to serve", ("queue_wait",)),
        Limit(("limits.total_buffered_audio_s",), "no new stream; those that hold more than their share of it are held"
              " back", ("buffered_audio",), told="more than {} s of audio wait for the model",
              counted=("total_buffered_audio_s",)),
        Limit(("auth.pending_streams",), "no further connection that comes without a token, while so many (at most a"
              " quarter of `limits.streams`) have not sent theirs; an address may have a quarter of them",
              ("pending_streams",)),
        Limit(("auth.hook_timeout_s", "auth.hook_calls"), "a token cannot be checked: the hook gives no answer in time,"
              " or as many calls run already, or a quarter of them for this address. When the token was in `start`:"
              " error `internal`, close 1011", ("auth_unavailable",), told="tokens cannot be checked at the moment"),
        Limit(("limits.handshake_timeout_s",), "TLS and the request were not complete in time: cut"),
    ),
    "Time": (
        Limit(("limits.start_timeout_s",), "no valid `start` since the connection was opened", error="timeout",
              told="no start within {} s of connecting", counted=("start_timeout_s",)),
        Limit(("limits.idle_timeout_s",), "no message, while the client waits for no answer", error="timeout",
              told="no message within {} s", counted=("idle_timeout_s",)),
        Limit(("limits.session_s",), "the connection is too old: its results are sent first", error="timeout",
              told="the connection is {} s old, the longest allowed", counted=("session_s",)),
        Limit(("server.drain_s",), "the server shuts down: it ends sessions that still run then (less a tenth of it, at"
              " most 2 s), and sends their finals", close=1001),
    ),
    "Messages": (
        Limit(("limits.message_bytes",), "a larger message", close=1009, counted=("message_bytes",)),
        Limit(("limits.message_fragments",), "a message in more frames", close=1009, counted=("message_fragments",)),
        Limit(("limits.message_timeout_s",), "a message was begun and not completed", error="timeout",
              told="a message was not complete within {} s", counted=("message_timeout_s",)),
        Limit(("limits.frames_per_second",), "held back: further frames, pings included, are read later, at this rate"),
        Limit(("limits.invalid_messages",), "so many invalid messages; each is answered by `invalid_message`, and the"
              " last one closes", error="invalid_message", close=1008, counted=("invalid_messages",)),
        Limit(("limits.unsent_events", "limits.unsent_bytes"), "held back: that much waits for the client to read it",
              counted=("unsent_events",)),
        Limit(("server.send_timeout_s",), "the client read nothing for so long: cut"),
    ),
    "Uploads": (
        Limit(("limits.upload_bytes",), "a larger body of a request with a whole file: HTTP 413",
              counted=("upload_bytes",)),
        Limit(
            ("limits.recording_bytes",),
            "a larger recording in a call of Riva's `Recognize`: `RESOURCE_EXHAUSTED`",
            counted=("recording_bytes",),
        ),
        Limit(("limits.upload_field_bytes",), "more bytes of fields beside the file, headers included: HTTP 413",
              counted=("upload_field_bytes",)),
        Limit(("limits.upload_spool_bytes",), "more bytes on the disk, of all uploads together: HTTP 503 with"
              " `Retry-After`", counted=("upload_spool_bytes",)),
    ),
    "The fields of `start`": (
        Limit(("limits.channels",), "more channels: no session opens", error="invalid_start",
              told="format.channels must be 1..{}, got 9"),
        Limit(("limits.min_sample_rate", "limits.max_sample_rate"), "another rate: no session opens",
              error="invalid_start", told="format.sample_rate must be 4000..192000 Hz, got 300"),
        Limit(("limits.segment_audio_s",), "bounds `vad.max_segment_s`: at most this, divided by the channels of the"
              " stream", error="invalid_start", told="vad.max_segment_s must be 1..150 s with 2 channels, got 200"),
    ),
    "Audio and utterances": (
        Limit(("limits.buffered_audio_s",), "held back: that much audio of the stream waits for the model",
              counted=("buffered_audio_s",)),
        Limit(("vad.max_segment_s",), "an utterance this long is cut with a final and goes on, without another"
              " `active`"),
        Limit(("vad.stall_flush_ms",), "the audio of an open utterance has stopped coming: its final is sent"),
        Limit(("turn.deadline_ms", "turn.max_questions"), "the turn detector has no answer, or too many questions"
              " wait for it: silence decides"),
        Limit(("simple.max_chunk_s",), "more audio goes into further calls, on the simple and the stateful route"),
    ),
    "Compressed audio": (
        Limit(("media.header_bytes",), "no audio within so many bytes of the container: the session ends",
              error="media_limit", told="no audio within {} bytes (media.header_bytes)"),
        Limit(("media.parts_per_s",), "more elements, pages, packets or joined streams for each second of audio, after"
              " those of 10 s: the session ends", error="media_limit",
              told="more than {} parts for each second of audio (media.parts_per_s)"),
        Limit(("media.tracks",), "more tracks in a container that a decoder process reads: the session ends",
              error="media_limit"),
        Limit(("media.decoded_s",), "more audio in one container: the session ends after the results of so much",
              error="media_limit", told="more than {} s of audio (media.decoded_s)"),
        Limit(("media.spool_bytes",), "a larger MP4 file with its index at the end: the session ends",
              error="media_limit"),
        Limit(("media.timeout_s",), "a decoder process gave no answer for so long: it is killed, and the sessions of"
              " its streams end", error="decoder_failed", told="the decoder gave no answer within {} s"),
        Limit(("media.idle_s",), "a decoder process without streams ends; the next one starts it again"),
        Limit(("media.processes", "media.streams"), "no further stream that needs a decoder process",
              error="overloaded"),
    ),
    "Calls of the model": (
        Limit(("inference.deadline_s",), "the call waited and ran longer: an error in place of its result",
              error="inference_failed", told="The model gave no answer within {} s"),
        Limit(("inference.per_stream",), "further calls of the stream wait"),
        Limit(("inference.concurrency",), "further calls of an asynchronous model wait"),
        Limit(("inference.interims_per_s",), "newer interim results of running calls replace those that wait"),
        Limit(("inference.max_jobs", "inference.max_seconds"), "further calls wait in their streams; one that has found"
              " no room for `inference.deadline_s` is answered by an error in place of its result", error="overloaded",
              counted=("max_jobs",)),
        Limit(("inference.stream_jobs", "inference.stream_seconds"), "held back from half so many calls on; beyond, the"
              " same for the calls of one stream", error="overloaded", counted=("stream_jobs",)),
        Limit(("inference.max_batch_size", "inference.max_batch_seconds"), "further calls go into further batches"),
    ),
}  # fmt: skip

_FIXED: Final = (
    ("the headers of a request, of a websocket or not", REQUEST_BYTES, " bytes", "HTTP 431 `request_too_large`"),
    ("a request with its body", REQUEST_BYTES, " bytes", "HTTP 413 `request_too_large`"),
    ("requests sent ahead of their answers", PIPELINED_REQUESTS, "", "HTTP 400 `bad_request`"),
    ("a token", MAX_TOKEN_BYTES, " bytes", "counts as a bad one"),
    ("time in which a client sends nothing, while its close frame or the end of its side is awaited", CLOSE_TIMEOUT_S,
     " s", "cut"),
    ("time until the client's close frame and the end of its side", CLOSE_MAX_S, " s", "cut"),
    ("data discarded until then", DISCARD_BYTES // 2**20, " MiB", "cut"),
    ("messages that wait to be decoded", INBOX_BYTES, " bytes",
     f"held back, except for a little every few seconds, up to {INBOX_MAX_BYTES // 2**20} MiB: an unread socket"
     " answers no pings"),
    ("a block of a WebM track, a packet of Ogg", max(webm.MAX_BLOCK_BYTES, ogg.MAX_PACKET_BYTES) // 2**20, " MiB",
     "error `media_limit`"),
    ("an element of WebM that is skipped", webm.MAX_SKIPPED_BYTES // 2**20, " MiB", "error `media_limit`"),
    ("tracks of a WebM stream", webm.MAX_TRACKS, "", "error `media_limit`"),
    ("bytes without a valid page of Ogg", ogg.MAX_SKIPPED_BYTES // 2**20, " MiB", "error `invalid_media`"),
    ("the header of a WAV stream", MAX_HEADER_BYTES // 2**20, " MiB", "error `media_limit`"),
    ("a gap in the times of WebM, Ogg or FLAC", 60, " s", "error `invalid_media`; a shorter one is concealed"),
)  # fmt: skip

_HEAD: Final = """\
# Limits, refusals and close codes

<!-- Written by `make reference` from the settings, the errors and tools/reference. Change those, not
this file. -->

No limit drops audio of a client that follows the protocol. *Held back* means that the server stops reading until there
is room: TCP slows the client down, nothing is lost, and the connection stays open. *Cut* means that the connection ends
without an error event and without a close frame.

With `notices` on, `started` contains the limits that concern a client.

The statuses are those of Voxgate's own protocol and of live audio over plain HTTP. [The APIs of other
services](wires.md#what-they-have-in-common) answer 503 in place of 429, and 400 in place of 501.

## Every limit

Each server process (`server.workers`) has its own. *Counted*: in the metric `voxgate_limit_hits_total`, under
the name of the first setting. Refusals are counted by `voxgate_rejected_total`, errors by `voxgate_errors_total` and
closes by `voxgate_closes_total`, each under its code. [configuration.md](configuration.md) has the ranges.
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


_REFUSALS: Final = """\
## Every refusal

Before the upgrade, plain HTTP with a JSON body: `error` for people, `code` for programs. `Retry-After` varies, so that
clients do not all return together.

```json
{"error":"server full: 1024 streams are open","code":"streams"}
```

| status | `code` | why | `Retry-After` | what to do |
|---|---|---|---|---|
"""

_OTHER_STATUSES: Final = f"""\
| status | of what | when |
|---|---|---|
| 101 | a route | the upgrade: the stream is open |
| 200 | `health`, `ready`, `info`, `/metrics`, the page | |
| 204 | a path of an HTTP wire | the answer to `OPTIONS`, for web pages of other origins |
| 304 | the page | the browser has it already |
| 400 | anything | `bad_request`: the bytes are not HTTP, or too many requests came ahead of their answers |
| 400 | live audio over plain HTTP | `invalid_request`: an option in the query is unknown or wrong; the text names it |
| 400, 405, 426, 505 | a route | `bad_handshake`: the request for a websocket is malformed, or has a body |
| 401, 503 | `info`, `/metrics` | as above, where they ask for a token |
| 404 | anything else | as above |
| 405 | a known path with another method | `method_not_allowed`, with `Allow` |
| 426 | `GET` on a path for websockets alone | `upgrade_required`: the request has no upgrade |
| 400 | a websocket on a path that takes none | `invalid_request` |
| 413, 431 | anything | `request_too_large`: more than {REQUEST_BYTES} bytes of headers, or of headers and body |
| 421 | anything but `health` and `ready` | as above |
| 500 | anything | a bug of the server, whose log has the stack |
| 503 | `GET /api/v1/ready` | `{{"status":"not ready","reason":...}}`, with `Retry-After`: no new stream is accepted |
"""


def _refusals() -> list[str]:
    rows = "".join(f"| {r.status} | `{r.code}` | {r.why} | {r.retry} | {r.remedy} |\n" for r in REFUSALS)
    return [_REFUSALS + rows, "Other statuses:\n", _OTHER_STATUSES]


_ERRORS: Final = """\
## Every error

Events of type `error`; `message` names the expected and the received value.

| `code` | meaning | closes with |
|---|---|---|
"""
_CLOSES: Final = """\
## Every close code

| code | why | an error event comes before it | connect again |
|---|---|---|---|
"""
_NOT_OURS: Final = """\
1006 is not sent: client libraries report it for a connection without a close frame. Behind a proxy, check the
proxy's timeouts first. `voxgate client --reconnect` reconnects without losing anything.
"""


def _closes() -> list[str]:
    errors = "".join(f"| `{kind.code}` | {_about(kind)} | {_closing(kind)} |\n" for kind in wire_errors())
    rows = "".join(f"| {c.code} | {c.why} | {'yes' if c.told else 'no'} | {c.remedy} |\n" for c in CLOSES)
    return [_ERRORS + errors, _CLOSES + rows, _NOT_OURS]


def _closing(kind: type[VoxgateError]) -> str:
    code = close_code_of(kind)
    if code is None:
        return ""
    in_place = kind.code in ("internal", "overloaded")
    return f"{code}" + (", unless it stands in place of a result" if in_place else "")


def _about(kind: type[VoxgateError]) -> str:
    """The first sentences of its docstring; what is said of the connection stands in the next column."""
    sentences = " ".join((kind.__doc__ or "").split()).split(". ")
    kept = [sentence.rstrip(".") for sentence in sentences if "connection" not in sentence and "log" not in sentence]
    return ". ".join(kept).replace("``", "`")
