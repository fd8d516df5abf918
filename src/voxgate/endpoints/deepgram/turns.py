"""The turns of one live client in Flux's words: the state of the turn that is open, and what each event makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import UNSET, UnsetType

from voxgate.endpoints.deepgram.flux_query import Flux
from voxgate.endpoints.words import transcript_of, words_of
from voxgate.protocol.events import Active, Inactive, Segment, SpeechResumed
from voxgate.protocol.transcript import Word

__all__ = ["UPDATE_S", "Turns"]

UPDATE_S: Final = 0.25
"""Audio between two Updates, about."""

Fields = dict[str, Any]

Piece = tuple[str, Sequence[Fields]]
"""The text of a segment, and its words as messages have them."""


class Turns:
    """Makes the TurnInfo messages for the events of a stream, in the order in which they are given.

    A turn begins with its first words, and ends where its speech ends. It may have several segments: those that were
    cut, and those of sessions that followed each other because the client changed its options in the middle. The next
    segment may begin before the result of the one before it comes.
    """

    def __init__(self, flux: Flux) -> None:
        self.flux = flux
        """What the client asks for now."""
        self._index = 0
        self._has_started = False  # StartOfTurn was sent
        self._is_ending = False  # EagerEndOfTurn was sent, and nothing after it contradicts it
        self._finals: list[Piece] = []  # of the turn
        self._text = ""
        self._words: Sequence[Fields] = []
        self._window_start_s = self._window_end_s = 0.0
        self._base_s = 0.0  # where the times of the session begin
        self._speech_end_s = 0.0
        self._resumed_s = 0.0
        self._is_speaking = False
        self._probability: float | UnsetType = UNSET  # that the turn is over, by the turn detector
        self._is_forced = self._is_restarting = False
        self._over: dict[int | UnsetType, str] = {}  # segments that await their final, which ends the turn, and why
        self._last_final: int | UnsetType | None = None

    # The client

    def begin_force(self) -> None:
        """Segments that end from now on end because the client says so."""
        self._is_forced = True

    def end_force(self) -> None:
        self._is_forced = False

    def begin_restart(self) -> None:
        """The session ends, and another follows: segments that end from now on do not end the turn."""
        self._is_restarting = True

    # The session

    def session_started(self) -> None:
        self._is_restarting = False
        self._is_speaking = False
        self._over.clear()
        self._last_final = None
        self._resumed_s = 0.0

    def session_finished(self, received_s: float) -> Sequence[Fields]:
        """Nothing more comes from the session. `received_s`: of audio."""
        self._base_s += received_s
        return () if self._is_restarting else self._end_rest("manual")

    def speech_started(self, event: Active) -> Sequence[Fields]:
        self._is_speaking = True
        # Before the final of a segment that is over, this is the next turn.
        return () if self._over else self._resume()

    def speech_ended(self, event: Inactive) -> Sequence[Fields]:
        self._is_speaking = False
        self._speech_end_s = self._base_s + event.time
        if self._is_restarting:
            return ()
        why = "manual" if self._is_forced else self.flux.silence.trigger(self.flux.thresholds)
        if event.segment_id != self._last_final:
            self._over[event.segment_id] = why
            return ()
        return self._end(why)  # speech that ended where its segment was cut: the final has come

    def speech_resumed(self, event: SpeechResumed) -> Sequence[Fields]:
        self._resumed_s = event.time
        return self._resume()

    def segment(self, event: Segment) -> Sequence[Fields]:
        transcript = transcript_of(event)
        words = [_word(word, self._base_s) for word in words_of(event, transcript)]
        text = " ".join(transcript.text.split())
        if event.is_final is False:
            # A result that comes after the end of the turn is probable says nothing new; nor does an eager one when
            # speech has gone on.
            if self._is_ending or (event.eager is True and event.end_time < self._resumed_s):
                return ()
            self._hear(event, text, words)
            self._probability = event.turn_probability
            if event.eager is True:
                return self._end_eagerly()
            return self._start() or (self._info("Update"),)
        why = self._over.pop(event.segment_id, None)
        before = self._contradict((*self._finals, (text, words)), why)
        self._last_final = event.segment_id
        self._hear(event, text, words)
        self._probability = event.turn_probability
        if text:
            self._finals.append((text, words))
        if why is not None:
            return (*before, *self._end(why))
        return (*before, *(self._start() or (() if self._is_ending else (self._info("Update"),))))

    def failed(self, segment_id: int | UnsetType) -> Sequence[Fields]:
        """A segment has an error in place of its result: its words are missing."""
        why = self._over.pop(segment_id, None)
        before = self._contradict(self._finals, why)
        self._last_final = segment_id
        self._show()
        return before if why is None else (*before, *self._end(why))

    def flushed(self) -> Sequence[Fields]:
        """Everything before a ForceEndTurn has come."""
        return self._end_rest("manual")

    def passed(self, received_s: float) -> Sequence[Fields]:
        """So much audio of the session was received."""
        now_s = self._base_s + received_s
        thresholds = self.flux.thresholds
        if now_s - self._speech_end_s >= self.flux.silence.of(thresholds) / 1000:
            ended = self._end_rest(self.flux.silence.trigger(thresholds))
            if ended:
                return ended
        if now_s - self._window_end_s < UPDATE_S * 0.8:
            return ()
        self._window_end_s = now_s
        return (self._info("Update"),)

    # The turn

    def _hear(self, event: Segment, text: str, words: Sequence[Fields]) -> None:
        """`text` follows the finals of the turn."""
        if not self._has_started and not self._finals:
            self._window_start_s = self._base_s + event.start_time
        self._window_end_s = max(self._window_end_s, self._base_s + event.end_time)
        self._show(text, words)

    def _show(self, text: str = "", words: Sequence[Fields] = ()) -> None:
        self._text, self._words = _joined((*self._finals, (text, words)))

    def _start(self) -> Sequence[Fields]:
        """Nothing when the turn has started, or has no words yet."""
        if self._has_started or not self._text:
            return ()
        self._has_started = True
        return (self._info("StartOfTurn"),)

    def _end_eagerly(self) -> Sequence[Fields]:
        eager_threshold = self.flux.thresholds.eager_eot_threshold
        before = self._start()
        is_unlikely = eager_threshold is None or (
            self._probability is not UNSET and self._probability < eager_threshold
        )
        if is_unlikely or not self._text:
            return before or (self._info("Update"),)
        self._is_ending = True
        return (*before, self._info("EagerEndOfTurn"))

    def _resume(self) -> Sequence[Fields]:
        if not self._is_ending:
            return ()
        self._is_ending = False
        self._probability = UNSET
        return (self._info("TurnResumed"),)

    def _contradict(self, finals: Sequence[Piece], why: str | None) -> Sequence[Fields]:
        """What precedes another transcript than that of the EagerEndOfTurn, or more speech. `why`: the turn ends."""
        goes_on = why is None and not self._is_restarting
        return self._resume() if goes_on or _joined(finals)[0] != self._text else ()

    def _end_rest(self, why: str) -> Sequence[Fields]:
        """Ends a turn whose segments are all final, and which no speech continues."""
        if self._is_speaking or self._over or self._is_restarting:
            return ()
        return self._end(why)

    def _end(self, why: str) -> Sequence[Fields]:
        """The turn is over. One without words was none."""
        before = self._start()
        ended = (*before, {**self._info("EndOfTurn", why), "trigger": why}) if self._has_started else ()
        self._index += self._has_started
        self._has_started = self._is_ending = False
        self._probability = UNSET
        self._finals = []
        self._show()
        self._window_start_s = max(self._window_start_s, self._speech_end_s)
        return ended

    def _info(self, event: str, why: str = "") -> Fields:
        return {
            "type": "TurnInfo",
            "event": event,
            "turn_index": self._index,
            "audio_window_start": round(min(self._window_start_s, self._window_end_s), 3),
            "audio_window_end": round(self._window_end_s, 3),
            "transcript": self._text,
            "words": self._words,
            "end_of_turn_confidence": round(self._confidence(why), 3),
        }

    def _confidence(self, why: str) -> float:
        probability = 0.0 if self._probability is UNSET else self._probability
        if why not in ("", "manual"):
            if probability >= self.flux.thresholds.eot_threshold:
                return probability
            return self.flux.silence.confidence(self.flux.thresholds)  # silence has decided
        if self._is_ending and probability:
            return probability
        return (self.flux.thresholds.eager_eot_threshold or 0.0) if self._is_ending else 0.0


def _joined(pieces: Sequence[Piece]) -> Piece:
    return " ".join(text for text, _ in pieces if text), [word for _, words in pieces for word in words]


def _word(word: Word, base_s: float) -> Fields:
    """`base_s`: where the times of its session begin."""
    return {
        "word": word.text,
        "confidence": 1.0 if word.confidence is None else word.confidence,
        "start": round(base_s + word.start_s, 3),
        "end": round(base_s + word.end_s, 3),
    }
