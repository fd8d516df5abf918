// A sound file as a source of audio: anything the browser decodes, at live pace or as fast as the server takes it.

const CHUNK_S = 0.04; // at live pace
const FAST_CHUNK_S = 0.5;
const WAIT_MS = 15;

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
  #frame = 0; // the next one to send
  #timer = null;
  #base = null; // the frame and time from which live pace counts

  get position_s() {
    return this.#frame / this.sampleRate;
  }

  // The samples of the first channel, -1..1.
  get plane() {
    return this.#planes[0];
  }

  goTo(seconds) {
    this.#frame = Math.max(0, Math.min(this.#planes[0].length, Math.round(seconds * this.sampleRate)));
  }

  start(sink) {
    this.pause();
    this.#base = { frame: this.#frame, ms: performance.now() };
    this.#pump(sink);
  }

  pause() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  close() {
    this.pause();
  }

  #pump(sink) {
    const total = this.#planes[0].length;
    const chunk = Math.round((this.isLive ? CHUNK_S : FAST_CHUNK_S) * this.sampleRate);
    // A tab in the background is woken once a second: what is due by then goes at once.
    const due = this.isLive
      ? this.#base.frame + ((performance.now() - this.#base.ms) / 1000) * this.sampleRate
      : Infinity;
    const until_ms = performance.now() + 20; // so that the page stays alive
    while (this.#frame < total && this.#frame + (this.isLive ? chunk : 0) <= due && !sink.isFull()) {
      const end = Math.min(total, this.#frame + chunk);
      sink.push(this.#samples(this.#frame, end));
      this.#frame = end;
      if (performance.now() > until_ms) break;
      if (end === total) break;
    }
    if (this.#frame >= total) {
      sink.end();
      return;
    }
    if (this.isLive && total - this.#frame < chunk && due >= total) {
      sink.push(this.#samples(this.#frame, total));
      this.#frame = total;
      sink.end();
      return;
    }
    this.#timer = setTimeout(() => this.#pump(sink), this.isLive ? (CHUNK_S * 1000) / 2 : WAIT_MS);
  }

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
