// On the audio thread: floats of the microphone become 16 bit samples, sent on in messages of about 30 ms.

const MESSAGE_S = 0.03;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(MESSAGE_S * sampleRate);
    this.samples = new Int16Array(this.size);
    this.filled = 0;
    this.running = true;
    this.port.onmessage = () => {
      // The end: what is left goes too.
      this.running = false;
      this.port.postMessage(this.samples.slice(0, this.filled));
      this.port.postMessage(null);
    };
  }

  process([input]) {
    if (!this.running) return false;
    const channel = input[0];
    if (channel === undefined) return true;
    for (let i = 0; i < channel.length; i++) {
      const sample = Math.round(channel[i] * 32768);
      this.samples[this.filled++] = sample > 32767 ? 32767 : sample < -32768 ? -32768 : sample;
      if (this.filled === this.size) {
        this.port.postMessage(this.samples, [this.samples.buffer]);
        this.samples = new Int16Array(this.size);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
