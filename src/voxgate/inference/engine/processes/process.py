"""One worker process, from its start to its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from voxgate._native.batch import Interrupt
from voxgate.inference.engine.processes.arena import SharedArena
from voxgate.inference.engine.processes.channel import ChannelClosed
from voxgate.inference.engine.processes.guarded import GuardedProcess
from voxgate.inference.engine.processes.messages import Answer, Loaded, Message, Partial, Prepare, Quit, Refused, Warm

__all__ = ["QUIT_TIMEOUT_S", "ModelRefused", "WorkerProcess"]

QUIT_TIMEOUT_S = 5.0
"""How long the worker may take to close its model."""

_Expected = TypeVar("_Expected", Loaded, Warm, Answer)


class ModelRefused(Exception):
    """The model could not be loaded or warmed up; the text comes from the worker."""


class WorkerProcess(GuardedProcess):
    """A guarded process with one copy of the model, and the memory that it shares with this process."""

    def __init__(
        self,
        spec: str,
        options: Mapping[str, Any],
        environment: Mapping[str, str],
        on_death: Callable[[Interrupt], None],
        clock: Callable[[], float],
    ) -> None:
        """Starts the process, which begins to load its model. on_death: called with `died`. Raises as its base."""
        self.died = Interrupt()
        """Set when the process has ended: the `take` that waits for its work returns."""
        with contextlib.ExitStack() as undo:
            self.arena = SharedArena()
            undo.callback(self.arena.close)

            def note_death() -> None:
                self.died.set()
                on_death(self.died)

            super().__init__(
                "voxgate.inference.engine.processes.worker",
                {"spec": spec, "options": dict(options), "arena_fd": self.arena.fd},
                what="worker process",
                activity="loaded the model",
                kinds=Message,
                clock=clock,
                on_death=note_death,
                environment=environment,
                pass_fds=(self.arena.fd,),
            )
            undo.pop_all()

    def prepare(self, arena_bytes: int, warm_up: bool) -> None:
        self.arena.resize(arena_bytes)
        self.send(Prepare(arena_bytes, warm_up), "warmed the model up")

    def receive(self, kind: type[_Expected], until_s: float) -> _Expected:
        """The next message, which must be of that kind; log records before it are logged.

        Raises ModelRefused, TimeoutError at `until_s` of the clock, and ChannelClosed.
        """
        message = self.next_message(until_s)
        if isinstance(message, Refused):
            raise ModelRefused(message.text)
        if not isinstance(message, kind):
            raise AssertionError(f"expected {kind.__name__} from a worker, not {type(message).__name__}")
        return message

    def receive_answer(self, until_s: float, on_partial: Callable[[Partial], None]) -> Answer:
        """As `receive`, for an Answer; gives the interim results before it to `on_partial`."""
        while isinstance(message := self.next_message(until_s), Partial):
            on_partial(message)
            if self._clock() >= until_s:
                raise TimeoutError
        if not isinstance(message, Answer):
            raise AssertionError(f"expected an Answer from a worker, not {type(message).__name__}")
        return message

    def quit(self) -> None:
        """Asks it to close the model and waits for its end, at most QUIT_TIMEOUT_S."""
        with contextlib.suppress(ChannelClosed, TimeoutError):
            self.send(Quit(), "closed the model")
            self.next_message(self._clock() + QUIT_TIMEOUT_S)

    def close(self) -> None:
        super().close()
        self.arena.close()
