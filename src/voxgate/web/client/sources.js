// What a stream may read: a microphone, or bytes.

const SILENCE_BYTES = 32 * 1024;

// { format, pieces, finish, close, queue }: the format for the start message, an async iterator of Uint8Array, the end in good
// order, the end, and the bytes that wait in it and were missed. A source of bytes has no good end and no queue: null. Throws
// TypeError.
export function openSource(source, format, most_bytes) {
  if (typeof source?.start === "function" && typeof source.pause === "function") {
    if (format !== undefined) throw new TypeError("format: a microphone has its own");
    const queue = new Queue(source, most_bytes);
    return { format: formatOf(source), pieces: queue, finish: () => queue.finish(), close: () => source.close(), queue };
  }
  if (format === undefined) throw new TypeError("format: expected that of the bytes, such as { sample_rate: 16000 }");
  return { format: checked(format), pieces: bytes(source), finish: null, close: () => {}, queue: null };
}

// The format of a microphone's audio, for the start message.
export function formatOf({ container, channels, sampleRate }) {
  return container ? { container } : { channels, sample_rate: sampleRate, bit_depth: 16, is_float: false };
}

function checked(format) {
  if (format.container !== undefined) return format;
  if (!Number.isInteger(format.sample_rate)) throw new TypeError("format: expected sample_rate in Hz, or container");
  return { channels: 1, bit_depth: 16, is_float: false, ...format };
}

function view(piece) {
  if (piece instanceof Uint8Array) return piece;
  if (ArrayBuffer.isView(piece)) return new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
  if (piece instanceof ArrayBuffer) return new Uint8Array(piece);
  throw new TypeError(`source: expected bytes, got ${piece === null ? "null" : typeof piece}`);
}

async function* bytes(source) {
  if (typeof source?.stream === "function") source = source.stream(); // a Blob, a File
  if (typeof source?.getReader === "function") {
    const reader = source.getReader(); // not every browser iterates over a ReadableStream
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        yield view(value);
      }
    } finally {
      await reader.cancel();
    }
  }
  if (ArrayBuffer.isView(source) || source instanceof ArrayBuffer) {
    yield view(source);
  } else if (source?.[Symbol.asyncIterator] ?? source?.[Symbol.iterator]) {
    for await (const piece of source) yield new Uint8Array(view(piece)); // a copy: its owner may use the buffer again
  } else {
    throw new TypeError("source: expected a Microphone, a ReadableStream, a Blob, or an iterable of bytes");
  }
}

// The audio of a live source until it is sent. When there is more than most_bytes, silence takes its place, so that times stay
// true; a container with a hole is none, and so such a stream ends there.
class Queue {
  held_bytes = 0;
  missed_bytes = 0;

  #source;
  #most_bytes;
  #entries = []; // Uint8Array, Blob, or the number of silent bytes
  #failure = null;
  #ended = false;
  #wake = () => {};

  constructor(source, most_bytes) {
    this.#source = source;
    this.#most_bytes = most_bytes;
    source.start({
      isFull: () => false,
      push: (samples) => {
        if (!source.container) this.#add(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
      },
      send: (blob) => this.#add(blob),
      end: () => this.#end(null),
      fail: (reason) => this.#end(new Error(`the microphone failed: ${reason}`)),
    });
  }

  #add(piece) {
    const n_bytes = piece.size ?? piece.length;
    if (this.#ended || n_bytes === 0) return;
    if (this.held_bytes + n_bytes <= this.#most_bytes) {
      this.#entries.push(piece);
      this.held_bytes += n_bytes;
    } else if (this.#source.container) {
      this.#end(new Error("the audio cannot be sent as fast as it is recorded"));
    } else {
      this.missed_bytes += n_bytes;
      if (typeof this.#entries.at(-1) === "number") this.#entries[this.#entries.length - 1] += n_bytes;
      else this.#entries.push(n_bytes);
    }
    this.#wake();
  }

  #end(failure) {
    this.#failure ??= failure;
    this.#ended = true;
    this.#wake();
  }

  // What was recorded so far is the last.
  async finish() {
    await this.#source.finish();
    this.#source.pause();
    this.#end(null);
  }

  async next() {
    while (this.#entries.length === 0 && !this.#ended) await new Promise((resolve) => (this.#wake = resolve));
    if (this.#entries.length === 0) {
      if (this.#failure !== null) throw this.#failure;
      return { done: true, value: undefined };
    }
    const [entry] = this.#entries;
    if (typeof entry === "number") {
      const n_bytes = Math.min(entry, SILENCE_BYTES);
      if (n_bytes === entry) this.#entries.shift();
      else this.#entries[0] -= n_bytes;
      return { done: false, value: new Uint8Array(n_bytes) };
    }
    this.#entries.shift();
    const value = entry instanceof Uint8Array ? entry : new Uint8Array(await entry.arrayBuffer());
    this.held_bytes -= value.length;
    return { done: false, value };
  }
}
