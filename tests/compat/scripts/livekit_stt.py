"""livekit-agents: the STT plugin of a service, as an agent uses it. `options.service` is its name."""

from __future__ import annotations

import asyncio

import aiohttp
from livekit import rtc
from livekit.agents import APIConnectOptions, stt, utils
from task import Found, Task, main


def plugin_of(task: Task, session: aiohttp.ClientSession):
    name = task.options["service"]
    if name == "deepgram":
        from livekit.plugins import deepgram

        return deepgram.STT(
            api_key=task.key, base_url=f"{task.url}/v1/listen", sample_rate=task.rate, http_session=session
        )
    if name == "assemblyai":
        from livekit.plugins import assemblyai

        return assemblyai.STT(api_key=task.key, base_url=task.ws_url, sample_rate=task.rate, http_session=session)
    if name == "openai":
        from livekit.plugins import openai

        is_live = not task.options.get("whole")
        return openai.STT(api_key=task.key, base_url=f"{task.url}/v1", use_realtime=is_live)
    raise ValueError(name)


def see(event: stt.SpeechEvent, found: Found) -> None:
    best = event.alternatives[0] if event.alternatives else None
    if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
        assert best is not None
        words = [[str(word), word.start_time, word.end_time] for word in best.words or ()]
        found.finals.append({"text": best.text, "start": best.start_time, "end": best.end_time, "words": words})
    elif event.type == stt.SpeechEventType.INTERIM_TRANSCRIPT:
        found.interims.append(best.text)
    else:
        found.events.append(str(event.type.value))


async def run(task: Task, found: Found) -> None:
    async with utils.http_context.open(), aiohttp.ClientSession() as session:
        plugin = plugin_of(task, session)
        if task.options.get("whole"):
            samples = b"".join(task.chunks())
            frame = rtc.AudioFrame(samples, task.rate, 1, len(samples) // 2)
            see(await plugin.recognize(frame), found)
            return
        stream = plugin.stream(conn_options=APIConnectOptions(max_retry=0, timeout=30))

        async def feed() -> None:
            for chunk in task.chunks(50):
                stream.push_frame(rtc.AudioFrame(chunk, task.rate, 1, len(chunk) // 2))
                await asyncio.sleep(0.01)
            if task.flush:
                stream.flush()
            stream.end_input()

        feeding = asyncio.create_task(feed())
        try:
            async for event in stream:
                see(event, found)
                if len(found.finals) == task.options.get("n_finals"):
                    break  # OpenAI's API has no end of a stream that the server could answer
        finally:
            feeding.cancel()
            await stream.aclose()


if __name__ == "__main__":
    main(run, timeout_s=120)
