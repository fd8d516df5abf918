"""What a transcription server answers: JSON documents, and streams of server-sent events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

__all__ = ["MAX_EVENT_BYTES", "BadAnswer", "EventDecoder", "Transcription", "error_text", "model_names", "parse_answer"]

MAX_EVENT_BYTES = 1 << 20
"""The longest event of a stream."""

T = TypeVar("T")

_DONE = b"[DONE]"


class BadAnswer(Exception):
    """The body of an answer is not what the protocol says. The text says what is wrong, and quotes nothing of it."""


class _Word(Struct):
    word: str
    start: float
    end: float


class _Segment(Struct):
    text: str
    start: float
    end: float


class _Answer(Struct, omit_defaults=True):
    text: str
    language: str | None = None
    words: list[_Word] | None = None
    segments: list[_Segment] | None = None


def parse_answer(body: bytes) -> dict[str, Any]:
    """The result in the body of a `json` or `verbose_json` answer: `text`, and as far as the server gives them
    `language`, `words` and `segments` with `start` and `end` in seconds. Raises BadAnswer.
    """
    answer = _parsed(body, _Answer)
    answer.text = answer.text.strip()
    result: dict[str, Any] = msgspec.to_builtins(answer)
    return result


class _Listed(Struct):
    id: str


class _Models(Struct):
    data: list[_Listed]


def model_names(body: bytes) -> list[str]:
    """The names in the answer to `GET /v1/models`; empty when the body is no such list."""
    try:
        return [one.id for one in _parsed(body, _Models).data]
    except BadAnswer:
        return []


class _ErrorBody(Struct):
    message: str
    code: str | int | None = None


class _Error(Struct):
    error: _ErrorBody | str | None = None
    message: str | None = None
    detail: Any = None  # FastAPI's


def error_text(body: bytes) -> tuple[str, str]:
    """The message and the code in the body of a refusal, in the forms of OpenAI, vLLM and FastAPI; empty if absent."""
    try:
        found = _parsed(body, _Error)
    except BadAnswer:
        return "", ""
    if isinstance(found.error, _ErrorBody):
        return found.error.message, str(found.error.code or "")
    text = found.error or found.message or found.detail
    return text if isinstance(text, str) else "", ""


# --- streams ---


class EventDecoder:
    """The data of server-sent events, from bytes that are cut anywhere. Comments and other fields are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._n_bytes = 0

    def push(self, data: bytes) -> Iterator[bytes]:
        """The data of each event that is complete now. Raises BadAnswer for one above `MAX_EVENT_BYTES`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._n_bytes + len(self._rest) > MAX_EVENT_BYTES:
            raise BadAnswer(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data:
                    event, self._data, self._n_bytes = b"\n".join(self._data), [], 0
                    yield event
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._n_bytes += len(line)
                if self._n_bytes > MAX_EVENT_BYTES:
                    raise BadAnswer(f"an event is longer than {MAX_EVENT_BYTES} bytes")


class _Delta(Struct):
    content: str | None = None


class _Choice(Struct):
    delta: _Delta | None = None


class _Event(Struct):
    type: str = ""
    delta: str = ""
    text: str = ""
    choices: list[_Choice] = []
    error: Any = None


class Transcription:
    """A transcript that arrives in pieces: as OpenAI streams it, and as vLLM does."""

    def __init__(self) -> None:
        self.text = ""
        """All of it up to now."""
        self.done = False
        """The server has said that this is the whole transcript."""

    def add(self, event: bytes) -> bool:
        """Takes the data of one event, and returns whether `text` has changed or is complete. Raises BadAnswer."""
        if event == _DONE:
            self.done = True
            return True
        found = _parsed(event, _Event)
        if found.error is not None:
            raise BadAnswer("the server reports an error within the stream")
        if found.type == "transcript.text.done":
            self.text, self.done = found.text, True
            return True
        piece = found.delta if found.type == "transcript.text.delta" else ""
        for choice in found.choices:
            piece += (choice.delta and choice.delta.content) or ""
        self.text += piece
        if len(self.text) > MAX_EVENT_BYTES:
            raise BadAnswer(f"the transcript is longer than {MAX_EVENT_BYTES} characters")
        return bool(piece)


def _parsed(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # The message names a place and types, never a value.
        raise BadAnswer(f"no valid answer: {error}") from None
