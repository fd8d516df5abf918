"""What the settings of a server make of its turn detector."""

from __future__ import annotations

from voxgate.vad.turns.config import TurnConfig

__all__ = ["why_idle"]


def why_idle(
    turn: TurnConfig,
    silence_duration_ms: float,
    suffix_padding_ms: float,
    *,
    needs_text: bool,
    speculate_ms: float,
    gives_text: bool | None,
) -> str | None:
    """Why the detector decides nothing for a client without settings of its own, for people; None: it does, or is off.
    `gives_text`: whether the results of the model carry text; None: unknown.
    """
    if not turn.is_on:
        return None
    if not turn.is_ever_asked(silence_duration_ms, suffix_padding_ms):
        return (
            f"turn.min_silence_ms ({turn.min_silence_ms:g}) and vad.suffix_padding_ms ({suffix_padding_ms:g}) must be"
            f" below vad.silence_duration_ms ({silence_duration_ms:g})"
        )
    if needs_text and gives_text is False:
        return "it needs text, and the results of the model have none"
    if needs_text and not speculate_ms:
        return "it needs text, and with vad.speculate_ms=0 only clients with interim results have it"
    return None
