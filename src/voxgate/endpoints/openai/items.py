"""The items of a Realtime session: each segment is one, from its first event to its final."""

from __future__ import annotations

import uuid
from typing import Final

__all__ = ["Item", "Items"]


class Item:
    """One segment as the client sees it."""

    __slots__ = ("id", "is_committed", "sent")

    def __init__(self) -> None:
        self.id: Final = f"item_{uuid.uuid4().hex[:21]}"
        self.sent = ""
        """The deltas together."""
        self.is_committed = False

    def delta(self, text: str) -> str:
        """What `text` adds to the deltas; empty when it adds nothing or contradicts them, which are never taken back."""
        if len(text) <= len(self.sent) or not text.startswith(self.sent):
            return ""
        delta = text[len(self.sent) :]
        self.sent = text
        return delta


class Items:
    """The open items of one session, by the id of their segment."""

    def __init__(self) -> None:
        self._open: dict[int, Item] = {}
        self._last_over = -1
        self.last_committed_id: str | None = None

    def of(self, segment_id: int) -> Item:
        """The item of a segment, which begins with it."""
        item = self._open.get(segment_id)
        if item is None:
            item = self._open[segment_id] = Item()
        return item

    def is_over(self, segment_id: int) -> bool:
        """The final of the segment has come: speech that ends exactly at a cut ends after it."""
        return segment_id <= self._last_over

    def drop(self, segment_id: int) -> None:
        """The segment is over. Segments are over in the order of their ids."""
        self._open.pop(segment_id, None)
        self._last_over = segment_id

    def clear(self) -> None:
        """Another session begins, whose segments have the same ids."""
        self._open.clear()
        self._last_over = -1

    def commit(self, item: Item) -> str | None:
        """Marks the item, and returns the id of the one before it."""
        item.is_committed = True
        before, self.last_committed_id = self.last_committed_id, item.id
        return before
