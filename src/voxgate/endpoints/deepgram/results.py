"""The results of one live client in Deepgram's words, and what they depend on: the state of each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UnsetType

from voxgate.endpoints.deepgram.query import Listen
from voxgate.endpoints.words import confidence_of, transcript_of, words_of
from voxgate.protocol.events import Active, Inactive, Segment
from voxgate.protocol.formats import AudioFormat
from voxgate.protocol.transcript import Word

__all__ = ["Results", "alternative"]

SegmentId = int | UnsetType
_PUNCTUATION = ".,;:!?…\"'()[]«»“”„‘’¿¡。，、？！"


class Channel:
    """One channel. The next segment may begin before the result of the one before it comes."""

    def __init__(self) -> None:
        self.n_flushes = 0
        """Flushes that the client asked for and that are not complete."""
        self.held: dict[str, Any] | None = None
        """The last final while a flush is not complete: perhaps the one that answers it."""
        self.over: set[SegmentId] = set()
        """Segments whose speech has ended and whose final has not come."""
        self.last_final: SegmentId | None = None
        self.end_s = 0.0
        """Where the last final ended."""
        self.last_word_s: float | None = None
        """The end of the last final word, until UtteranceEnd was sent."""
        self.began_s: float | None = None
        """When the speech began that is not over; None: there is none."""


class Results:
    """Makes the messages for the events of one session, in the order in which they are given."""

    def __init__(self, listen: Listen, metadata: Mapping[str, Any]) -> None:
        """`metadata`: of every result."""
        self._listen = listen
        self._metadata = metadata
        audio_format = listen.start.format
        n_channels = audio_format.channels if isinstance(audio_format, AudioFormat) else 1
        self._channels = [Channel() for _ in range(n_channels)]

    @property
    def n_channels(self) -> int:
        """1 until a container says otherwise."""
        return len(self._channels)

    def set_channels(self, n_channels: int) -> None:
        """The container is known. Flushes that are not complete are those of all channels."""
        n_flushes = self._channels[0].n_flushes
        while len(self._channels) < n_channels:
            self._channels.append(channel := Channel())
            channel.n_flushes = n_flushes

    def expect_flush(self) -> None:
        """The client asked for a flush: `flushed` follows once for each channel."""
        for channel in self._channels:
            channel.n_flushes += 1

    def speech_started(self, event: Active) -> Sequence[dict[str, Any]]:
        before = self._utterance_ends(event.channel, event.time)
        self._channels[event.channel].began_s = event.time
        if not self._listen.speech_started:
            return before
        return (*before, {"type": "SpeechStarted", "channel": [event.channel], "timestamp": _seconds(event.time)})

    def speech_ended(self, event: Inactive) -> Sequence[dict[str, Any]]:
        channel = self._channels[event.channel]
        channel.began_s = None
        if event.segment_id != channel.last_final:
            channel.over.add(event.segment_id)
            return ()
        # Speech that ended where its segment was cut: the final has come, and did not say that speech is over.
        return self._final(event.channel, self._empty(event.channel, self._listen.ends_speech))

    def segment(self, event: Segment) -> Sequence[dict[str, Any]]:
        number, channel = event.channel, self._channels[event.channel]
        transcript = transcript_of(event)
        words = words_of(event, transcript)
        duration_s = max(0.0, event.end_time - event.start_time)
        if event.is_final is False:
            interim = self._result(number, event.start_time, duration_s, False, False, transcript.text, words)
            return (*self._release(channel), interim)
        speech_final = self._ends_speech(channel, event.segment_id)
        channel.end_s = event.end_time
        if words:
            channel.last_word_s = words[-1].end_s
        final = self._result(number, event.start_time, duration_s, True, speech_final, transcript.text, words)
        messages = self._final(number, final)
        if channel.held is None and channel.began_s is not None and channel.began_s >= event.end_time:
            return (*messages, *self._utterance_ends(number, channel.began_s))  # the next segment began before
        return messages

    def failed(self, number: int, segment_id: SegmentId) -> Sequence[dict[str, Any]]:
        """A segment has an error in place of its result: an empty one ends it."""
        return self._final(number, self._empty(number, self._ends_speech(self._channels[number], segment_id)))

    def flushed(self, number: int) -> Sequence[dict[str, Any]]:
        """The answer to a flush is the last final before it, or an empty one when nothing was left to say."""
        channel = self._channels[number]
        channel.n_flushes -= 1
        answer = self._empty(number, False) if channel.held is None else channel.held
        channel.held = None
        return ({**answer, "from_finalize": True},)

    def passed(self, received_s: float) -> Sequence[dict[str, Any]]:
        """So much audio was received: the UtteranceEnd that are due."""
        silent = [number for number, channel in enumerate(self._channels) if channel.began_s is None]
        return [message for number in silent for message in self._utterance_ends(number, received_s)]

    def rest(self) -> Sequence[dict[str, Any]]:
        """What is still held back, at the end."""
        return [message for channel in self._channels for message in self._release(channel)]

    def _ends_speech(self, channel: Channel, segment_id: SegmentId) -> bool:
        channel.last_final = segment_id
        is_over = segment_id in channel.over
        channel.over.discard(segment_id)
        return is_over and self._listen.ends_speech

    def _final(self, number: int, result: dict[str, Any]) -> Sequence[dict[str, Any]]:
        channel = self._channels[number]
        if not channel.n_flushes:
            return (result,)
        released = self._release(channel)
        channel.held = result
        return released

    def _release(self, channel: Channel) -> Sequence[dict[str, Any]]:
        held, channel.held = channel.held, None
        return () if held is None else (held,)

    def _utterance_ends(self, number: int, now_s: float) -> Sequence[dict[str, Any]]:
        channel, gap_s = self._channels[number], self._listen.utterance_end_s
        last_word_s = channel.last_word_s
        if gap_s is None or last_word_s is None or channel.over or now_s < last_word_s + gap_s:
            return ()
        channel.last_word_s = None
        ended = {
            "type": "UtteranceEnd",
            "channel": [number, self.n_channels],
            "last_word_end": _seconds(last_word_s),
        }
        return (*self._release(channel), ended)

    def _empty(self, number: int, speech_final: bool) -> dict[str, Any]:
        return self._result(number, self._channels[number].end_s, 0.0, True, speech_final, "", ())

    def _result(
        self,
        number: int,
        start_s: float,
        duration_s: float,
        is_final: bool,
        speech_final: bool,
        text: str,
        words: Sequence[Word],
    ) -> dict[str, Any]:
        return {
            "type": "Results",
            "channel_index": [number, self.n_channels],
            "duration": _seconds(duration_s),
            "start": _seconds(start_s),
            "is_final": is_final,
            "speech_final": speech_final,
            "channel": {"alternatives": [alternative(text, words)]},
            "metadata": self._metadata,
            "from_finalize": False,
        }


def alternative(text: str, words: Sequence[Word]) -> dict[str, Any]:
    """One alternative of a result. The times of `words` are those of the session."""
    return {"transcript": text, "confidence": round(confidence_of(words), 4), "words": list(map(_word, words))}


def _word(word: Word) -> dict[str, Any]:
    """`word` is the bare form, `punctuated_word` that of the transcript."""
    fields: dict[str, Any] = {
        "word": word.text.strip(_PUNCTUATION).lower() or word.text,
        "start": _seconds(word.start_s),
        "end": _seconds(word.end_s),
        "confidence": 1.0 if word.confidence is None else word.confidence,
        "punctuated_word": word.text,
    }
    if word.speaker is not None and word.speaker.isdecimal():
        fields["speaker"] = int(word.speaker)
    return fields


def _seconds(time_s: float) -> float:
    return round(time_s, 3)
