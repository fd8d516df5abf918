"""What the live APIs of deepgram-sdk have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from deepgram import AsyncDeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from task import Found, Task

Step = Callable[[Any], Awaitable[None]]


def client_of(task: Task) -> AsyncDeepgramClient:
    urls = {"base": task.url, "production": task.ws_url, "agent": task.ws_url, "agent_rest": task.url}
    return AsyncDeepgramClient(api_key=task.key, environment=DeepgramClientEnvironment(**urls))


async def stream(
    connect: Callable[..., Any],
    options: dict[str, Any],
    task: Task,
    found: Found,
    on_message: Callable[[Any], None],
    begin: Step,
    flush: Step,
) -> None:
    """Sends the audio of the task, between `begin` and, if the task wants it, `flush`."""
    pace_s = options.pop("pace_s", 0.005)
    async with connect(**options) as connection:
        connection.on(EventType.MESSAGE, on_message)
        connection.on(EventType.ERROR, lambda error: found.errors.append(repr(error)))
        connection.on(EventType.CLOSE, lambda _: found.events.append("closed"))
        listening = asyncio.create_task(connection.start_listening())
        await begin(connection)
        for chunk in task.chunks():
            await connection.send_media(chunk)
            await asyncio.sleep(pace_s)
        if task.flush:
            await flush(connection)
        await connection.send_close_stream()
        await asyncio.wait_for(listening, 60)
