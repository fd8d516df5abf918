"""How a stream ended, for its metrics."""

from __future__ import annotations

from voxgate.observe.metrics import Tally, outcome_of
from voxgate.protocol.closing import Close, CloseReason
from voxgate.session.endpoint import Endpoint

__all__ = ["end_of"]


def end_of(
    endpoint: Endpoint, close: Close | None, is_gone: bool, is_done: bool, tally: Tally
) -> tuple[str, str, int | None]:
    """The outcome, the reason and the wire's code; counts the limit that ended it. `close`: of the server. `is_gone`:
    the client, with or without a goodbye. `is_done`: it has everything that it asked for.
    """
    departure = endpoint.departure
    if close is not None:
        return outcome_of(close.reason), close.reason, endpoint.code_of(close)
    if not is_gone:
        return "failed", CloseReason.INTERNAL, departure.code
    if departure.limit is not None:
        tally.limit_hits.add(departure.limit)
    if isinstance(departure.reason, CloseReason):
        return outcome_of(departure.reason), departure.reason, departure.code
    return "completed" if is_done else "left", departure.reason, departure.code
