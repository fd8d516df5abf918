"""The trace of one session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from voxgate.observe.tracing.call_trace import CallTrace
from voxgate.observe.tracing.turn_trace import TurnTrace

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from voxgate.observe.tracing.tracing import Tracing

__all__ = ["SessionTrace"]


class SessionTrace:
    """The spans of one session. Seconds are positions in its audio; the spans themselves have times of the clock."""

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self.tracing = tracing
        self.span = span
        self._utterances: dict[int, Span] = {}  # by channel: those that are not over
        self._open: dict[Span, None] = {}  # below the session: those that have not ended, the oldest first

    @property
    def trace_id(self) -> str:
        return f"{self.span.get_span_context().trace_id:032x}"

    def speech_started(self, channel: int, start_s: float) -> None:
        self.end_span(self._utterances.pop(channel, None))
        self._start_utterance(channel, start_s)

    def speech_ended(self, channel: int, end_s: float, expects_final: bool) -> None:
        """`expects_final`: the call for its final comes next; otherwise the utterance is over."""
        utterance = self._utterances.get(channel)
        if utterance is not None:
            utterance.add_event("speech ended", {"voxgate.audio.end_s": end_s})
            if not expects_final:
                self.end_span(self._utterances.pop(channel))

    def asked(self, channel: int, start_s: float, end_s: float, is_final: bool | None, method: str) -> CallTrace:
        """Begins the trace of a model call for this audio. `is_final` None: the route has no utterances."""
        utterance = None
        if is_final is not None:
            utterance = self._utterances.get(channel) or self._start_utterance(channel, start_s)
        if is_final:
            assert utterance is not None
            del self._utterances[channel]
            utterance.set_attribute("voxgate.audio.end_s", end_s)
        attributes: dict[str, Any] = {
            "voxgate.channel": channel,
            "voxgate.audio.start_s": start_s,
            "voxgate.audio.end_s": end_s,
            "voxgate.method": method,
        }
        if is_final is not None:
            attributes["voxgate.final"] = is_final
        span = self.tracing.begin("inference", utterance or self.span, attributes)
        self._open[span] = None
        return CallTrace(self, span, utterance if is_final else None)

    def speculated(self, channel: int, start_s: float, end_s: float) -> CallTrace:
        """Begins the trace of a call for a final that may not be needed; `became_final` follows if it is."""
        attributes = {
            "voxgate.channel": channel,
            "voxgate.audio.start_s": start_s,
            "voxgate.audio.end_s": end_s,
            "voxgate.method": "infer",
            "voxgate.final": True,
            "voxgate.speculative": True,
        }
        span = self.tracing.begin("inference", self._utterances.get(channel) or self.span, attributes)
        self._open[span] = None
        return CallTrace(self, span, None)

    def turn_asked(self, channel: int, pause_s: float) -> TurnTrace:
        """Begins the trace of a question to the turn detector. pause_s: where its audio ends."""
        attributes = {"voxgate.channel": channel, "voxgate.audio.end_s": pause_s}
        span = self.tracing.begin("turn", self._utterances.get(channel) or self.span, attributes)
        self._open[span] = None
        return TurnTrace(self, span)

    def became_final(self, channel: int, end_s: float, call: CallTrace) -> None:
        """The utterance is over, and the answer of a speculative call is its final."""
        utterance = self._utterances.pop(channel, None)
        if utterance is None:
            return
        utterance.set_attribute("voxgate.audio.end_s", end_s)
        if call.span in self._open:
            call.utterance = utterance
        else:
            self.end_span(utterance)

    def end(self, outcome: str, attributes: Mapping[str, Any], failed: bool = False) -> None:
        """Ends the session and all its spans that are still open. `failed`: the server has a bug."""
        for span in list(reversed(self._open)):  # the innermost first
            span.set_attribute("voxgate.outcome", "abandoned")
            self.end_span(span)
        self._utterances.clear()
        self.span.set_attribute("voxgate.outcome", outcome)
        self.span.set_attributes(dict(attributes))
        if failed:
            self.tracing.failed(self.span)
        self.span.end()

    def _start_utterance(self, channel: int, start_s: float) -> Span:
        attributes = {"voxgate.channel": channel, "voxgate.audio.start_s": start_s}
        span = self._utterances[channel] = self.tracing.begin("utterance", self.span, attributes)
        self._open[span] = None
        return span

    def end_span(self, span: Span | None) -> None:
        """None, and a span that has ended, have no effect."""
        if span is not None and span in self._open:
            del self._open[span]
            span.end()
