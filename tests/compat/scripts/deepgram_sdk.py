"""deepgram-sdk: `listen.v1`, live."""

from __future__ import annotations

import asyncio

from deepgram import AsyncDeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from task import Found, Task, report, the_task


async def run(task: Task, found: Found) -> None:
    urls = {"base": task.url, "production": task.ws_url, "agent": task.ws_url, "agent_rest": task.url}
    client = AsyncDeepgramClient(api_key=task.key, environment=DeepgramClientEnvironment(**urls))
    pace_s = task.options.pop("pace_s", 0.005)
    options = {
        "model": "nova-3",
        "encoding": "linear16",
        "sample_rate": str(task.rate),
        "interim_results": "true",
        "vad_events": "true",
        "utterance_end_ms": "1000",
        **task.options,
    }
    finalized = asyncio.Event()

    def on_message(message) -> None:
        if message.type != "Results":
            found.events.append(message.type)
            if message.type == "Metadata":
                found.facts["duration"] = message.duration
            return
        best = message.channel.alternatives[0]
        if message.is_final:
            words = [[word.punctuated_word, word.start, word.end] for word in best.words]
            found.finals.append(
                {
                    "text": best.transcript,
                    "start": message.start,
                    "end": message.start + message.duration,
                    "words": words,
                    "speech_final": message.speech_final,
                    "from_finalize": message.from_finalize,
                    "channel": message.channel_index[0],
                }
            )
            if message.from_finalize:
                finalized.set()
        else:
            found.interims.append(best.transcript)

    try:
        async with client.listen.v1.connect(**options) as connection:
            connection.on(EventType.MESSAGE, on_message)
            connection.on(EventType.ERROR, lambda error: found.errors.append(repr(error)))
            connection.on(EventType.CLOSE, lambda _: found.events.append("closed"))
            listening = asyncio.create_task(connection.start_listening())
            await connection.send_keep_alive()
            for chunk in task.chunks():
                await connection.send_media(chunk)
                await asyncio.sleep(pace_s)
            if task.flush:
                await connection.send_finalize()
                await asyncio.wait_for(finalized.wait(), 60)
            await connection.send_close_stream()
            await asyncio.wait_for(listening, 60)
    except Exception as error:
        found.errors.append(f"{type(error).__name__} {getattr(error, 'status_code', '')}: {error}")


if __name__ == "__main__":
    found = Found()
    asyncio.run(run(the_task(), found))
    report(found)
