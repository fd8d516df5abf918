"""What a model may know about the call that it answers."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

__all__ = ["Request"]


class Request(Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """The second argument of :meth:`voxgate.Model.infer`, for a model that takes it; also in
    ``Batch.requests`` and for :meth:`voxgate.Model.open`. Read-only, and any thread may read it.
    """

    options: Any = None
    """An instance of the model's ``Options`` with what the client asked for; None: the model declares none."""
    channel: int = 0
    """The channel of the stream, from 0."""
    final: bool = True
    """False for an interim, whose result may be replaced; on the segmented route alone."""
    start_s: float = 0.0
    """Where the audio begins, in seconds since the start of the session."""
    end_s: float = 0.0
    """Where it ends. In a request for ``open``, where the first audio begins."""
    session_id: str = ""
    """Of the session, as in its `started` notice and in the log."""
    identity: str | None = None
    """The client's name, as the access hook (``auth.hook``) returned it; None: it returned none."""
    sample_rate: int = 16_000
    """Hz, of the client's audio. The model's audio always has the model's own rate."""
