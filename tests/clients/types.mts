// What a program with types may write; `@ts-expect-error` marks what it may not.

import { ClosedError, Microphone, recordedKind, serverInfo, stream } from "@voxgate/client";
import type { Event } from "@voxgate/client";

interface Words {
  text: string;
}

const url = "wss://voice.example.com";
const captions = stream<Words>(await Microphone.open({ recorded: recordedKind((await serverInfo(url)).containers) }), {
  url,
  interim_results: true,
  vad: { threshold: 0.6 },
  options: { language: "de" },
  reconnect: { on_notice: (notice) => (notice.type === "lost" ? notice.error.message : notice.at_s) },
});
for await (const event of captions) {
  if (event.type === "segment") {
    const text: string = event.text;
    const settled: string | undefined = event.stable_text;
    console.log(text, settled, event.start_time + event.end_time);
  } else if (event.type === "error") console.log(event.message, event.code);
  // @ts-expect-error: only some events have it
  console.log(event.stable_text);
}
captions.stop();

async function collect(bytes: ReadableStream<Uint8Array>): Promise<Event[]> {
  const events: Event[] = [];
  try {
    for await (const event of stream(bytes, { url, format: { sample_rate: 16000 } })) events.push(event);
  } catch (error) {
    if (error instanceof ClosedError) console.log(error.code + 1);
  }
  return events;
}
void collect;

// @ts-expect-error: bytes need a format
stream(new Uint8Array(2), { url });
// @ts-expect-error: no such option
stream(new Uint8Array(2), { url, format: { container: "webm" }, interimResults: true });
