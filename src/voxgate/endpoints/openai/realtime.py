"""``GET /v1/realtime?intent=transcription``: OpenAI's Realtime API, for transcription."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from msgspec import UNSET

from voxgate._native.text_audio import TextAudio
from voxgate.endpoints.json_text import encode
from voxgate.endpoints.openai.errors import refusal_answer, status_of, type_of
from voxgate.endpoints.openai.items import Item, Items
from voxgate.endpoints.openai.model_options import options_of
from voxgate.endpoints.openai.realtime_requests import (
    Append,
    BetaUpdate,
    ClearBuffer,
    Commit,
    InvalidRequest,
    Update,
    parse_realtime,
)
from voxgate.endpoints.openai.realtime_session import RealtimeSession
from voxgate.endpoints.refusals import HttpAnswer
from voxgate.endpoints.wire import Credentials, Upgrade, Wire, min_silence_ms
from voxgate.endpoints.words import transcript_of
from voxgate.errors import InvalidMessage, InvalidStart
from voxgate.protocol.events import Active, Error, Event, Flushed, Inactive, Segment, Started
from voxgate.protocol.formats import check_format
from voxgate.protocol.requests import Clear, Flush, Start
from voxgate.protocol.wires import WireName
from voxgate.service.access import credentials_of
from voxgate.service.admission import Refusal
from voxgate.service.service import Service
from voxgate.session.endpoint import Answer, Message, Received

__all__ = ["RealtimeWire"]

SUBPROTOCOL: Final = "realtime"
KEY_SUBPROTOCOL: Final = "openai-insecure-api-key."

BUFFER: Final = "input_audio_buffer"
TRANSCRIPTION: Final = "conversation.item.input_audio_transcription"
EMPTY: Final = "the buffer is empty: expected audio since the last commit"


class RealtimeWire(Wire):
    """The words of one client. What depends on the order of its messages and the events (which commit a segment belongs
    to, where the times of a new session begin) is decided in `Answer`s, which the session carries out in order.
    """

    name: ClassVar[WireName] = "openai"

    def __init__(self, request_id: str, service: Service) -> None:
        config = service.config
        self._service = service
        self._request_id = request_id
        self._id = f"sess_{request_id.replace('-', '')}"
        self._limits = config.limits
        self._min_silence_ms = min_silence_ms(config)
        self._settings = RealtimeSession.of(config.vad)
        self.start: Start = self._start_with(self._settings)
        self._n_events = 0
        self.text_audio: TextAudio = TextAudio(f"{BUFFER}.append", service.tally.text)  # counts since `start`
        self._received_ms = 0.0  # in all sessions before it
        self._coming: deque[tuple[float, bool]] = deque([(0.0, False)])  # of sessions that have not begun, see below
        self._base_ms = 0.0  # where the times of the session that runs begin
        self._items = Items()
        self._is_manual = False
        self._is_clearing = False
        self._n_committed = 0  # items, since the client's last commit
        self._n_commits = self._n_flushed = 0
        self._empty: dict[int, Item] = {}  # of commits that found nothing, until the finals before them have come
        self._problems: deque[InvalidRequest] = deque()  # whose error event is still to come

    @classmethod
    def credentials(cls, upgrade: Upgrade) -> Credentials:
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in upgrade.subprotocols else None
        token = credentials_of(upgrade.headers)
        keys = [name for name in upgrade.subprotocols if name.startswith(KEY_SUBPROTOCOL)]
        if token is None and keys:
            token = keys[0].removeprefix(KEY_SUBPROTOCOL) if len(keys) == 1 else ""
        return Credentials(token, subprotocol)

    @classmethod
    def open(cls, upgrade: Upgrade, service: Service) -> RealtimeWire:
        return cls(upgrade.request_id, service)

    @classmethod
    def refuse(cls, refusal: Refusal, request_id: str) -> HttpAnswer:
        return refusal_answer(refusal, request_id)

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        return ((b"x-request-id", self._request_id.encode()),)

    @property
    def greeting(self) -> Sequence[Message]:
        return (self._event("session.created", session=self._settings.shown(self._id)),)

    # In

    def read(self, text: str) -> Sequence[Received]:
        try:
            match parse_realtime(text):
                case Append(audio):
                    if audio:
                        self.text_audio.n_bytes += len(audio)
                        self.text_audio.last_byte = audio[-1]
                    return (audio,)
                case Commit(event_id):
                    return (Answer(self._begin_commit), Flush(), Answer(lambda: self._end_commit(event_id)))
                case ClearBuffer():
                    return (Answer(self._begin_clear), Clear(), Answer(self._end_clear))
                case Update(session, event_id):
                    return self._update(session, event_id, is_beta=False)
                case BetaUpdate(session, event_id):
                    return self._update(session, event_id, is_beta=True)
        except InvalidRequest as error:
            self._problems.append(error)
            raise

    def _update(self, session: Mapping[str, Any], event_id: str | None, is_beta: bool) -> Sequence[Received]:
        limits = self._limits
        try:
            settings = self._settings.updated(session, is_beta)
            start = self._start_with(settings)
            check_format(start.pcm, limits.channels, limits.min_sample_rate, limits.max_sample_rate)
            self._service.session_options.parse(start.options)
        except InvalidRequest as error:
            error.event_id = event_id
            raise
        except InvalidStart as error:
            raise InvalidRequest(str(error), "session.audio.input", event_id) from None
        self._settings = settings
        name = "transcription_session.updated" if is_beta else "session.updated"
        answer = Answer(lambda: (self._event(name, session=settings.shown(self._id)),))
        if start == self.start:
            return (answer,)
        form, n_bytes = self.start.pcm, self.text_audio.n_bytes
        self._received_ms += n_bytes // form.frame_bytes * 1000 / form.sample_rate
        # The audio goes on, perhaps in the middle of a sample, which has two bytes at most.
        half = bytes([self.text_audio.last_byte]) if n_bytes % form.frame_bytes and start.pcm == form else b""
        self.text_audio.n_bytes = len(half)
        self._coming.append((self._received_ms, start.segmentation == "manual"))
        self.start = start
        return (start, half, answer) if half else (start, answer)

    def _start_with(self, settings: RealtimeSession) -> Start:
        options = options_of(settings.transcription or {}, self._service)
        return settings.start(self._min_silence_ms, options, self._service.turn.is_on)

    def _begin_commit(self) -> Sequence[Message]:
        self._n_committed = 0
        self._n_commits += 1
        return ()

    def _end_commit(self, event_id: str | None) -> Sequence[Message]:
        """A client waits for an answer to each commit. Where the server cuts, its own cut may just have come first."""
        if self._n_committed:
            return ()
        if self._is_manual:
            return (self._error(EMPTY, f"{BUFFER}_commit_empty", None, event_id),)
        item = Item()
        committed = self._committed(item)
        if self._n_flushed < self._n_commits:
            self._empty[self._n_commits] = item
            return (committed,)
        return (committed, self._completed(item, "", 0.0))

    def _flushed(self) -> Sequence[Message]:
        self._n_flushed += 1
        item = self._empty.pop(self._n_flushed, None)
        return () if item is None else (self._completed(item, "", 0.0),)

    def _begin_clear(self) -> Sequence[Message]:
        self._is_clearing = True
        return ()

    def _end_clear(self) -> Sequence[Message]:
        self._is_clearing = False
        return (self._event(f"{BUFFER}.cleared"),)

    # Out

    def encode(self, event: Event) -> Sequence[Message]:
        match event:
            case Segment():
                return self._segment(event)
            case Active():
                return self._active(event)
            case Inactive():
                return self._inactive(event)
            case Error():
                return self._failed(event)
            case Flushed():
                return self._flushed()
            case Started():
                self._items.clear()
                self._base_ms, self._is_manual = self._coming.popleft()
        return ()

    def _active(self, event: Active) -> Sequence[Message]:
        assert event.segment_id is not UNSET
        item = self._items.of(event.segment_id)
        if self._is_manual:
            return ()
        return (self._event(f"{BUFFER}.speech_started", audio_start_ms=self._ms(event.time), item_id=item.id),)

    def _inactive(self, event: Inactive) -> Sequence[Message]:
        assert event.segment_id is not UNSET
        if self._items.is_over(event.segment_id):
            return ()
        item = self._items.of(event.segment_id)  # what follows a cut has no `active` of its own
        messages: tuple[Message, ...] = ()
        if not self._is_manual:
            end_ms = self._ms(event.time)
            messages = (self._event(f"{BUFFER}.speech_stopped", audio_end_ms=end_ms, item_id=item.id),)
        if self._is_clearing:
            self._items.drop(event.segment_id)
            return messages
        return (*messages, self._committed(item))

    def _segment(self, event: Segment) -> Sequence[Message]:
        assert event.segment_id is not UNSET
        item = self._items.of(event.segment_id)
        if event.is_final is False:
            stable = event.stable_text
            return self._delta(item, stable) if isinstance(stable, str) else ()
        text = _text(event)
        commit = () if item.is_committed else (self._committed(item),)
        delta = self._delta(item, text)
        self._items.drop(event.segment_id)
        return (*commit, *delta, self._completed(item, text, event.end_time - event.start_time))

    def _failed(self, event: Error) -> Sequence[Message]:
        if event.segment_id is UNSET:
            if event.code == InvalidMessage.code and self._problems:
                problem = self._problems.popleft()
                return (self._error(event.message, problem.kind, problem.param, problem.event_id),)
            return (self._error(event.message, event.code, None, None),)
        item = self._items.of(event.segment_id)
        commit = () if item.is_committed else (self._committed(item),)
        self._items.drop(event.segment_id)
        kind = type_of(status_of(event.code))
        error = {"type": kind, "code": event.code, "message": event.message, "param": None}
        return (*commit, self._event(f"{TRANSCRIPTION}.failed", item_id=item.id, content_index=0, error=error))

    def _committed(self, item: Item) -> Message:
        self._n_committed += 1
        before = self._items.commit(item)
        return self._event(f"{BUFFER}.committed", item_id=item.id, previous_item_id=before)

    def _delta(self, item: Item, text: str) -> Sequence[Message]:
        delta = item.delta(text)
        if not delta:
            return ()
        return (self._event(f"{TRANSCRIPTION}.delta", item_id=item.id, content_index=0, delta=delta),)

    def _completed(self, item: Item, text: str, duration_s: float) -> Message:
        usage = {"type": "duration", "seconds": round(duration_s, 3)}
        name = f"{TRANSCRIPTION}.completed"
        return self._event(name, item_id=item.id, content_index=0, transcript=text, usage=usage)

    def _error(self, text: str, code: str, param: str | None, event_id: str | None) -> Message:
        kind = type_of(status_of(code))
        fields = {"type": kind, "code": code, "message": text, "param": param, "event_id": event_id}
        return self._event("error", error=fields)

    def _event(self, kind: str, **fields: Any) -> Message:
        self._n_events += 1
        event = {"type": kind, "event_id": f"event_{self._n_events}", **fields}
        return encode(event)

    def _ms(self, time_s: float) -> int:
        return round(self._base_ms + time_s * 1000)


def _text(event: Segment) -> str:
    return " ".join(transcript_of(event).text.split())
