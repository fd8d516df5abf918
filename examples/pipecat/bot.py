"""Speech to text for a pipecat bot: Voxgate in the place of Deepgram. Nothing changes but the address.

    pip install 'voxgate[moonshine]'
    voxgate serve moonshine
    pip install 'pipecat-ai[deepgram]'
    python bot.py talk.wav             # 16 kHz, mono, 16 bit

A real bot has a transport (WebRTC, a telephone) where this one reads a file, and a language model and a voice where
this one prints. `DeepgramFluxSTTService(url=f"{ADDRESS}/v2/listen", enable_eager_end_of_turn=True)` adds turns.
"""

from __future__ import annotations

import asyncio
import os
import sys
import wave

ADDRESS = os.environ.get("VOXGATE_ADDRESS", "ws://localhost:8080")
RATE = 16_000
CHUNK_S = 0.02


async def main(path: str) -> None:
    from pipecat.frames.frames import EndFrame, InputAudioRawFrame, TranscriptionFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineParams, PipelineTask
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.services.deepgram.stt import DeepgramSTTService

    class Printer(FrameProcessor):
        async def process_frame(self, frame, direction) -> None:
            await super().process_frame(frame, direction)
            if isinstance(frame, TranscriptionFrame):
                print(frame.text, flush=True)
            await self.push_frame(frame, direction)

    key = os.environ.get("VOXGATE_TOKEN", "none")  # a token of the server, if it asks for one
    service = DeepgramSTTService(api_key=key, base_url=ADDRESS, sample_rate=RATE)
    task = PipelineTask(Pipeline([service, Printer()]), params=PipelineParams(audio_in_sample_rate=RATE))

    async def speak() -> None:
        await asyncio.sleep(1)  # until the service is connected
        with wave.open(path) as file:
            while data := file.readframes(round(RATE * CHUNK_S)):
                await task.queue_frame(InputAudioRawFrame(audio=data, sample_rate=RATE, num_channels=1))
                await asyncio.sleep(CHUNK_S)
        silence = bytes(2 * round(RATE * CHUNK_S))
        for _ in range(100):  # two seconds, in which the last sentence ends
            await task.queue_frame(InputAudioRawFrame(audio=silence, sample_rate=RATE, num_channels=1))
            await asyncio.sleep(CHUNK_S)
        await task.queue_frame(EndFrame())

    await asyncio.gather(PipelineRunner(handle_sigint=False).run(task), speak())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
