"""The engine of worker processes.

Each worker has a slot with a thread of the server: the thread starts the process, gives it one batch at a time, waits
without the GIL for the answer, the death or the deadline, and starts another process when this one has ended. When a
worker dies, only the calls that it was running are affected, and of these the finals run once more.

:mod:`.engine` is the engine, :mod:`.slot` a slot, :mod:`.process` the server's end of a process and :mod:`.worker` its
main function; they exchange :mod:`.messages` over a :mod:`.channel`, and audio through an :mod:`.arena`.
"""

from __future__ import annotations

from voxgate.inference.engine.processes.engine import ProcessEngine
from voxgate.inference.engine.processes.settings import ProcessSettings

__all__ = ["ProcessEngine", "ProcessSettings"]
