// Streams as a JSON argument says, and prints a JSON line for each event, notice and error.
//
// { module, url, audio, piece_bytes, options, source, ws, after, then, endless, fails }
//
// audio: a file. source: "iterable" (the usual), "stream", "blob", "microphone" (a fake one, which gives its last piece when it is
// finished) or "microphone_ended" (it ends by itself). ws: the module of a WebSocket class. After that many events, `then`: "stop",
// "close" or "leave". endless: the source does not end; fails: it ends with an error.

import { readFileSync } from "node:fs";

const asked = JSON.parse(process.argv[2]);
const { stream } = await import(asked.module);
const print = (kind, what) => console.log(JSON.stringify([kind, what]));

const audio = asked.audio ? new Uint8Array(readFileSync(asked.audio)) : new Uint8Array(0);
const pieces = Array.from({ length: Math.ceil(audio.length / asked.piece_bytes) }, (_, index) =>
  audio.slice(index * asked.piece_bytes, (index + 1) * asked.piece_bytes),
);

class FakeMicrophone {
  channels = 1;
  sampleRate = 16000;
  #sink = null;

  start(sink) {
    this.#sink = sink;
    const ends = asked.source === "microphone_ended";
    for (const piece of ends ? pieces : pieces.slice(0, -1)) sink.push(new Int16Array(piece.buffer));
    if (ends) sink.end();
  }

  async finish() {
    this.#sink.push(new Int16Array(pieces.at(-1).buffer)); // what was recorded before
  }

  pause() {
    this.#sink = null;
  }

  close() {
    print("microphone", "closed");
  }
}

async function* slowly() {
  for (const piece of pieces) {
    await null;
    yield piece;
  }
  if (asked.then || asked.endless) await new Promise(() => setTimeout(() => {}, 60_000)); // another ends it
  if (asked.fails) throw new Error("the source is broken");
}

const sources = {
  iterable: slowly,
  stream: () => new Blob([audio]).stream(),
  blob: () => new Blob([audio]),
  microphone: () => new FakeMicrophone(),
  microphone_ended: () => new FakeMicrophone(),
};

const options = { ...asked.options, url: asked.url };
if (asked.ws) options.WebSocket = (await import(asked.ws)).WebSocket;
if (options.reconnect !== false) {
  const on_notice = (notice) => print("notice", { ...notice, ...(notice.error ? { error: notice.error.message } : {}) });
  options.reconnect = { first_wait_s: 0.001, longest_wait_s: 0.002, ...options.reconnect, on_notice };
}
try {
  const events = stream(sources[asked.source ?? "iterable"](), options);
  let n = 0;
  for await (const event of events) {
    print("event", event);
    if (++n !== asked.after) continue;
    if (asked.then === "leave") break;
    events[asked.then]();
  }
  print("sent_s", events.sent_s);
} catch (error) {
  const { name, message, code, status, problems } = error;
  print("error", { name, message, code, status, problems });
}
process.exit();
