"""openai: the Realtime API, for transcription. `options.manual`: the client commits; `options.beta`: the old names."""

from __future__ import annotations

import asyncio
import base64

import openai
from task import Found, Task, main


async def run(task: Task, found: Found) -> None:
    client = openai.AsyncOpenAI(api_key=task.key, base_url=f"{task.url}/v1", max_retries=0)
    manual = bool(task.options.get("manual"))
    async with client.realtime.connect(
        model="gpt-4o-transcribe", extra_query={"intent": "transcription"}
    ) as connection:
        form = {"type": "audio/pcm", "rate": task.rate}
        audio_input = {"format": form, "transcription": {"model": "gpt-4o-transcribe"}}
        if manual:
            audio_input["turn_detection"] = None
        await connection.session.update(session={"type": "transcription", "audio": {"input": audio_input}})

        async def feed() -> None:
            for number, chunk in enumerate(task.chunks(100)):
                await connection.input_audio_buffer.append(audio=base64.b64encode(chunk).decode())
                if manual and number % 50 == 49:
                    await connection.input_audio_buffer.commit()
                await asyncio.sleep(task.options.get("pace_s", 0.002))
            await connection.input_audio_buffer.commit()

        n_expected = task.options["n_finals"]
        texts: dict[str, str] = {}
        starts: dict[str, int] = {}
        ends: dict[str, int] = {}
        feeding = asyncio.create_task(feed())
        try:
            async for event in connection:
                kind = event.type
                found.events.append(kind)
                if kind.endswith("transcription.delta"):
                    texts[event.item_id] = texts.get(event.item_id, "") + event.delta
                    found.interims.append(texts[event.item_id])
                elif kind.endswith("transcription.completed") and event.transcript:
                    found.finals.append(
                        {
                            "text": event.transcript,
                            "deltas": texts.get(event.item_id, ""),
                            "start": starts.get(event.item_id, 0) / 1000,
                            "end": ends.get(event.item_id, 0) / 1000,
                            "seconds": event.usage.seconds,
                        }
                    )
                elif kind.endswith("transcription.failed"):
                    found.finals.append({"text": None, "error": event.error.message})
                elif kind.endswith("speech_started"):
                    starts[event.item_id] = event.audio_start_ms
                elif kind.endswith("speech_stopped"):
                    ends[event.item_id] = event.audio_end_ms
                elif kind == "error":
                    found.errors.append(f"{event.error.code}: {event.error.message}")
                if len(found.finals) >= n_expected:
                    break
        finally:
            feeding.cancel()


if __name__ == "__main__":
    main(run, timeout_s=120)
