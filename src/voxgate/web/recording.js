// The audio that was sent, kept for playback: 16 bit as sent, the oldest dropped first.

export const MAX_BYTES = 384 * 1024 * 1024; // over all sessions: more than an hour of one channel at 48 kHz

export class Recording {
  constructor(sampleRate, nChannels) {
    this.sampleRate = sampleRate;
    this.nChannels = nChannels;
    this.chunks = []; // { frame, data }: interleaved Int16Array, and the position of its first frame
    this.n_frames = 0;
    this.bytes = 0;
  }

  get duration_s() {
    return this.n_frames / this.sampleRate;
  }

  push(data) {
    this.chunks.push({ frame: this.n_frames, data });
    this.n_frames += data.length / this.nChannels;
    this.bytes += data.byteLength;
  }

  dropOldest() {
    const dropped = this.chunks.shift();
    if (dropped) this.bytes -= dropped.data.byteLength;
  }

  // One channel between two times (seconds) as floats; null when none of it is kept any more.
  slice(channel, from_s, to_s) {
    const oldest = this.chunks[0]?.frame ?? this.n_frames;
    const first = Math.max(oldest, Math.floor(from_s * this.sampleRate));
    const last = Math.min(this.n_frames, Math.ceil(to_s * this.sampleRate));
    if (last <= first) return null;
    const samples = new Float32Array(last - first);
    let [low, high] = [0, this.chunks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { frame, data } = this.chunks[middle];
      if (frame + data.length / this.nChannels <= first) low = middle + 1;
      else high = middle;
    }
    for (let index = low; index < this.chunks.length && this.chunks[index].frame < last; index++) {
      const { frame, data } = this.chunks[index];
      const begin = Math.max(first, frame);
      const end = Math.min(last, frame + data.length / this.nChannels);
      for (let i = begin; i < end; i++) samples[i - first] = data[(i - frame) * this.nChannels + channel] / 32768;
    }
    return samples;
  }
}

// Plays one piece at a time.
export class Player {
  #context = null;
  #source = null;

  // onEnd is called once, also when another piece takes the place of this one.
  play(samples, sampleRate, onEnd) {
    this.stop();
    this.#context ??= new AudioContext();
    void this.#context.resume();
    const buffer = this.#context.createBuffer(1, samples.length, sampleRate);
    buffer.copyToChannel(samples, 0);
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#context.destination);
    source.onended = () => {
      if (this.#source === source) this.#source = null;
      onEnd();
    };
    this.#source = source;
    source.start();
  }

  stop() {
    this.#source?.stop();
    this.#source = null;
  }
}
