"""The trace of one question to the turn detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from voxgate.observe.tracing.session_trace import SessionTrace

__all__ = ["TurnTrace"]


class TurnTrace:
    """A span below that of the utterance, from the question to the answer."""

    __slots__ = ("_session", "_span")

    def __init__(self, session: SessionTrace, span: Span) -> None:
        self._session = session
        self._span = span

    def answered(self, outcome: str, probability: float | None) -> None:
        """`outcome`: as in ``voxgate_turn_answers_total``."""
        self._span.set_attribute("voxgate.outcome", outcome)
        if probability is not None:
            self._span.set_attribute("voxgate.turn.probability", probability)
        self._session.end_span(self._span)
