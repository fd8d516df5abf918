"""deepgram-sdk: `listen.v2`, Flux."""

from __future__ import annotations

import asyncio

from deepgram.listen.v2.types import (
    ListenV2Configure,
    ListenV2ConfigureFailure,
    ListenV2ConfigureSuccess,
    ListenV2ConfigureThresholds,
    ListenV2Connected,
    ListenV2FatalError,
    ListenV2TurnInfo,
    ListenV2Warning,
)
from deepgram_live import client_of, stream
from task import Found, Task, main

KINDS = {
    "Connected": ListenV2Connected,
    "TurnInfo": ListenV2TurnInfo,
    "ConfigureSuccess": ListenV2ConfigureSuccess,
    "ConfigureFailure": ListenV2ConfigureFailure,
    "Warning": ListenV2Warning,
    "Error": ListenV2FatalError,
}


async def run(task: Task, found: Found) -> None:
    options = {"model": "flux-general-en", "encoding": "linear16", "sample_rate": task.rate, **task.options}
    turn_ended, was_configured = asyncio.Event(), asyncio.Event()
    texts = found.facts["turns"] = []

    def on_message(message) -> None:
        if type(message) is not KINDS[message.type]:
            found.errors.append(f"{message.type} became a {type(message).__name__}")
        if message.type in ("ConfigureSuccess", "ConfigureFailure"):
            was_configured.set()
        if message.type != "TurnInfo":
            found.events.append(message.type)
            return
        if message.event == "Update":
            found.interims.append(message.transcript)
            return
        texts.append([message.event, message.transcript])
        if message.event == "EndOfTurn":
            found.finals.append(
                {
                    "text": message.transcript,
                    "start": message.audio_window_start,
                    "end": message.audio_window_end,
                    "words": [[word.word, word.start, word.end] for word in message.words],
                    "trigger": message.trigger,
                    "turn_index": message.turn_index,
                }
            )
            turn_ended.set()

    async def configure(connection) -> None:
        await connection.send_configure(ListenV2Configure(thresholds=ListenV2ConfigureThresholds(eot_threshold=0.7)))
        await asyncio.wait_for(was_configured.wait(), 60)

    async def flush(connection) -> None:
        turn_ended.clear()
        await connection.send_force_end_turn()
        await asyncio.wait_for(turn_ended.wait(), 60)

    await stream(client_of(task).listen.v2.connect, options, task, found, on_message, configure, flush)


if __name__ == "__main__":
    main(run)
