"""assemblyai: the streaming client of version 3."""

from __future__ import annotations

import threading

from assemblyai.streaming.v3 import (
    RealTimeEvents,
    RealTimeParameters,
    RealTimeTranscriber,
    RealTimeTranscriberOptions,
)
from task import Found, Task, report, the_task


def run(task: Task, found: Found) -> None:
    client = RealTimeTranscriber(
        RealTimeTranscriberOptions(api_host=task.ws_url, api_key=task.key, connect_timeout=30, terminate_timeout=60)
    )
    ended = threading.Event()

    def on_begin(_, event) -> None:
        found.events.append("Begin")
        found.facts["id"] = event.id

    def on_turn(_, event) -> None:
        if event.end_of_turn:
            words = [[word.text, word.start, word.end] for word in event.words]
            start, end = (words[0][1] / 1000, words[-1][2] / 1000) if words else (None, None)
            found.finals.append(
                {"text": event.transcript, "order": event.turn_order, "words": words, "start": start, "end": end}
            )
            ended.set()
        else:
            found.interims.append(event.transcript)

    def on_termination(_, event) -> None:
        found.events.append("Termination")
        found.facts["duration"] = event.audio_duration_seconds

    client.on(RealTimeEvents.Begin, on_begin)
    client.on(RealTimeEvents.Turn, on_turn)
    client.on(RealTimeEvents.Termination, on_termination)
    client.on(RealTimeEvents.SpeechStarted, lambda _, event: found.events.append("SpeechStarted"))
    client.on(RealTimeEvents.Warning, lambda _, event: found.errors.append(event.warning))
    client.on(RealTimeEvents.Error, lambda _, error: found.errors.append(f"{error.code}: {error}"))
    client.connect(RealTimeParameters(sample_rate=task.rate, format_turns=True, **task.options))
    if found.errors:
        return
    client.keep_alive()
    client.stream(task.chunks(50))
    if task.flush:
        client.force_endpoint()
        ended.wait(60)
    client.disconnect(terminate=True)


if __name__ == "__main__":
    found = Found()
    run(the_task(), found)
    report(found)
