"""pipecat: an STT service in a pipeline, as an application has it. `options.service` is its name.

`options.n_finals`: how many finals to wait for; without it, until one is finalized.
"""

from __future__ import annotations

import asyncio
import sys

from loguru import logger
from pipecat.frames.frames import (
    EagerTranscriptionFrame,
    EndFrame,
    ErrorFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    STTUpdateSettingsFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameProcessor
from task import Found, Task, report, the_task

logger.remove()
logger.add(sys.stderr, level="DEBUG")


def flux(task: Task, found: Found):
    """With every change of the turns in `found.facts["turns"]`."""
    from pipecat.services.deepgram.flux.stt import DeepgramFluxSTTService

    service = DeepgramFluxSTTService(
        api_key=task.key, url=f"{task.ws_url}/v2/listen", sample_rate=task.rate, enable_eager_end_of_turn=True
    )
    turns = found.facts["turns"] = []

    def note(event: str, kind: str) -> None:
        async def handle(_, text: str = "") -> None:
            turns.append([kind, text])

        service.add_event_handler(event, handle)

    note("on_start_of_turn", "StartOfTurn")
    note("on_eager_end_of_turn", "EagerEndOfTurn")
    note("on_turn_resumed", "TurnResumed")
    note("on_end_of_turn", "EndOfTurn")
    return service


def service_of(task: Task, found: Found):
    name = task.options["service"]
    if name == "flux":
        return flux(task, found)
    if name == "deepgram":
        from pipecat.services.deepgram.stt import DeepgramSTTService

        return DeepgramSTTService(api_key=task.key, base_url=task.ws_url, sample_rate=task.rate)
    if name == "assemblyai":
        from pipecat.services.assemblyai.stt import AssemblyAISTTService

        return AssemblyAISTTService(
            api_key=task.key, api_endpoint_base_url=f"{task.ws_url}/v3/ws", sample_rate=task.rate
        )
    if name == "openai":
        from pipecat.services.openai.stt import OpenAIRealtimeSTTService

        return OpenAIRealtimeSTTService(api_key=task.key, base_url=f"{task.ws_url}/v1/realtime")
    raise ValueError(name)


class Collector(FrameProcessor):
    def __init__(self, found: Found) -> None:
        super().__init__()
        self.found = found
        self.n_finals = asyncio.Condition()

    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InterimTranscriptionFrame):
            self.found.interims.append(frame.text)
        elif isinstance(frame, EagerTranscriptionFrame):
            self.found.events.append(f"eager: {frame.text}")
        elif isinstance(frame, TranscriptionFrame):
            self.found.finals.append({"text": frame.text, "finalized": frame.finalized})
            async with self.n_finals:
                self.n_finals.notify_all()
        elif isinstance(frame, ErrorFrame):
            self.found.errors.append(frame.error)
        await self.push_frame(frame, direction)


class Errors(FrameProcessor):
    """Error frames go upstream."""

    def __init__(self, found: Found) -> None:
        super().__init__()
        self.found = found
        self.seen = asyncio.Event()

    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self.found.errors.append(frame.error)
            self.seen.set()
        await self.push_frame(frame, direction)


async def run(task: Task, found: Found) -> None:
    errors, collector = Errors(found), Collector(found)
    service = service_of(task, found)
    pipeline = Pipeline([errors, service, collector])
    worker = PipelineTask(pipeline, params=PipelineParams(audio_in_sample_rate=task.rate), idle_timeout_secs=60)
    runner = PipelineRunner(handle_sigint=False)

    async def feed() -> None:
        await asyncio.sleep(task.options.get("settle_s", 1.0))
        if "eot_threshold" in task.options:
            settings = service.Settings(eot_threshold=task.options["eot_threshold"])
            await worker.queue_frame(STTUpdateSettingsFrame(delta=settings))
        await worker.queue_frame(VADUserStartedSpeakingFrame())
        for chunk in task.chunks(20):
            if errors.seen.is_set():
                break
            await worker.queue_frame(InputAudioRawFrame(audio=chunk, sample_rate=task.rate, num_channels=1))
            await asyncio.sleep(task.options.get("pace_s", 0.005))
        n_expected = task.options.get("n_finals")

        def is_over() -> bool:
            if n_expected is None:
                return any(final["finalized"] for final in found.finals)
            return len(found.finals) >= n_expected

        if not errors.seen.is_set():
            await worker.queue_frame(VADUserStoppedSpeakingFrame())
            try:
                async with asyncio.timeout(60), collector.n_finals:
                    await collector.n_finals.wait_for(is_over)
            except TimeoutError:
                found.errors.append(f"{len(found.finals)} finals, and more expected")
        await worker.queue_frame(EndFrame())

    await asyncio.gather(runner.run(worker), feed())


if __name__ == "__main__":
    found = Found()
    asyncio.run(run(the_task(), found))
    report(found)
