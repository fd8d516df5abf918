"""deepgram-sdk: `listen.v1`, live."""

from __future__ import annotations

import asyncio

from deepgram_live import client_of, stream
from task import Found, Task, main


async def run(task: Task, found: Found) -> None:
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

    async def flush(connection) -> None:
        await connection.send_finalize()
        await asyncio.wait_for(finalized.wait(), 60)

    connect = client_of(task).listen.v1.connect
    await stream(connect, options, task, found, on_message, lambda connection: connection.send_keep_alive(), flush)


if __name__ == "__main__":
    main(run)
