"""The messages of one client that cannot be handled where they are read, in order.

Its task exists only while there is something to do. Meanwhile reading goes on, up to a limit, so that the server
notices a client that leaves, and answers pings. Beyond the limit reading pauses, and the wire holds the client back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from voxgate.protocol.requests import Start
from voxgate.runtime import logs, tasks
from voxgate.runtime.logs import LogContext
from voxgate.session.endpoint import Restart

__all__ = ["INBOX_BYTES", "INBOX_MAX_BYTES", "Inbox", "cost_bytes"]

INBOX_BYTES: Final = 64 * 1024
"""Reading pauses when this much waits ..."""

READ_ON_S: Final = 4.0
READ_ON_BYTES: Final = 64 * 1024
"""... but a wire that nobody reads answers no pings. So a little more is read every few seconds, up to a last limit,
which is reached only when the model makes no progress for more than a minute."""

INBOX_MAX_BYTES: Final = 1024 * 1024

MESSAGE_BYTES: Final = 64
"""The cost of a message beside its audio: a million empty ones are not free."""

START_BYTES: Final = 512
"""The cost of a start beside its texts."""

T = TypeVar("T")


class Inbox(Generic[T]):
    """Handles what is put in, one message at a time, in a task of its own. Belongs to the loop's thread."""

    __slots__ = (
        *("_allowed_bytes", "_bytes", "_handle", "_log_context", "_loop", "_messages", "_on_failure", "_on_idle"),
        *("_taken", "task"),
    )

    def __init__(
        self,
        handle: Callable[[T], Awaitable[bool]],
        on_idle: Callable[[], None],
        on_failure: Callable[[], None],
        log_context: LogContext,
    ) -> None:
        """`handle` processes a message, and returns whether the next may follow. `on_idle` is called when the task has
        ended, `on_failure` from the handler of an exception that `handle` raised.
        """
        self._handle = handle
        self._on_idle = on_idle
        self._on_failure = on_failure
        self._log_context = log_context
        self._loop = asyncio.get_running_loop()
        self._messages: deque[T] = deque()
        self._bytes = 0
        self._allowed_bytes = INBOX_BYTES
        self._taken = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        """Exists while a message waits or is being handled."""

    @property
    def is_full(self) -> bool:
        """Reading should pause; see `wait_for_room`."""
        return self._bytes >= self._allowed_bytes

    def put(self, message: T) -> None:
        """Queues a message, whether or not the inbox is full."""
        self._messages.append(message)
        self._bytes += cost_bytes(message)
        if self.task is None:
            self.task = tasks.spawn_task(self._work(), "connection-inbox", "connection")

    def clear(self) -> None:
        """Drops everything that waits. The message that is being handled goes on."""
        self._messages.clear()
        self._bytes = 0
        self._taken.set()

    def close(self) -> None:
        """Drops everything and cancels the task. Forgets both it and the owner, so that all are freed at once."""
        self.clear()
        if self.task is not None:
            self.task.cancel()
            self.task = None  # a task that never ran would not say so itself
        self._handle = _refuse
        self._on_idle = self._on_failure = _do_nothing

    async def wait_for_room(self) -> None:
        """Returns when the inbox may take another message: because it holds fewer, or may hold more."""
        read_on_s = self._loop.time() + READ_ON_S
        while self.is_full:
            self._taken.clear()
            try:
                async with asyncio.timeout_at(read_on_s if self._allowed_bytes < INBOX_MAX_BYTES else None):
                    await self._taken.wait()
            except TimeoutError:
                self._allowed_bytes += READ_ON_BYTES
                read_on_s += READ_ON_S
        if self._bytes < INBOX_BYTES:
            self._allowed_bytes = INBOX_BYTES

    async def _work(self) -> None:
        logs.current.set((self._log_context,))  # a timer, or the end of the server, may have put the message in
        try:
            while self._messages:
                message = self._messages.popleft()
                self._bytes -= cost_bytes(message)
                self._taken.set()
                if not await self._handle(message):
                    break
        except Exception:
            self._on_failure()
        finally:
            self.task = None
            self._on_idle()


def cost_bytes(message: object) -> int:
    """The bytes that a waiting message counts for."""
    if isinstance(message, bytes):
        return MESSAGE_BYTES + len(message)
    if isinstance(message, Restart):
        message = message.start
    if isinstance(message, Start):  # texts of any length; all other messages are small
        return START_BYTES + 4 * (len(message.token or "") + len(message.trace_id or ""))
    return MESSAGE_BYTES


async def _refuse(message: object) -> bool:
    return False


def _do_nothing() -> None:
    pass
