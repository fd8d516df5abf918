"""Events in the words of the wire."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from msgspec import UNSET

from voxgate.errors import INTERNAL_ERROR, InternalError, VoxgateError
from voxgate.observe.metrics import Tally
from voxgate.protocol.events import Error, Event, Segment
from voxgate.session.endpoint import Endpoint, Message

__all__ = ["messages_of"]

logger = logging.getLogger("voxgate.session.session")


def messages_of(event: Event, endpoint: Endpoint, tally: Tally, model_name: str) -> tuple[Sequence[Message], bool]:
    """The messages of an event, and whether the wire cannot carry it: a final then becomes an error, an interim nothing.
    Counts errors.
    """
    is_lost = False
    try:
        messages = endpoint.encode(event)
    except VoxgateError as error:
        logger.error("model %r: a result cannot be sent: %s", model_name, error)
        if isinstance(event, Segment) and event.is_final is False:
            return (), True  # an error would be taken for that of the final
        is_lost = True
        segment_id = event.segment_id if isinstance(event, Segment) else UNSET
        event = Error(INTERNAL_ERROR, InternalError.code, event.channel, segment_id)
        messages = endpoint.encode(event)
    if isinstance(event, Error):
        tally.errors.add(event.code)
    return messages, is_lost
