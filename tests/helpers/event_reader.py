"""How clients of every kind read events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

__all__ = ["EventReader"]


class EventReader(ABC):
    close_code: int | None = None

    @abstractmethod
    def receive(self) -> dict[str, Any] | None:
        """The next event; None when the server has closed (see `close_code`: 1006 without a close frame)."""

    def rest(self) -> list[dict[str, Any]]:
        """All events up to the close."""
        return list(iter(self.receive, None))

    def until(self, kind: str) -> list[dict[str, Any]]:
        """All events up to and with the next of type `kind`."""
        events = []
        while (event := self.receive()) is not None:
            events.append(event)
            if event["type"] == kind:
                return events
        raise AssertionError(f"closed {self.close_code} before any {kind}: {events}")
