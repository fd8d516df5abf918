"""Hostile clients of the HTTP wires and of the APIs of other services: further rows of `kinds`."""

from __future__ import annotations

import base64
import random

from helpers.http_client import chunk, request
from helpers.raw import BINARY, Raw, frame, text
from helpers.uploads import form, head, part, wav
from hostile.kinds import kind, most

DEEPGRAM = "/v1/listen?encoding=linear16&sample_rate=16000&interim_results=true"
REALTIME = "/v1/realtime?intent=transcription"
BODIES = ("/api/v1/segmented", "/v1/listen")


@kind()
def half_a_form(raw: Raw, rng: random.Random) -> None:
    """It counts as a stream from its first byte on, and has no end."""
    body = form(("file", wav(rng.randbytes(20_000))), ("model", "x"))
    raw.send(head(10**9) + body[: rng.randrange(len(body))])


@kind()
def half_a_body(raw: Raw, rng: random.Random) -> None:
    data = request("POST", rng.choice(BODIES), transfer_encoding="chunked") + chunk(wav(rng.randbytes(40_000)))
    raw.send(data[: rng.randrange(100, len(data))])


@kind(end=400)
def no_form(raw: Raw, rng: random.Random) -> None:
    body = rng.choice([b"", b"--", b"\x00" * 100, rng.randbytes(500), part("file", b"x")[:-1] + b"--"])
    raw.send(head(len(body)) + body)


@kind(end=413)
def a_giant_field(raw: Raw, rng: random.Random) -> None:
    raw.send(head(10**9))
    raw.send(part(rng.choice(["prompt", "x" * 1000]), "x" * 200_000))


@kind(end=413)
def a_form_of_nothing_but_parts(raw: Raw, rng: random.Random) -> None:
    raw.send(head(10**9))
    raw.send(part("a", "") * 2000)


@kind(end=400)
def wants_something_fetched(raw: Raw, rng: random.Random) -> None:
    query, body = rng.choice([("", b'{"url":"http://127.0.0.1:1/"}'), ("?callback=http://127.0.0.1:1/", b"")])
    raw.send(
        request("POST", f"/v1/listen{query}", content_type="application/json", content_length=str(len(body))) + body
    )


@kind(heavy=True)
def never_reads_its_answer(raw: Raw, rng: random.Random) -> None:
    raw.send(request("POST", "/api/v1/segmented?probabilities=true", transfer_encoding="chunked"))
    most(raw, chunk(bytes(64_000)), 100)


@kind(heavy=True)
def a_file_without_end(raw: Raw, rng: random.Random) -> None:
    raw.send(head(10**9) + part("model", "x") + part("file", wav(b""))[:-2])
    most(raw, rng.randbytes(64_000), 50)


@kind(heavy=True)
def a_flood_of_answers(raw: Raw, rng: random.Random) -> None:
    """Each message has an answer, and nobody reads them."""
    path, message = rng.choice(
        [
            (DEEPGRAM, {"type": "Finalize"}),
            (DEEPGRAM, {"type": "Configure"}),
            (REALTIME, {"type": "input_audio_buffer.commit"}),
            (REALTIME, {"type": "session.update", "session": {"include": ["x" * 5000]}}),
        ]
    )
    raw.open(path)
    most(raw, text(message) * 200, 20)


@kind(heavy=True)
def a_flood_of_base64(raw: Raw, rng: random.Random) -> None:
    raw.open(REALTIME)
    audio = base64.b64encode(rng.randbytes(300_000)).decode()
    most(raw, text({"type": "input_audio_buffer.append", "audio": audio}), 20)


@kind(end=1008)
def wrong_base64(raw: Raw, rng: random.Random) -> None:
    raw.open(REALTIME)
    for _ in range(8):
        raw.say({"type": "input_audio_buffer.append", "audio": rng.choice(["***", "A", "=" * 40, "é"])})


@kind(end=1008)
def a_container_of_nothing(raw: Raw, rng: random.Random) -> None:
    raw.open("/v1/listen")
    for _ in range(20):
        raw.send(frame(BINARY, b"x" * 5000))
