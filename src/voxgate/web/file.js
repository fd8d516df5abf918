// A sound file as a source of audio: anything the browser decodes, at live pace or as fast as the server takes it.

import { formatOf } from "./client/sources.js";

const CHUNK_S = 0.04; // at live pace
const FAST_CHUNK_S = 0.5;
const BUSY_MS = 20;
const PAUSE_MS = 3000; // more than between two timers of a tab in the background

const [LOWEST_HZ, HIGHEST_HZ] = [8000, 96_000]; // every browser has contexts of these rates
const USUAL_HZ = 48_000;

// The rate that a file says it has, Hz; decoding resamples to the rate of the context, so it should be this one.
export function rateOf(bytes) {
  const view = new DataView(bytes);
  const tag = (at) => (view.byteLength >= at + 4 ? String.fromCharCode(...new Uint8Array(bytes, at, 4)) : "");
  let rate = 0;
  if (tag(0) === "fLaC" && view.byteLength >= 21) {
    rate = (view.getUint16(18) << 4) | (view.getUint8(20) >> 4); // 20 bits of STREAMINFO
  } else if (tag(0) === "RIFF" && tag(8) === "WAVE") {
    for (let at = 12; at + 16 <= view.byteLength; at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) & 1)) {
      if (tag(at) === "fmt ") {
        rate = view.getUint32(at + 12, true);
        break;
      }
    }
  }
  return rate >= LOWEST_HZ && rate <= HIGHEST_HZ ? rate : USUAL_HZ;
}

export class SoundFile {
  kind = "file";

  // Throws when it cannot be read or decoded.
  static async open(file, { live, maxChannels }) {
    const bytes = await file.arrayBuffer();
    const context = new OfflineAudioContext(1, 1, rateOf(bytes));
    const buffer = await context.decodeAudioData(bytes);
    if (buffer.length === 0) throw new DOMException("the file holds no audio", "EncodingError");
    const source = new SoundFile();
    source.label = file.name;
    source.isLive = live;
    source.sampleRate = buffer.sampleRate;
    source.fileChannels = buffer.numberOfChannels;
    source.channels = Math.min(buffer.numberOfChannels, maxChannels);
    source.duration_s = buffer.duration;
    source.#planes = Array.from({ length: source.channels }, (_, channel) => buffer.getChannelData(channel));
    return source;
  }

  #planes;

  // For the start message.
  get format() {
    return formatOf(this);
  }

  // The samples of the first channel, -1..1.
  get plane() {
    return this.#planes[0];
  }

  // Interleaved samples, each piece when it is due.
  async *pieces() {
    const n_frames = this.#planes[0].length;
    const piece = Math.round((this.isLive ? CHUNK_S : FAST_CHUNK_S) * this.sampleRate);
    let began_ms = performance.now();
    let rested_ms = began_ms;
    for (let frame = 0; frame < n_frames; frame += piece) {
      const end = Math.min(n_frames, frame + piece);
      if (this.isLive) {
        const wait_ms = began_ms + (end / this.sampleRate) * 1000 - performance.now();
        if (wait_ms > 0) await new Promise((resolve) => setTimeout(resolve, wait_ms));
        else if (wait_ms < -PAUSE_MS) began_ms -= wait_ms; // nobody has asked for so long: the stream was away
      } else if (performance.now() > rested_ms + BUSY_MS) {
        await new Promise((resolve) => setTimeout(resolve)); // so that the page stays alive
        rested_ms = performance.now();
      }
      yield this.#samples(frame, end);
    }
  }

  close() {}

  #samples(begin, end) {
    const n = this.#planes.length;
    const samples = new Int16Array((end - begin) * n);
    this.#planes.forEach((plane, channel) => {
      for (let i = begin, at = channel; i < end; i++, at += n) {
        const sample = Math.round(plane[i] * 32768);
        samples[at] = sample > 32767 ? 32767 : sample < -32768 ? -32768 : sample;
      }
    });
    return samples;
  }
}
